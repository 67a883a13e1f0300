"""The baseline of the regression check: an evaluation that somebody blessed, in a committed file.

`selfevo bless LOG --out results/baselines/main.json` writes it. The file has one line a person and
metric, sorted, so that a diff shows who changed; blessing is a commit that somebody reviews. It
holds its own content hash, so that a number changed by hand or by a merge is noticed. That is no
signature: who forges a baseline computes the hash anew, and only a review of the diff stops it.
"""

import json
import os
from datetime import date
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from results.records import Record, RecordError, RunRecord, differing_parts, suite_hash

SCHEMA_VERSION: Final = 1
HASH_KEY: Final = "content_hash"
"""In the file: the hash of everything else in it."""
MIN_COVERAGE: Final = 0.98
"""Below, in any metric, an evaluation failed too often to be held against anything."""


class Baseline(Record):
    """An evaluation that others are held against."""

    kind: Literal["baseline"] = "baseline"
    schema_version: Literal[1] = SCHEMA_VERSION
    blessed: date
    record: RunRecord


def bless(record: RunRecord, today: date) -> Baseline:
    """Make an evaluation the baseline.

    Raises:
        RecordError: it was cut short, or too many of its samples have no score.
    """
    if record.exhausted is not None:
        raise RecordError(
            f"{record.method}: was cut short by its budget ({record.exhausted}); "
            "evaluate everybody, then bless"
        )
    if not record.measures:
        raise RecordError(f"{record.method}: nothing was measured; look at its log")
    for name, measure in sorted(record.measures.items()):
        if measure.n_scored < MIN_COVERAGE * measure.n_total or not measure.n_scored:
            raise RecordError(
                f"{record.method}: '{name}' is scored on {measure.n_scored} of {measure.n_total} "
                f"samples; a baseline needs {MIN_COVERAGE:.0%}, evaluate again"
            )
    # a committed file holds no path of the machine on which it was made
    names = tuple(Path(log).name for log in record.logs)
    return Baseline(blessed=today, record=record.model_copy(update={"logs": names}))


def dump_baseline(baseline: Baseline) -> str:
    """The baseline as it is stored."""
    stored = baseline.model_dump(mode="json")
    stored[HASH_KEY] = suite_hash(stored)
    return json.dumps(stored, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def store_baseline(baseline: Baseline, path: Path) -> None:
    """Write it, in one piece or not at all.

    Raises:
        RecordError: the file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(dump_baseline(baseline), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be written ({error.strerror}); choose another file"
        ) from None


def read_baseline(path: Path) -> Baseline:
    """A stored baseline.

    Raises:
        RecordError: no such file, or it is cut, foreign, edited, or of another version.
    """
    try:
        raw = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(
            f"{path}: no baseline ({error.strerror}); make one with selfevo bless LOG --out {path}"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise RecordError(f"{path}: is no JSON, or cut off; bless again") from None
    if not isinstance(raw, dict) or raw.get("kind") != "baseline":
        raise RecordError(f"{path}: is no baseline; make one with selfevo bless")
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise RecordError(
            f"{path}: has schema_version {raw.get('schema_version')!r}, this version reads "
            f"{SCHEMA_VERSION}; bless again"
        )
    hashed = raw.pop(HASH_KEY, None)
    try:
        found = Baseline.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise RecordError(f"{path}: field '{field}': {first['msg']}; bless again") from None
    # of the text, not of the model: a later version may know more fields, and edited nothing
    if hashed != suite_hash(raw):
        raise RecordError(f"{path}: was edited after it was blessed; bless again")
    return found


def changes(old: Baseline | None, new: Baseline) -> list[tuple[str, str, str]]:
    """Metric, old mean, new mean: what a blessing changes."""
    before = old.record.measures if old else {}
    after = new.record.measures
    rows = []
    for name in sorted(before.keys() | after.keys()):
        means = [side[name].mean if name in side else None for side in (before, after)]
        shown = ["-" if mean is None else f"{mean:.3f}" for mean in means]
        rows.append((name, *shown))
    return [(name, one, other) for name, one, other in rows]


def other_suite(old: Baseline, new: Baseline) -> list[str]:
    """What the two were not measured alike in; their means do not compare."""
    return differing_parts(old.record.suite, new.record.suite)
