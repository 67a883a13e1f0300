"""The preference pair: what phase 2 trains on, and its JSON Lines file.

A pair is two replies to one dialogue context and where they came from. It holds the plain dialogue
only: principles, reflection and refinement prompts never enter the messages. A `Candidate` is a
pair that no filter has seen yet (`selfevo/filters.py`), with what the filters need beside it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.contexts import Message
from benchmarks.dialogues import Language
from benchmarks.errors import DataError


class Record(BaseModel):
    """Base of the records here: frozen and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Provenance(Record):
    """Where a pair came from."""

    model_hash: str
    """Content hash of the checkpoint that wrote the draft, and the refinement if there is one."""

    principles_hash: str
    log_id: str
    """Id of the Inspect log (`eval_id`) in which the pair was made."""

    sample_id: str
    round: int = Field(ge=1)
    strategy: str
    """How it was refined, such as `select` or `generate`."""

    chosen_source: Literal["refinement", "human"]
    rejected_source: Literal["draft", "m0_draft"]


def _content_id(content: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 over all other fields as canonical JSON."""
    plain = {
        name: _plain(value)
        for name, value in content.items()
        if name not in ("id", "schema_version")
    }
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


class PreferencePair(Record):
    """Two replies to the same dialogue, the better one named."""

    schema_version: Literal[1] = 1
    dialogue_id: str
    context_id: str
    turn: int = Field(ge=0)
    """Index in the dialogue of the supporter turn that the replies stand for."""

    language: Language
    messages: tuple[Message, ...] = Field(min_length=1)
    """The dialogue so far, ending with the user."""

    chosen: str
    rejected: str
    provenance: Provenance
    chosen_tokens: int = Field(ge=0)
    rejected_tokens: int = Field(ge=0)
    """Lengths under the tokenizer of the model to be trained, without the end-of-turn token."""

    reflection: str
    """The reflection as text, for the reader; never trained on."""

    gain_bits: float | None = Field(default=None, allow_inf_nan=False)
    """Specificity of chosen minus rejected; None where it was not measured."""

    id: str = Field(default_factory=_content_id)
    """Content hash; made from the other fields and checked when given."""

    @model_validator(mode="after")
    def _is_consistent(self) -> "PreferencePair":
        if self.messages[-1].role != "user":
            raise ValueError("messages end with the assistant; they must end with the user's turn")
        expected = _content_id({name: getattr(self, name) for name in type(self).model_fields})
        if self.id != expected:
            raise ValueError(
                f"id {self.id} does not belong to this content ({expected}); "
                "the pair was changed after it was written"
            )
        return self

    def seeker_words(self) -> list[str]:
        """The texts of the user's turns."""
        return [message.content for message in self.messages if message.role == "user"]

    def history(self) -> list[str]:
        """The texts of all turns so far."""
        return [message.content for message in self.messages]


class Candidate(Record):
    """A pair before the filters, with what they need to know about its making."""

    pair: PreferencePair
    chosen_stop_reason: str | None = None
    """Inspect's stop reason; None for a human reply."""

    rejected_stop_reason: str | None = None
    instructions: tuple[str, ...] = ()
    """System prompt, principles and refinement prompts in view when chosen was written."""

    profile: str = ""
    """The inferred profile as text, beyond what `pair.reflection` says."""


def write_pairs(path: Path, pairs: Iterable[PreferencePair]) -> None:
    """Write pairs as JSON Lines, whole or not at all: temporary name, fsync, rename."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        for pair in pairs:
            file.write(pair.model_dump_json() + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_pairs(path: Path) -> list[PreferencePair]:
    """Read what `write_pairs` wrote; an empty file is a round in which no pair survived.

    Raises:
        DataError: a line is no valid pair, or a pair stands in the file twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(str(path), "no such file", "check the path of the pairs") from None
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.start})"
        raise DataError(str(path), what, "make the file again") from None
    pairs: list[PreferencePair] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        pair = _parse_pair(line, f"{path}:{number}")
        if pair.id in line_of:
            raise DataError(
                f"{path}:{number}",
                f"the same pair stands in line {line_of[pair.id]}",
                "remove one of the two",
                field="id",
            )
        line_of[pair.id] = number
        pairs.append(pair)
    return pairs


def _parse_pair(line: str, where: str) -> PreferencePair:
    try:
        return PreferencePair.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        fix = "write one preference pair a line, or make the file again"
        raise DataError(where, first["msg"], fix, field=field) from None
