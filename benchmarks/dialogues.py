"""The records of human supportive dialogues, and the one function that loads them.

A dialogue is a seeker and a supporter taking turns. Every source ends as these records, cleaned the
same way (`cleaning.py`), with a report that names each utterance and dialogue left out and why.
Nothing here splits (`splits.py`) or renders for a model (`contexts.py`).

    loaded = load_dialogues("esconv", path=Path("esconv/"))
    for row in loaded.report.rows():
        print(*row)
"""

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, model_validator

from benchmarks.errors import DataError

Language = Literal["en", "zh"]
Speaker = Literal["seeker", "supporter"]
SplitName = Literal["train", "gate", "final"]
Strategy = Literal[
    "question",
    "restatement",
    "reflection",
    "self_disclosure",
    "reassurance",
    "suggestion",
    "information",
    "other",
]
"""ESConv's eight support strategies."""

LANGUAGES: tuple[Language, ...] = get_args(Language)
SPEAKERS: tuple[Speaker, ...] = get_args(Speaker)
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


class DropReason(StrEnum):
    """Why an utterance, or a whole dialogue, was left out."""

    EMPTY_TEXT = "empty_text"
    """The utterance has no visible character."""

    SYSTEM_MESSAGE = "system_message"
    """A system message is an instruction, not a turn of the dialogue."""

    TASK_CHATTER = "task_chatter"
    """The utterance is about the crowd-sourcing task or its platform."""

    TASK_ENDING = "task_ending"
    """The utterance follows a call to end the task, close to the end of the dialogue."""

    CONTACT_DETAILS = "contact_details"
    """A phone number, an e-mail or postal address, a web address or a handle."""

    OPENING_SUPPORTER = "opening_supporter"
    """The supporter spoke before the seeker; dialogues begin with the seeker."""

    NO_REPLY = "no_reply"
    """Dialogue: after cleaning, no supporter turn follows a seeker turn."""

    OTHER_LANGUAGE = "other_language"
    """Dialogue: not in the language that was asked for."""

    DUPLICATE = "duplicate"
    """Dialogue: the same content was loaded before."""

    LEAKED_SITUATION = "leaked_situation"
    """Dialogue: removed from a held-out split because another split has its situation."""


class Turn(BaseModel):
    """What one speaker says until the other speaks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speaker: Speaker
    text: str
    strategies: tuple[Strategy, ...] = ()
    """In order of first use; several where a turn was merged from several utterances."""


class Dialogue(BaseModel):
    """One cleaned dialogue: begins with the seeker, speakers alternate, the supporter replies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """`source-` and 12 hex digits of a SHA-256 over the content, or the id in the file."""

    source: str
    language: Language
    emotion: str | None
    problem: str | None
    situation: str | None
    published_split: SplitName | None
    """The split that the publisher of the data put it in, where the files say so."""

    turns: tuple[Turn, ...]

    @model_validator(mode="after")
    def _alternates(self) -> Self:
        for index, turn in enumerate(self.turns):
            if turn.speaker != SPEAKERS[index % 2]:
                raise ValueError(
                    f"turn {index} is the {turn.speaker}'s; seeker and supporter alternate"
                )
        if len(self.turns) < 2:
            raise ValueError("a dialogue has at least a seeker turn and a supporter turn")
        return self


class Drop(BaseModel):
    """One thing left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    where: str
    """`file:line` (and the utterance), or a dialogue id."""

    reason: DropReason
    detail: str
    """Which rule fired. Never the text itself: that may be somebody's phone number."""

    n_utterances: int
    """How many utterances went with it."""


class ReportRow(NamedTuple):
    """One line of the printed table of a load."""

    what: str
    dialogues: int
    utterances: int


class LoadReport(BaseModel):
    """What a load read, kept and left out; utterances add up exactly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    n_read: int
    n_kept: int
    n_utterances_read: int
    n_utterances_kept: int
    """Before merging: kept utterances are those whose words stand in a kept dialogue."""

    dropped: tuple[Drop, ...]

    def counts(self) -> dict[str, int]:
        """Count drops by reason, the reasons in the order of their definition."""
        counter = Counter(drop.reason for drop in self.dropped)
        return {reason.value: counter[reason] for reason in DropReason if counter[reason]}

    def rows(self) -> list[ReportRow]:
        """Return the rows of the printed table: read, each reason, kept."""
        rows = [ReportRow("read", self.n_read, self.n_utterances_read)]
        for reason in DropReason:
            drops = [drop for drop in self.dropped if drop.reason is reason]
            if drops:
                n_dialogues = len(drops) if reason in DIALOGUE_REASONS else 0
                n_utterances = sum(drop.n_utterances for drop in drops)
                rows.append(ReportRow(reason.value, n_dialogues, n_utterances))
        return [*rows, ReportRow("kept", self.n_kept, self.n_utterances_kept)]


DIALOGUE_REASONS = frozenset(
    {
        DropReason.NO_REPLY,
        DropReason.OTHER_LANGUAGE,
        DropReason.DUPLICATE,
        DropReason.LEAKED_SITUATION,
    }
)


class Loaded(NamedTuple):
    """The dialogues of one source, and what happened to the rest."""

    dialogues: tuple[Dialogue, ...]
    report: LoadReport


def load_dialogues(
    source: str, *, path: Path | None = None, language: Language | None = None
) -> Loaded:
    """Load `starter`, `esconv` or `messages`; `language` keeps the dialogues of one language."""
    # Imported here because the loaders build the records defined above.
    from benchmarks import esconv, messages, starter

    loaders = {"starter": starter.load, "esconv": esconv.load, "messages": messages.load}
    if source not in loaders:
        raise DataError(source, "no such source of dialogues", f"use one of {', '.join(loaders)}")
    return loaders[source](path, language)
