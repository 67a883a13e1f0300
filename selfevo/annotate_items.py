"""What a person rates: the conversations of Inspect logs, without what would tell who spoke.

An item knows the words of both sides, the person's card where the rubric asks about the person, and
the same questions that a judge gets. Its id is a digest that says nothing of log and checkpoint.

Left out: conversations that the infrastructure broke, those without a reply, and those of unknown
people where the rubric needs their card; they are counted. A supporter that says its own name in
its replies is not masked.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inspect_ai.log import EvalLog, EvalSample, read_eval_log

from benchmarks.conversation import conversation_of
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.judged import person_card
from benchmarks.talks import find_log, read_talks
from judges.absolute import questions
from judges.material import Material, PersonCard, Speaker, Turn
from judges.rubric import Rubric, RubricError, load_rubric
from judges.verdict import Asked
from selfevo.errors import UsageError

ID_LENGTH: Final = 16
"""Hexadecimal digits of an id."""
SPEAKERS: Final = {"person": "Seeker", "supporter": "Supporter"}
"""As the CSV names them."""
BROKEN: Final = "broke off"
SILENT: Final = "have no reply"
NO_CARD: Final = "are of people whose card is not known"


class Item(NamedTuple):
    """One conversation to rate."""

    id: str
    person: str
    """Who it is with, as a digest: equal in all conversations with the same person."""
    log: str
    """SHA-256 of the log file."""
    sample: str
    epoch: int
    material: Material
    asked: tuple[Asked, ...]
    persona: str | None = None
    """Id of the person's card, as the log names it; the page never gets it."""

    @property
    def text(self) -> str:
        """The conversation with a line a message, as files of ratings have it."""
        return "\n".join(
            f"{SPEAKERS[turn.speaker]}: {' '.join(turn.text.split())}"
            for turn in self.material.turns
        )


class Items(NamedTuple):
    """All that is there to rate, in the order of the logs."""

    rubric: Rubric
    items: tuple[Item, ...]
    left_out: dict[str, int]
    """How many conversations, by why."""


class _Said(NamedTuple):
    """The words of one sample and where they stand."""

    path: Path
    log: str
    eval_id: str
    sample: EvalSample
    language: Language
    turns: tuple[Turn, ...]


def read_items(logs: Sequence[Path], rubric: str, users: Path | None = None) -> Items:
    """The conversations of logs, with the questions of a rubric in their language.

    Args:
        logs: `.eval` files, or folders: their newest log.
        rubric: Name of a shipped rubric, or a YAML file.
        users: File of the people's cards; None: the one that each log names, or the shipped people.

    Raises:
        DataError: no log, no conversation to rate, or conversations in several languages.
        UsageError: the rubric is unknown or wrong.
    """
    left_out: Counter[str] = Counter()
    said = [one for path in logs for one in _usable(find_log(path), left_out)]
    if not said:
        raise _nothing(logs, left_out)
    try:
        asked_of = load_rubric(rubric, _language(said, logs))
    except RubricError as error:
        raise UsageError(str(error)) from error
    cards = _cards(said, users) if asked_of.needs_persona else {}
    items: dict[str, Item] = {}
    for one in said:
        card = cards.get((one.path, _talk_id(one.sample)))
        if asked_of.needs_persona and (card is None or not (card.wishes or _is_plain(asked_of))):
            left_out[NO_CARD] += 1
            continue
        item = _item(one, asked_of, card)
        items.setdefault(item.id, item)  # a log and its retry hold the same conversations
    if not items:
        raise _nothing(logs, left_out)
    return Items(asked_of, tuple(items.values()), dict(left_out))


def shuffled(items: Sequence[Item], seed: int, rater: str) -> tuple[Item, ...]:
    """An order of each rater's own; further items do not change that of those before."""
    return tuple(sorted(items, key=lambda item: _digest(str(seed), rater, item.id)))


def _usable(path: Path, left_out: Counter[str]) -> Iterator[_Said]:
    log = _read(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for sample in log.samples or []:
        turns = tuple(_turns(sample))
        talk = conversation_of(sample.store)
        if sample.error is not None or (talk is not None and not talk.ending.is_scored):
            left_out[BROKEN] += 1
        elif {turn.speaker for turn in turns} != {"person", "supporter"}:
            left_out[SILENT] += 1
        else:
            language: Language = (sample.metadata or {}).get("language", "en")
            yield _Said(path, digest, log.eval.eval_id, sample, language, turns)


def _read(path: Path) -> EvalLog:
    try:
        return read_eval_log(str(path))
    except ValueError as error:
        raise DataError(str(path), "is no log of Inspect", "give an .eval file") from error


def _turns(sample: EvalSample) -> Iterator[Turn]:
    for message in sample.messages:
        if message.role in ("user", "assistant") and message.text.strip():
            speaker: Speaker = "person" if message.role == "user" else "supporter"
            yield Turn(speaker=speaker, text=message.text.strip())


def _language(said: Sequence[_Said], logs: Sequence[Path]) -> Language:
    languages = sorted({one.language for one in said})
    if len(languages) > 1:
        raise DataError(
            ", ".join(map(str, logs)),
            f"hold conversations in {' and '.join(languages)}",
            "rate one language at a time",
        )
    return languages[0]


def _cards(said: Sequence[_Said], users: Path | None) -> dict[tuple[Path, str], PersonCard]:
    return {
        (path, talk.id): person_card(talk.persona)
        for path in {one.path for one in said}
        for talk in read_talks(path, users).talks
        if talk.persona is not None
    }


def _talk_id(sample: EvalSample) -> str:
    return f"{sample.id}-{sample.epoch}"


def _is_plain(rubric: Rubric) -> bool:
    """Whether its questions are the same for everybody."""
    return rubric.kind != "preferences"


def _item(said: _Said, rubric: Rubric, card: PersonCard | None) -> Item:
    sample = said.sample
    turns = said.turns if rubric.about == "conversation" else _to_last_reply(said.turns)
    material = Material(language=said.language, turns=turns, card=card)
    words = material.model_dump_json(include={"turns"})
    origin = sample.uuid or said.eval_id  # of the conversation: scoring a log again keeps it
    return Item(
        id=_digest(origin, str(sample.id), str(sample.epoch), words)[:ID_LENGTH],
        person=_digest(str((sample.metadata or {}).get("persona", sample.id)))[:ID_LENGTH],
        log=said.log,
        sample=str(sample.id),
        epoch=sample.epoch,
        material=material,
        asked=tuple(questions(rubric, material)),
        persona=_persona(sample),
    )


def _persona(sample: EvalSample) -> str | None:
    named = (sample.metadata or {}).get("persona")
    return None if named is None else str(named)


def _to_last_reply(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    last = max(n for n, turn in enumerate(turns) if turn.speaker == "supporter")
    return turns[: last + 1]


def _nothing(logs: Sequence[Path], left_out: Counter[str]) -> DataError:
    where = ", ".join(map(str, logs)) or "logs"
    if not left_out:
        return DataError(where, "hold no conversation", "give logs of benchmarks/support.py")
    told = "; ".join(f"{n} {why}" for why, n in left_out.items())
    fix = "give the file of their cards" if NO_CARD in left_out else "give another log"
    return DataError(where, f"hold no conversation to rate ({told})", fix)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
