import json
import math

import pytest
from pydantic import JsonValue, ValidationError

from results.records import Measure, RunRecord, suite_hash


def measure(values: dict[str, float], n_scored: int, n_total: int) -> Measure:
    return Measure(values=values, n_scored=n_scored, n_total=n_total)


def test_mean_is_over_people() -> None:
    assert measure({"ann": 1.0, "ben": 4.0}, 5, 6).mean == 2.5


def test_nothing_scored_has_no_mean() -> None:
    assert measure({}, 0, 8).mean is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_failure_is_never_a_number(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        measure({"ann": value}, 1, 1)


@pytest.mark.parametrize(("n_scored", "n_total"), [(3, 2), (1, 4), (-1, 4)])
def test_impossible_counts_are_refused(n_scored: int, n_total: int) -> None:
    with pytest.raises(ValidationError):
        measure({"ann": 1.0, "ben": 2.0}, n_scored, n_total)


def test_a_record_survives_the_disk() -> None:
    record = RunRecord(
        suite="s",
        checkpoint="c",
        measures={"length": measure({"ann": 12.25}, 2, 2)},
        corpus={"distinct_1": 0.5},
        logs=("m0/evaluation/reply",),
    )
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_a_record_of_another_schema_is_refused() -> None:
    stored = {"suite": "s", "checkpoint": "c", "measures": {}, "corpus": {}, "logs": []}
    with pytest.raises(ValidationError, match="schema_version"):
        RunRecord.model_validate_json(json.dumps({**stored, "schema_version": 2}))


def test_suite_hash_ignores_order_of_keys_and_nothing_else() -> None:
    parts: dict[str, JsonValue] = {"people": ["ann", "ben"], "seed": 7}
    assert suite_hash({"seed": 7, "people": ["ann", "ben"]}) == suite_hash(parts)
    assert suite_hash({"seed": 7, "people": ["ben", "ann"]}) != suite_hash(parts)
    assert suite_hash({"seed": "7", "people": ["ann", "ben"]}) != suite_hash(parts)


def test_suite_hash_refuses_what_has_no_canonical_form() -> None:
    with pytest.raises(TypeError):
        suite_hash({"thing": object()})  # type: ignore[dict-item]
