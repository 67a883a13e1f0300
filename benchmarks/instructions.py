"""General instructions with answers: replayed in phase 1, and held out to see what is forgotten.

Sources: the starter set (ours, CC0), a JSON or JSON Lines file, a dataset on the hub. Field names
of the common sets are understood: `instruction`/`input`/`output` (Alpaca, self-instruct seeds with
`instances`) and `prompt`/`response`.
"""

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.jsonl import Row, read_rows

InstructionSource = Literal["starter", "jsonl", "hub"]


class Instruction(BaseModel):
    """One instruction with its reference answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str = Field(min_length=1)
    input: str = ""
    output: str = Field(min_length=1)
    language: Language = "en"

    @property
    def id(self) -> str:
        """Content hash."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    def prompt(self) -> str:
        """What the user says."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


class InstructionSplit(NamedTuple):
    """Instructions to train on and instructions to measure with; no item is in both."""

    replay: tuple[Instruction, ...]
    heldout: tuple[Instruction, ...]


def load_instructions(
    source: InstructionSource, *, path: str | None = None, language: Language = "en"
) -> tuple[Instruction, ...]:
    """Instructions of `source` in `language`, without duplicates.

    Raises:
        DataError: naming file, line and field.
    """
    if source == "starter":
        if path is not None:
            raise DataError(
                path, "the starter instructions have no path", "choose the source jsonl or hub"
            )
        with resources.as_file(
            resources.files("benchmarks") / "data" / "instructions.jsonl"
        ) as file:
            rows = read_rows(file)
    elif path is None:
        raise DataError(f"replay source '{source}'", "has no path", "name a file or a hub id")
    else:
        rows = read_rows(Path(path)) if source == "jsonl" else _read_hub(path)
    items = [_instruction(row) for row in rows]
    unique = {item.id: item for item in items if item.language == language}
    return tuple(unique.values())


def split_instructions(
    items: Sequence[Instruction], *, heldout: int, seed: int
) -> InstructionSplit:
    """Hold out `heldout` items, chosen by hash: the order of the file does not matter."""

    def rank(item: Instruction) -> str:
        return hashlib.sha256(f"{seed}:{item.id}".encode()).hexdigest()

    ordered = sorted(items, key=rank)
    return InstructionSplit(tuple(ordered[heldout:]), tuple(ordered[:heldout]))


def _instruction(row: Row) -> Instruction:
    answer = row.rows("instances")[0] if "instances" in row.fields else row
    language = row.optional_text("language") or "en"
    if language not in ("en", "zh"):
        raise row.error("language", f"is {language!r}", "use 'en' or 'zh'")
    return Instruction(
        instruction=_filled(row, "instruction", "prompt"),
        input=answer.optional_text("input") or "",
        output=_filled(answer, "output", "response"),
        language="zh" if language == "zh" else "en",
    )


def _filled(row: Row, *names: str) -> str:
    """The first of several names of a field, which must hold a text that is not blank."""
    name = next((n for n in names if n in row.fields), names[0])
    text = row.text(name).strip()
    if not text:
        raise row.error(name, "is blank", "give it a text or remove the row")
    return text


def _read_hub(dataset_id: str) -> list[Row]:
    import datasets

    rows = datasets.load_dataset(dataset_id, split="train")
    return [Row(dict(row), f"{dataset_id}[{index}]") for index, row in enumerate(rows)]
