"""From a dialogue as its file has it to the record the project uses; every omission is counted.

Text: Unicode NFC, no invisible characters, single spaces, straight quotes in English.
Labels: the eight strategies, and one lower-case spelling for emotions and problems.
Utterances that go: chatter about the crowd-sourcing task that collected ESConv, what follows a call
to end that task close to the end of the dialogue, contact details, and what a supporter says before
the seeker has spoken. An utterance with contact details goes alone, since what was said around it
stands without it. A dialogue goes when no reply to the seeker is left in it.

Left out on purpose: correcting spelling, judging quality, and removing first names, which are part
of how people talk (the seekers of ESConv are anonymous).
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from benchmarks.chatter import CONTACT_DETAILS, TASK_CHATTER, TASK_ENDINGS, first_match
from benchmarks.dialogues import (
    STRATEGIES,
    Dialogue,
    Drop,
    DropReason,
    Language,
    Loaded,
    LoadReport,
    Speaker,
    SplitName,
    Strategy,
    Turn,
)
from benchmarks.errors import DataError
from benchmarks.jsonl import Row

TASK_TAIL = 8
"""A call to end the task starts the ending if at most this many utterances are left. Ours."""

# Every spelling in ESConv's three dialects, and our own names; compared in lower case.
STRATEGY_NAMES: dict[str, Strategy] = {
    "question": "question",
    "questions": "question",
    "restatement": "restatement",
    "restatement or paraphrasing": "restatement",
    "reflection": "reflection",
    "reflection of feelings": "reflection",
    "self-disclosure": "self_disclosure",
    "self_disclosure": "self_disclosure",
    "reassurance": "reassurance",
    "affirmation and reassurance": "reassurance",
    "approval and reassurance": "reassurance",
    "suggestion": "suggestion",
    "providing suggestions": "suggestion",
    "direct guidance": "suggestion",
    "information": "information",
    "other": "other",
    "others": "other",
}

STRAIGHT_QUOTES = str.maketrans("‘’‛“”", "'''\"\"")
SENTENCE_ENDS = frozenset("。！？…～，、；：!?~,;:")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
JOINERS = "\u200c\u200d"
"""Invisible, but parts of emoji and of some scripts."""


class Utterance(NamedTuple):
    """One message as the file has it, its labels already read."""

    speaker: Speaker | Literal["system"]
    text: str
    strategies: tuple[Strategy, ...] = ()


class RawDialogue(NamedTuple):
    """A dialogue as the file has it, in one shape for all sources."""

    where: str
    """`file:line`, for the drops."""

    language: Language
    emotion: str | None
    problem: str | None
    situation: str | None
    utterances: tuple[Utterance, ...]
    published_split: SplitName | None = None
    id: str | None = None


class Cleaned(NamedTuple):
    """The turns left of one dialogue, how many utterances are in them, and what went."""

    turns: tuple[Turn, ...]
    n_utterances: int
    dropped: tuple[Drop, ...]


class _Omission(NamedTuple):
    reason: DropReason
    detail: str


def assemble(
    source: str,
    raw_dialogues: Iterable[RawDialogue],
    *,
    language: Language | None,
    drop_task_chatter: bool,
) -> Loaded:
    """Clean the dialogues of a source and report; keeping none of them is an error.

    Args:
        source: Name of the source, the first part of every dialogue id.
        raw_dialogues: In the order of the files.
        language: Keep only dialogues of this language; None keeps all.
        drop_task_chatter: Whether the dialogues were collected by a crowd-sourcing task.
    """
    kept: dict[str, Dialogue] = {}
    dropped: list[Drop] = []
    n_read = n_utterances_read = n_utterances_kept = 0
    for raw in raw_dialogues:
        n_read += 1
        n_utterances_read += len(raw.utterances)
        if language is not None and raw.language != language:
            reason, n_lost = DropReason.OTHER_LANGUAGE, len(raw.utterances)
            dropped.append(_drop(raw.where, reason, f"is in '{raw.language}'", n_lost))
            continue
        cleaned = clean(raw, drop_task_chatter=drop_task_chatter)
        dropped.extend(cleaned.dropped)
        if not cleaned.turns:
            continue
        dialogue = _dialogue(source, raw, cleaned.turns)
        if dialogue.id in kept:
            _check_same(kept[dialogue.id], dialogue, raw.where)
            detail = f"is {dialogue.id} again"
            dropped.append(_drop(raw.where, DropReason.DUPLICATE, detail, cleaned.n_utterances))
            continue
        kept[dialogue.id] = dialogue
        n_utterances_kept += cleaned.n_utterances
    report = LoadReport(
        source=source,
        n_read=n_read,
        n_kept=len(kept),
        n_utterances_read=n_utterances_read,
        n_utterances_kept=n_utterances_kept,
        dropped=tuple(dropped),
    )
    if not kept:
        counts = ", ".join(f"{reason} {count}" for reason, count in report.counts().items())
        what = f"none of the {n_read} dialogues read was kept ({counts})"
        raise DataError(source, what, "check that these files and this language are meant")
    return Loaded(tuple(kept.values()), report)


def clean(raw: RawDialogue, *, drop_task_chatter: bool) -> Cleaned:
    """Clean one dialogue; no turns are left where it cannot be used."""
    texts = [normalise_text(item.text, raw.language) for item in raw.utterances]
    omissions = [
        _omission(item.speaker, text, drop_task_chatter)
        for item, text in zip(raw.utterances, texts, strict=True)
    ]
    if drop_task_chatter:
        _omit_task_ending(texts, omissions)
    _omit_opening_supporter(raw.utterances, omissions)
    utterances = [
        (item.speaker, text, item.strategies)
        for item, text, omission in zip(raw.utterances, texts, omissions, strict=True)
        if omission is None
    ]
    turns = merge(
        [
            Turn(speaker=speaker, text=text, strategies=strategies)
            for speaker, text, strategies in utterances
            if speaker != "system"
        ],
        raw.language,
    )
    dropped = [
        _drop(f"{raw.where} utterance {index}", omission.reason, omission.detail, 1)
        for index, omission in enumerate(omissions, start=1)
        if omission is not None
    ]
    if not any(turn.speaker == "supporter" for turn in turns):
        detail = "no supporter turn follows a seeker turn"
        dropped.append(_drop(raw.where, DropReason.NO_REPLY, detail, len(utterances)))
        return Cleaned((), 0, tuple(dropped))
    return Cleaned(turns, len(utterances), tuple(dropped))


def merge(turns: Sequence[Turn], language: Language) -> tuple[Turn, ...]:
    """Join consecutive turns of one speaker; strategies keep the order of their first use."""
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].speaker == turn.speaker:
            last = merged.pop()
            strategies = tuple(dict.fromkeys(last.strategies + turn.strategies))
            text = _join(last.text, turn.text, language)
            turn = Turn(speaker=turn.speaker, text=text, strategies=strategies)
        merged.append(turn)
    return tuple(merged)


def normalise_text(text: str, language: Language) -> str:
    """Fold Unicode forms, invisible characters, quotes (English) and spaces; keep the lines."""
    if not text.isascii():
        text = "".join(char for char in text if not _is_invisible(char))
        text = unicodedata.normalize("NFC", text)
        if language == "en":
            text = text.translate(STRAIGHT_QUOTES)
    lines = [" ".join(CONTROL.sub(" ", line).split()) for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip(JOINERS + " \n")


def normalise_label(label: str | None) -> str | None:
    """Give an emotion or a problem its one spelling: 'Sleep Problems ' is 'sleep problems'."""
    if label is None:
        return None
    return (
        " ".join(unicodedata.normalize("NFC", label).replace("_", " ").casefold().split()) or None
    )


def detect_language(texts: Iterable[str]) -> Language:
    """Tell Chinese from English by the share of Han characters among the letters."""
    letters = [char for text in texts for char in text if char.isalpha()]
    n_han = sum("\u4e00" <= char <= "\u9fff" for char in letters)
    return "zh" if n_han > 0.2 * len(letters) else "en"


def require_both_speakers(row: Row, field: str, utterances: Iterable[Utterance]) -> None:
    """Refuse a row in which one of the two never speaks: its speakers were probably misread."""
    speakers = {item.speaker for item in utterances}
    for speaker in ("seeker", "supporter"):
        if speaker not in speakers:
            fix = "remove the row, or check how it names its speakers"
            raise row.error(field, f"has no {speaker} utterance", fix)


def strategies_of(row: Row, field: str, speaker: str) -> tuple[Strategy, ...]:
    """Read the strategies of one utterance; only a supporter has any."""
    labels = row.texts(field)
    if labels and speaker != "supporter":
        fix = "keep strategies to the supporter's utterances"
        raise row.error(field, f"is '{labels[0]}' on an utterance of the {speaker}", fix)
    strategies = [_strategy(row, field, label) for label in labels]
    return tuple(dict.fromkeys(strategies))


def _strategy(row: Row, field: str, label: str) -> Strategy:
    name = " ".join(label.strip("[] \n").casefold().split())
    if name not in STRATEGY_NAMES:
        fix = f"use one of {', '.join(STRATEGIES)}, or ESConv's names for them"
        raise row.error(field, f"'{label}' is no known strategy", fix)
    return STRATEGY_NAMES[name]


def _is_invisible(char: str) -> bool:
    """Tell lone surrogates, byte-order marks and the like from what is seen."""
    category = unicodedata.category(char)
    return category == "Cs" or (category == "Cf" and char not in JOINERS)


def _omission(speaker: str, text: str, drop_task_chatter: bool) -> _Omission | None:
    if speaker == "system":
        return _Omission(DropReason.SYSTEM_MESSAGE, "has the role system")
    if not text:
        return _Omission(DropReason.EMPTY_TEXT, "has no text")
    if detail := first_match(CONTACT_DETAILS, text):
        return _Omission(DropReason.CONTACT_DETAILS, detail)
    if drop_task_chatter and (detail := first_match(TASK_ENDINGS + TASK_CHATTER, text)):
        return _Omission(DropReason.TASK_CHATTER, detail)
    return None


def _omit_task_ending(texts: Sequence[str], omissions: list[_Omission | None]) -> None:
    """Omit what follows the first call to end the task among the last few utterances."""
    start = max(0, len(texts) - TASK_TAIL)
    calls = (index for index in range(start, len(texts)) if first_match(TASK_ENDINGS, texts[index]))
    first = next(calls, len(texts))
    for index in range(first + 1, len(texts)):
        detail = f"follows the call to end the task in utterance {first + 1}"
        omissions[index] = omissions[index] or _Omission(DropReason.TASK_ENDING, detail)


def _omit_opening_supporter(
    utterances: Sequence[Utterance], omissions: list[_Omission | None]
) -> None:
    for index, item in enumerate(utterances):
        if omissions[index] is None:
            if item.speaker == "seeker":
                return
            omissions[index] = _Omission(DropReason.OPENING_SUPPORTER, "precedes the seeker")


def _join(first: str, second: str, language: Language) -> str:
    if language == "zh" and first[-1] in SENTENCE_ENDS:
        return first + second
    return f"{first} {second}"


def _drop(where: str, reason: DropReason, detail: str, n_utterances: int) -> Drop:
    # The name of the file, not its path: a report reads the same on every machine.
    return Drop(where=Path(where).name, reason=reason, detail=detail, n_utterances=n_utterances)


def _dialogue(source: str, raw: RawDialogue, turns: tuple[Turn, ...]) -> Dialogue:
    draft = Dialogue(
        id="",
        source=source,
        language=raw.language,
        emotion=normalise_label(raw.emotion),
        problem=normalise_label(raw.problem),
        situation=normalise_text(raw.situation or "", raw.language) or None,
        published_split=raw.published_split,
        turns=turns,
    )
    return draft.model_copy(update={"id": f"{source}-{raw.id or _content_hash(draft)}"})


def _content_hash(dialogue: Dialogue) -> str:
    content = dialogue.model_dump(mode="json", exclude={"id", "source", "published_split"})
    canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _check_same(first: Dialogue, second: Dialogue, where: str) -> None:
    if _content_hash(first) != _content_hash(second):
        what = f"'{second.id}' names two different dialogues"
        raise DataError(where, what, "give every dialogue its own id", field="id")
