"""What a person said of conversations: one record a rating, in a file that only grows.

Each rating is appended as one line of JSON and synced before the page goes on. Rating a
conversation again appends another line; the last one counts. A last line that a power cut left
half-written is dropped, with a warning. What was not answered is None with its reason, never a
number.

The CSV is a copy for whoever computes agreement: the ratings that count, one a row, in the columns
that `benchmarks/ratings.py` reads. It leaves out notes, times and why a value is missing; those
stay in the records. The persona, whose card a judge may need, is in the file alone: the copy that
the page offers lacks it.
"""

import csv
import io
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Annotated, Final, Literal, Self

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from judges.rubric import Rubric
from selfevo.errors import SelfevoError

logger = logging.getLogger(__name__)

About = Literal["conversation", "reply"]
Reason = Literal["cannot tell", "does not apply"]
"""Why a question has no number."""

COLUMNS: Final = ("id", "conversation_id", "rater", "language")
"""Of the CSV, before the dimensions; the conversation follows them."""
PERSONA_COLUMN: Final = "persona"
"""After all others, where it is asked for."""
TEXT_COLUMNS: Final[dict[About, str]] = {"conversation": "full_conversation", "reply": "text"}
"""In which column a reader looks for a rated conversation, and for one whose last reply is rated.
"""
MAX_NOTES: Final = 4000


class Label(BaseModel):
    """One rating of one conversation by one rater."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    item: str
    """Opaque id of the conversation."""
    person: str
    """Opaque id of whom it is with: what ratings cluster by."""
    log: str
    """SHA-256 of the log file."""
    sample: str
    """Of the log; never shown to the rater."""
    persona: str | None = None
    """Id of the person's card; None where it is unknown. Never shown to the rater either."""
    epoch: int
    rubric: str
    rubric_version: str
    rubric_hash: str
    rater: str
    saw_card: bool
    """Whether the person's card was shown."""
    values: dict[str, int | None]
    """By dimension: a criterion's name, or a preference's on the card."""
    missing: dict[str, Reason]
    """Why a value is None."""
    notes: Annotated[str, Field(max_length=MAX_NOTES)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The conversation was in view; a re-rating counts from zero."""
    labelled_at: AwareDatetime
    language: Language
    about: About
    """What was rated: the supporter in the whole conversation, or the last reply."""
    text: str
    """The conversation, a line a message."""

    @model_validator(mode="after")
    def _is_missing_for_a_reason(self) -> Self:
        without = {name for name, value in self.values.items() if value is None}
        if without != self.missing.keys():
            raise ValueError("every missing value, and no other, needs a reason")
        return self


class LabelFile(AbstractContextManager["LabelFile"]):
    """The file of one rater and one rubric, held by one program at a time."""

    def __init__(self, path: Path, rubric: Rubric, rater: str) -> None:
        self.path = path
        self._rubric = rubric
        self._rater = rater
        self._lock = FileLock(path.with_name(f"{path.name}.lock"))
        self.labels: dict[str, Label] = {}
        """The rating that counts, by item."""

    def __enter__(self) -> Self:
        """Take the file and read what is in it.

        Raises:
            DataError: a line is wrong, or the file is of another rater or rubric.
            SelfevoError: another program has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise SelfevoError(
                f"{self.path}: another program is writing it; stop that one, or use another file"
            ) from None
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the file."""
        self._lock.release()

    def append(self, label: Label) -> None:
        """Write a rating so that it survives a power cut, or not at all.

        Raises:
            OSError: it could not be written; the file is as it was.
        """
        line = f"{label.model_dump_json()}\n".encode()
        with self.path.open("ab", buffering=0) as file:
            size = file.tell()
            try:
                _write(file.fileno(), line)
            except OSError:
                os.truncate(self.path, size)
                raise
        self.labels[label.item] = label

    def _open(self) -> None:
        raw = self.path.read_bytes() if self.path.exists() else b""
        labels = parse_labels(raw, self.path)
        for number, label in enumerate(labels, start=1):
            self._refuse_foreign(label, f"{self.path}:{number}")
        whole = _whole(raw)
        if whole != raw:  # the next line must not be glued to half of one
            with self.path.open("r+b") as file:
                file.truncate(len(whole.removesuffix(b"\n")))
                file.seek(0, os.SEEK_END)
                file.write(b"\n" if whole else b"")
                file.flush()
                os.fsync(file.fileno())
        self.labels = {label.item: label for label in labels}

    def _refuse_foreign(self, label: Label, where: str) -> None:
        if label.rater != self._rater:
            what = f"is rated by '{label.rater}', not by '{self._rater}'"
            raise DataError(where, what, "give each rater a file of their own")
        if label.rubric_hash != self._rubric.hash:
            named = f"rubric '{label.rubric}' {label.rubric_version} ({label.rubric_hash[:8]})"
            asked = f"'{self._rubric.name}' {self._rubric.version} ({self._rubric.hash[:8]})"
            what = f"is rated by {named}, not by {asked}"
            raise DataError(where, what, "give each rubric, and each wording of it, its own file")


def read_labels(path: Path) -> list[Label]:
    """Every line of a file of labels, oldest first; a half-written last line is dropped.

    Raises:
        DataError: no such file, or a line is wrong.
    """
    try:
        return parse_labels(path.read_bytes(), path)
    except FileNotFoundError:
        raise DataError(str(path), "no such file", "check the path of the labels") from None


def parse_labels(raw: bytes, path: Path) -> list[Label]:
    """The labels in the bytes of a file; errors and warnings name `path`."""
    whole = _whole(raw)
    lines = whole.removesuffix(b"\n").split(b"\n") if whole else []
    if len(whole) < len(raw):
        logger.warning("%s:%d: half-written last line dropped", path, len(lines) + 1)
    return [_parse(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def export_csv(labels: Path, out: Path) -> None:
    """Write the ratings that count as CSV, with the persona, whole or not at all.

    Raises:
        DataError: no labels, or a line is wrong.
    """
    text = csv_text(read_labels(labels), labels, with_persona=True)
    partial = out.with_name(f"{out.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(out)


def csv_text(labels: Iterable[Label], path: Path, *, with_persona: bool = False) -> str:
    """The ratings that count: ids, rater, a column a dimension, the conversation.

    A missing value is an empty cell. `conversation_id` is what ratings cluster by: conversations
    with the same person share it. `persona` tells the rater who the person is, so it is there only
    on demand, last.

    Raises:
        DataError: no labels; the message names `path`.
    """
    counting = list({label.item: label for label in labels}.values())
    if not counting:
        raise DataError(str(path), "holds no labels", "rate a conversation first")
    dimensions = list(dict.fromkeys(name for label in counting for name in label.values))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    last = [PERSONA_COLUMN] if with_persona else []
    writer.writerow([*COLUMNS, *dimensions, TEXT_COLUMNS[counting[0].about], *last])
    for label in counting:
        writer.writerow([*_row(label, dimensions), *([label.persona] if with_persona else [])])
    return text.getvalue()


def _row(label: Label, dimensions: Sequence[str]) -> list[object]:
    values = [label.values.get(name) for name in dimensions]  # csv writes None as nothing
    return [label.item, label.person, label.rater, label.language, *values, label.text]


def _write(descriptor: int, line: bytes) -> None:
    """All of it, onto the disk."""
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)


def _whole(raw: bytes) -> bytes:
    """The bytes without a last line that was cut; one that lacks only its end is whole."""
    end = raw.rfind(b"\n") + 1
    try:
        Label.model_validate_json(raw[end:])
    except ValidationError:
        return raw[:end]
    return raw + b"\n"


def _parse(line: bytes, where: str) -> Label:
    try:
        return Label.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        fix = "restore the line, or remove it"
        raise DataError(where, first["msg"], fix, field=field) from None
