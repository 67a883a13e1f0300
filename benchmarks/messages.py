"""Dialogues of one's own: JSONL with one object `{"messages": [{"role", "content"}, ...]}` a line.

Roles are `user` (the seeker), `assistant` (the supporter) and `system`, which is left out and
counted. Optional on the row: `id`, `language` (en or zh; else told by the script), `emotion`,
`problem`, `situation`; optional on an assistant message: `strategies`. Other fields are not read.
Tool calls and contents that are not text are refused.
"""

from pathlib import Path
from typing import Literal

from benchmarks.cleaning import (
    RawDialogue,
    Utterance,
    assemble,
    detect_language,
    require_both_speakers,
    strategies_of,
)
from benchmarks.dialogues import LANGUAGES, Language, Loaded, Speaker
from benchmarks.errors import DataError
from benchmarks.jsonl import Row, read_rows

ROLES: dict[str, Speaker | Literal["system"]] = {
    "user": "seeker",
    "assistant": "supporter",
    "system": "system",
}


def load(path: Path | None, language: Language | None) -> Loaded:
    """Load the dialogues of one JSONL file."""
    if path is None:
        what = "this source has no data of its own"
        raise DataError("messages", what, "give the path of a JSONL file")
    raw_dialogues = (_dialogue(row) for row in read_rows(path))
    return assemble("messages", raw_dialogues, language=language, drop_task_chatter=False)


def language_of(row: Row) -> Language | None:
    """Read the optional field `language`."""
    value = row.optional_text("language")
    if value is None:
        return None
    for language in LANGUAGES:
        if value == language:
            return language
    raise row.error("language", f"is '{value}'", f"use {' or '.join(LANGUAGES)}")


def _dialogue(row: Row) -> RawDialogue:
    utterances = tuple(_utterance(item) for item in row.rows("messages"))
    require_both_speakers(row, "messages", utterances)
    language = language_of(row) or detect_language(item.text for item in utterances)
    return RawDialogue(
        where=row.where,
        language=language,
        emotion=row.optional_text("emotion"),
        problem=row.optional_text("problem"),
        situation=row.optional_text("situation"),
        utterances=utterances,
        id=row.optional_text("id"),
    )


def _utterance(item: Row) -> Utterance:
    role = item.text("role")
    if role not in ROLES:
        raise item.error("role", f"is '{role}'", f"use one of {', '.join(ROLES)}")
    strategies = strategies_of(item, "strategies", ROLES[role])
    return Utterance(ROLES[role], item.text("content"), strategies)
