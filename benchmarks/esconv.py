"""ESConv (Liu et al., ACL 2021), from a file, a folder or the Hugging Face hub.

Three dialects are told apart by their content: the hub's (`usr`/`sys`, the strategy on the
utterance), the original of GitHub (`seeker`/`supporter`, the strategy in an `annotation`) and that
of the failed dialogues (`speaker`/`listener`, other names of strategies). A hub row may also be
JSON inside a column `text`. Files named train, valid(ation) and test are its published splits,
which become train, gate and final; a single file declares none.

Surveys, scores and seeker feedback are not read: they describe the seeker's rating, not the talk.
ESConv is licensed CC BY-NC 4.0 for research; it is loaded, never shipped.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.cleaning import (
    RawDialogue,
    Utterance,
    assemble,
    require_both_speakers,
    strategies_of,
)
from benchmarks.dialogues import Language, Loaded, Speaker, SplitName
from benchmarks.errors import DataError
from benchmarks.jsonl import Row, parse_object, read_rows

HUB_ID = "thu-coai/esconv"

PUBLISHED_SPLITS: dict[str, SplitName] = {
    "train": "train",
    "valid": "gate",
    "validation": "gate",
    "test": "final",
}
SUFFIXES = (".jsonl", ".json", ".txt")


class Dialect(NamedTuple):
    """How one release of ESConv writes an utterance."""

    name: str
    text_field: str
    speakers: Mapping[str, Speaker]
    is_annotated: bool
    """Whether the strategy stands in an object `annotation`."""


DIALECTS = (
    Dialect("hub", "text", {"usr": "seeker", "sys": "supporter"}, False),
    Dialect("original", "content", {"seeker": "seeker", "supporter": "supporter"}, True),
    Dialect("failed", "content", {"speaker": "seeker", "listener": "supporter"}, True),
)


def load(path: Path | None, language: Language | None) -> Loaded:
    """Load ESConv from a file or a folder, or from the hub where no path is given."""
    rows = _hub_rows(HUB_ID) if path is None else _path_rows(path)
    raw_dialogues = (raw_dialogue(row, split) for row, split in rows)
    return assemble("esconv", raw_dialogues, language=language, drop_task_chatter=True)


def _path_rows(path: Path) -> Iterator[tuple[Row, SplitName | None]]:
    files = _split_files(path) if path.is_dir() else [(path, None)]
    for file, split in files:
        for row in read_rows(file):
            yield row, split


def _split_files(folder: Path) -> list[tuple[Path, SplitName | None]]:
    """List the files of the published splits, or all data files where there are none."""
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    by_split: dict[SplitName, Path] = {}
    for stem, split in PUBLISHED_SPLITS.items():
        for file in files:
            if file.stem == stem:
                if split in by_split:
                    what = f"both {by_split[split].name} and {file.name} are its split '{split}'"
                    raise DataError(str(folder), what, "keep one of them")
                by_split[split] = file
    if by_split:
        return [(file, split) for split, file in by_split.items()]
    if not files:
        what = "the folder has no .jsonl, .json or .txt file"
        raise DataError(str(folder), what, "name the folder that holds train.jsonl, or a file")
    return [(file, None) for file in files]


def _hub_rows(hub_id: str) -> Iterator[tuple[Row, SplitName | None]]:
    try:
        from datasets import load_dataset
        from datasets.exceptions import DatasetsError
    except ImportError:
        what = "loading from the hub needs the package datasets"
        raise DataError(hub_id, what, "pip install 'selfevo[train]', or give a path") from None
    try:
        splits = load_dataset(hub_id)
    except (DatasetsError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        what = f"cannot be loaded from the hub ({reason})"
        raise DataError(hub_id, what, "check the network, or give a path") from error
    for name, rows in splits.items():
        for index, fields in enumerate(rows):
            yield Row(fields, f"{hub_id}:{name}[{index}]"), PUBLISHED_SPLITS.get(name)


def raw_dialogue(row: Row, split: SplitName | None) -> RawDialogue:
    """A row of any dialect, before cleaning."""
    if "dialog" not in row.fields and "text" in row.fields:
        row = Row(parse_object(row.text("text"), row.where, "text"), row.where, "text.")
    items = row.rows("dialog")
    dialect = _dialect(items)
    utterances = tuple(_utterance(item, dialect) for item in items)
    require_both_speakers(row, "dialog", utterances)
    return RawDialogue(
        where=row.where,
        language="en",
        emotion=row.optional_text("emotion_type"),
        problem=row.optional_text("problem_type"),
        situation=_one_line(row.optional_text("situation") or ""),
        utterances=utterances,
        published_split=split,
    )


def _dialect(items: list[Row]) -> Dialect:
    """Tell the dialect by the first speaker's name."""
    name = items[0].text("speaker")
    for dialect in DIALECTS:
        if name in dialect.speakers:
            return dialect
    known = ", or ".join("/".join(dialect.speakers) for dialect in DIALECTS)
    raise items[0].error("speaker", f"is '{name}'", f"use {known}")


def _utterance(item: Row, dialect: Dialect) -> Utterance:
    name = item.text("speaker")
    if name not in dialect.speakers:
        what = f"is '{name}' in a dialogue of the {dialect.name} dialect"
        raise item.error("speaker", what, f"use {' or '.join(dialect.speakers)}")
    speaker = dialect.speakers[name]
    labels = item.row("annotation") if dialect.is_annotated else item
    strategies = strategies_of(labels, "strategy", speaker)
    return Utterance(speaker, _one_line(item.text(dialect.text_field)), strategies)


def _one_line(text: str) -> str:
    """ESConv's line breaks and trailing backslashes are slips of the Enter key."""
    return " ".join(text.split()).rstrip("\\ ")
