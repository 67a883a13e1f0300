"""The starter dialogues that come with the project and were written for it.

One JSONL file a language in `benchmarks/data`. A row is `{"language", "emotion", "problem",
"situation", "turns": [{"speaker": "seeker" | "supporter", "text", "strategy"}]}`; only a supporter
has a strategy. A path to a file in the same format loads that instead.
"""

from importlib import resources
from pathlib import Path

from benchmarks.cleaning import (
    RawDialogue,
    Utterance,
    assemble,
    require_both_speakers,
    strategies_of,
)
from benchmarks.dialogues import LANGUAGES, SPEAKERS, Language, Loaded, Speaker
from benchmarks.jsonl import Row, read_rows
from benchmarks.messages import language_of


def load(path: Path | None, language: Language | None) -> Loaded:
    """Load the starter dialogues of one language, or of both."""
    if path is not None:
        rows = read_rows(path)
    else:
        languages = LANGUAGES if language is None else (language,)
        rows = [row for name in languages for row in _shipped_rows(name)]
    raw_dialogues = (_dialogue(row) for row in rows)
    return assemble("starter", raw_dialogues, language=language, drop_task_chatter=False)


def _shipped_rows(language: Language) -> list[Row]:
    data = resources.files("benchmarks") / "data" / f"starter.{language}.jsonl"
    with resources.as_file(data) as path:
        return read_rows(path)


def _dialogue(row: Row) -> RawDialogue:
    language = language_of(row)
    if language is None:
        raise row.error("language", "is missing", "add 'en' or 'zh'")
    utterances = tuple(_utterance(item) for item in row.rows("turns"))
    require_both_speakers(row, "turns", utterances)
    return RawDialogue(
        where=row.where,
        language=language,
        emotion=row.text("emotion"),
        problem=row.text("problem"),
        situation=row.text("situation"),
        utterances=utterances,
    )


def _utterance(item: Row) -> Utterance:
    speaker = _speaker(item)
    return Utterance(speaker, item.text("text"), strategies_of(item, "strategy", speaker))


def _speaker(item: Row) -> Speaker:
    name = item.text("speaker")
    for speaker in SPEAKERS:
        if name == speaker:
            return speaker
    raise item.error("speaker", f"is '{name}'", f"use {' or '.join(SPEAKERS)}")
