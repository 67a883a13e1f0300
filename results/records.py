"""Records of evaluations: what a method scored, person by person, and what it compares with.

Two kinds lie under `results/runs/`, one immutable JSON file each: a `RunRecord` (one checkpoint on
one suite) and a `PreferenceRecord` (a judge's preferences between two checkpoints on the same
people). Both are made from Inspect logs once, so that nothing later has to read transcripts.

A record's hash covers what was measured; `Provenance` (when, with what, at which cost) is beside
it, because a run that was killed and resumed measures the same and takes another time. The hash
stands in the file, so that a number changed by hand is noticed. It is no signature: who wants to
forge a record computes it anew.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from annotated_types import Ge, Gt, Le
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    FiniteFloat,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

LARGEST: Final = 1e50
"""No measure is larger, and sums and squares of such numbers are still numbers."""
MOST: Final = 10**9
"""Nobody has more samples."""
Number = Annotated[FiniteFloat, Ge(-LARGEST), Le(LARGEST)]
Count = Annotated[int, Ge(0)]
Samples = Annotated[int, Gt(0), Le(MOST)]
Winner = Literal["A", "B", "tie"]

SCHEMA_VERSION: Final = 2
PLAIN_CHARACTERS: Final = 200
"""Of foreign text in a message."""
SHARE: Final = (0.0, 1.0)
"""Scale of a share, or of what is there or not."""
HASH_CHARACTERS: Final = 12
"""Of a content hash in a file name and in a message."""
HASH_KEY: Final = "hash"
"""In a stored record: its content hash."""


class RecordError(ValueError):
    """A record cannot be read or written; the message is one line: where, what, what to do."""


class Record(BaseModel):
    """Base of what is stored: frozen, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Measure(Record):
    """One metric of a checkpoint: a value for each unit (a person, an instruction) with a score."""

    values: dict[str, Number]
    """Mean over the unit's samples, by unit id; a unit without a score is not in it."""
    counts: dict[str, Samples] = {}
    """Scored samples by unit; empty where every unit has one."""
    missing: dict[str, Samples] = {}
    """Samples that were asked for and have no score, by unit; they are in no mean."""
    within: Annotated[FiniteFloat, Ge(0), Le(2 * LARGEST**2)] | None = None
    """Variance between a unit's samples, pooled over units; None where no unit has two scores."""
    scale: tuple[Number, Number] | None = None
    """Lowest and highest possible value; None where there is no bound."""

    @model_validator(mode="after")
    def _counts_fit(self) -> "Measure":
        if self.counts and self.counts.keys() != self.values.keys():
            raise ValueError("counts and values name other units; each value needs its count")
        return self

    @model_validator(mode="after")
    def _values_are_possible(self) -> "Measure":
        low, high = self.scale or (-LARGEST, LARGEST)
        for unit, value in self.values.items():
            if not low <= value <= high:
                raise ValueError(f"{value:g} of {unit} is not on the scale {low:g} to {high:g}")
        return self

    @property
    def n_scored(self) -> int:
        """Samples with a score."""
        return sum(self.counts.values()) if self.counts else len(self.values)

    @property
    def n_total(self) -> int:
        """Samples asked for."""
        return self.n_scored + sum(self.missing.values())

    @property
    def mean(self) -> float | None:
        """Mean over units; None when nothing was scored."""
        return math.fsum(self.values.values()) / len(self.values) if self.values else None

    @property
    def repeats(self) -> float:
        """Scored samples of a unit, on average."""
        return self.n_scored / len(self.values) if self.values else 0.0


class Cost(Record):
    """What an evaluation took; None where the logs do not say."""

    calls: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    minutes: Annotated[FiniteFloat, Ge(0)] | None = None


class Provenance(Record):
    """When and with what a record was made; not part of its hash."""

    created: str | None = None
    """Date and time of the evaluation, UTC, ISO 8601."""
    commit: str | None = None
    versions: dict[str, str] = {}
    cost: Cost = Cost()


class RunRecord(Record):
    """An evaluation of one checkpoint on one suite."""

    kind: Literal["run"] = "run"
    schema_version: Literal[2] = SCHEMA_VERSION
    method: str
    """Name on the board: the model or the round, such as `control/stock` or `M1`."""
    benchmark: str
    """What was run: `loop`, or the name of an Inspect task."""
    suite: dict[str, str]
    """What must be equal in a comparison, by name: tasks, people, users, settings, rubrics ..."""
    checkpoint: str
    """Content hash of a local checkpoint; the name of a served model."""
    measures: dict[str, Measure]
    corpus: dict[str, Number] = {}
    """Numbers of all replies together, which have no value a person (distinct-n)."""
    judges: dict[str, str] = {}
    """Hash of the judge behind each metric that a judge gave."""
    people: dict[str, dict[str, str]] = {}
    """Attributes of the units, such as emotion, problem, personality, language: for slices."""
    exhausted: str | None = None
    """The budget that was reached, perhaps before everybody was asked; None: it is whole."""
    logs: tuple[str, ...] = ()
    """Inspect logs behind the numbers."""
    provenance: Provenance = Provenance()

    @property
    def hash(self) -> str:
        """Content hash of what was measured."""
        return _content_hash(self)


class PreferenceRow(Record):
    """What the judge said of one pair of conversations, in both orders."""

    person: str
    forward: Winner
    """Winner with `a` in the first slot: A is the first slot."""
    backward: Winner
    """Winner with `b` in the first slot: A is the first slot again, where `b` sits."""
    words_a: Number
    """Mean words of a reply."""
    words_b: Number


class PreferenceRecord(Record):
    """A judge's preferences between two checkpoints that talked with the same people."""

    kind: Literal["preferences"] = "preferences"
    schema_version: Literal[2] = SCHEMA_VERSION
    a: str
    """Method, as in its `RunRecord`."""
    b: str
    suite: dict[str, str]
    judge: str
    """Name of the judge."""
    judge_hash: str
    rubric: str
    rows: tuple[PreferenceRow, ...]
    n_unscored: Count
    """Pairs of which the judge gave no usable answer."""
    logs: tuple[str, ...] = ()
    provenance: Provenance = Provenance()

    @property
    def hash(self) -> str:
        """Content hash of what was judged."""
        return _content_hash(self)


AnyRecord = RunRecord | PreferenceRecord
_ANY: Final[TypeAdapter[AnyRecord]] = TypeAdapter(Annotated[AnyRecord, Discriminator("kind")])


def suite_hash(parts: Mapping[str, JsonValue]) -> str:
    """Content hash of what defines a comparison."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def differing_parts(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """What two suites differ in: `people (1f3c... and 9a0b...)`, one entry a part."""
    return [
        f"{name} ({_short(one.get(name))} and {_short(other.get(name))})"
        for name in sorted(one.keys() | other.keys())
        if one.get(name) != other.get(name)
    ]


def dump_record(record: AnyRecord) -> str:
    """The record as it is stored, with its hash: one line a unit, so a diff shows who changed."""
    stored = {HASH_KEY: record.hash, **record.model_dump(mode="json")}
    return json.dumps(stored, ensure_ascii=False, indent=1) + "\n"


def read_record(path: Path, *, sealed: bool = True) -> AnyRecord:
    """A stored record, validated.

    Args:
        path: The file.
        sealed: Its hash must stand in it; a run's own `record.json` has none.

    Raises:
        RecordError: no such file, or it is cut, foreign, changed, or of another version.
    """
    try:
        return parse_record(path.read_bytes(), str(path), sealed=sealed)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be read ({error.strerror}); give the path of a record"
        ) from None


def parse_record(text: bytes, where: str, *, sealed: bool = True) -> AnyRecord:
    """A record from its JSON.

    Raises:
        RecordError: it is cut, foreign, changed, or of another version.
    """
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):  # also a number of 5,000 digits, and lists in lists
        raise RecordError(f"{where}: is no JSON, or cut off; make the record again") from None
    if not isinstance(raw, dict) or "schema_version" not in raw:
        raise RecordError(f"{where}: is no record of an evaluation; give one of selfevo record")
    if raw["schema_version"] != SCHEMA_VERSION:
        version = _plain(repr(raw["schema_version"]))
        raise RecordError(
            f"{where}: has schema_version {version}, this version reads {SCHEMA_VERSION}; "
            "make the record again from its logs"
        )
    stored = raw.pop(HASH_KEY, None)
    try:
        record = _ANY.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"] if part not in ("run", "preferences"))
        raise RecordError(
            f"{where}: field '{_plain(field)}': {_plain(first['msg'])}; make the record again"
        ) from None
    _refuse_changed(record, stored, where, sealed)
    return record


def _refuse_changed(record: AnyRecord, stored: JsonValue, where: str, sealed: bool) -> None:
    try:
        actual = record.hash
    except UnicodeEncodeError:
        raise RecordError(f"{where}: holds text that is no Unicode; make it again") from None
    if stored is None and not sealed:
        return
    if stored is None:
        raise RecordError(f"{where}: has no hash, as if it were not stored here; make it again")
    if stored != actual:
        raise RecordError(
            f"{where}: was changed after it was made (hash {actual[:HASH_CHARACTERS]}, not "
            f"{_plain(str(stored))[:HASH_CHARACTERS]}); make it again"
        )


def read_run(path: Path, *, sealed: bool = True) -> RunRecord:
    """A stored `RunRecord`.

    Args:
        path: The file.
        sealed: As of `read_record`.

    Raises:
        RecordError: as `read_record`, or it is a record of preferences.
    """
    record = read_record(path, sealed=sealed)
    if not isinstance(record, RunRecord):
        raise RecordError(f"{path}: holds preferences, not an evaluation; give a run record")
    return record


def read_records(folder: Path) -> list[AnyRecord]:
    """Every record of a folder, by file name.

    Raises:
        RecordError: there is no such folder, it holds none, or one cannot be read.
    """
    files = sorted(folder.glob("*.json")) if folder.is_dir() else []
    if not files:
        raise RecordError(f"{folder}: holds no record; make one with selfevo record LOG")
    return [read_record(file) for file in files]


def store_record(record: AnyRecord, folder: Path) -> Path:
    """Write a record under its name and hash; the same one again is left alone.

    Raises:
        RecordError: the folder cannot be written, or the file is there and was changed.
    """
    try:
        path = folder / file_name(record)
    except UnicodeEncodeError:
        raise RecordError(
            f"{_plain(record.method if isinstance(record, RunRecord) else record.a)}: holds text "
            "that is no Unicode; name the method anew"
        ) from None
    if path.exists():
        if read_record(path).hash != record.hash:
            raise RecordError(f"{path}: holds another record; delete it and store this one again")
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(dump_record(record), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise RecordError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from None
    return path


def file_name(record: AnyRecord) -> str:
    """`method-hash.json`, or `a-against-b-hash.json`."""
    name = record.method if isinstance(record, RunRecord) else f"{record.a}-against-{record.b}"
    return f"{_slug(name)}-{record.hash[:HASH_CHARACTERS]}.json"


def variance_within(samples_by_unit: Iterable[Sequence[float]]) -> float | None:
    """Pooled variance between the samples of a unit (the mean square within, of an ANOVA)."""
    squares, freedom = 0.0, 0
    for samples in samples_by_unit:
        mean = math.fsum(samples) / len(samples)
        squares += math.fsum((value - mean) ** 2 for value in samples)
        freedom += len(samples) - 1
    return squares / freedom if freedom else None


def _content_hash(record: AnyRecord) -> str:
    # not mode="json", which lets text pass that is no Unicode
    return suite_hash(record.model_dump(exclude={"provenance", "logs"}))


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-") or "method"


def _plain(text: str) -> str:
    """Foreign text in a message: on one line, short, and such that every terminal can print it."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"\s+", " ", text)[:PLAIN_CHARACTERS]


_HASH: Final = re.compile(r"[0-9a-f]{32,}")


def _short(value: str | None) -> str:
    if value is None:
        return "absent"
    return value[:HASH_CHARACTERS] if _HASH.fullmatch(value) else value
