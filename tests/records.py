"""Records made by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.records import Measure, RunRecord

Values = Sequence[float] | Mapping[str, float]


def make_measure(values: Values, *, failed: int = 0, **fields: Any) -> Measure:
    """A value a person, and so many further people with a failed sample each."""
    if not isinstance(values, Mapping):
        values = {f"person-{i:02}": value for i, value in enumerate(values)}
    missing = {f"failed-{i:02}": 1 for i in range(failed)}
    return Measure(values=dict(values), missing=missing, **fields)


def make_record(
    method: str = "m0",
    *,
    suite: str = "suite",
    measures: Mapping[str, Measure] | None = None,
    fields: Mapping[str, Any] | None = None,
    **values: Values,
) -> RunRecord:
    """A record whose checkpoint is called like its method."""
    made = {name: make_measure(v) for name, v in values.items()}
    return RunRecord(
        **{
            "method": method,
            "benchmark": "loop",
            "suite": {"people": suite},
            "checkpoint": method,
            "measures": {**made, **(measures or {})},
            **(fields or {}),
        }
    )
