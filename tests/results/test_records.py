import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue, ValidationError

from results.records import (
    Measure,
    PreferenceRecord,
    PreferenceRow,
    Provenance,
    RecordError,
    RunRecord,
    differing_parts,
    dump_record,
    read_record,
    read_records,
    read_run,
    store_record,
    suite_hash,
    variance_within,
)
from tests.records import make_record


def test_mean_is_over_people() -> None:
    found = Measure(
        values={"ann": 1.0, "ben": 4.0}, counts={"ann": 4, "ben": 1}, missing={"cai": 1}
    )
    assert found.mean == 2.5
    assert (found.n_scored, found.n_total, found.repeats) == (5, 6, 2.5)


def test_without_counts_everybody_has_one_sample() -> None:
    found = Measure(values={"ann": 1.0, "ben": 4.0}, missing={"ann": 2})
    assert (found.n_scored, found.n_total, found.repeats) == (2, 4, 1.0)


def test_nothing_scored_has_no_mean() -> None:
    found = Measure(values={}, missing={"ann": 8})
    assert (found.mean, found.n_scored, found.n_total, found.repeats) == (None, 0, 8, 0.0)


def test_variance_within_is_pooled_over_units() -> None:
    # squares 2 and 0 and 8 with 1, 0 and 2 degrees of freedom
    assert variance_within([[1, 3], [5], [0, 2, 4]]) == pytest.approx(10 / 3)
    assert variance_within([[1], [2]]) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_failure_is_never_a_number(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        Measure(values={"ann": value})


@pytest.mark.parametrize(
    "fields",
    [
        {"counts": {"ann": 1}},
        {"counts": {"ann": 1, "ben": 0}},
        {"counts": {"ann": 1, "ben": 1, "cai": 1}},
        {"missing": {"ann": 0}},
        {"missing": {"ann": -1}},
        {"within": -0.1},
    ],
)
def test_impossible_counts_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Measure(values={"ann": 1.0, "ben": 2.0}, **fields)


def full_record() -> RunRecord:
    return make_record(
        "control/stock",
        measures={"relief": Measure(values={"安": 0.5}, missing={"ben": 1}, scale=(-4, 4))},
        fields={
            "people": {"安": {"emotion": "fear"}},
            "logs": ("a.eval",),
            "provenance": {"created": "2026-11-24T10:00:00+00:00", "cost": {"calls": 3}},
        },
    )


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    record = full_record()
    path = store_record(record, tmp_path / "runs")
    assert read_record(path) == read_run(path) == record
    assert path.name == f"control-stock-{record.hash[:12]}.json"
    assert read_records(tmp_path / "runs") == [record]
    assert not list(path.parent.glob("*.partial"))


def test_a_stored_record_is_never_written_again(tmp_path: Path) -> None:
    record = full_record()
    path = store_record(record, tmp_path)
    before = path.read_bytes()
    later = {"created": "2027-01-01"}
    again = record.model_copy(update={"provenance": Provenance.model_validate(later)})
    assert store_record(again, tmp_path) == path
    assert path.read_bytes() == before
    other = record.model_copy(update={"checkpoint": "another"})
    assert store_record(other, tmp_path) != path


def test_the_hash_is_of_what_was_measured() -> None:
    record = full_record()
    same = [{"logs": ("elsewhere.eval",)}, {"provenance": Provenance()}]
    assert {record.model_copy(update=u).hash for u in same} == {record.hash}
    other: list[dict[str, Any]] = [
        {"method": "x"},
        {"suite": {}},
        {"people": {}},
        {"exhausted": "5"},
    ]
    assert record.hash not in {record.model_copy(update=u).hash for u in other}


def test_preferences_survive_the_disk(tmp_path: Path) -> None:
    row = PreferenceRow(person="p", forward="A", backward="B", words_a=3.0, words_b=4.5)
    record = PreferenceRecord(
        a="M1",
        b="control/stock",
        suite={"people": "x"},
        judge="openai/x",
        judge_hash="h",
        rubric="personalization",
        rows=(row,),
        n_unscored=0,
    )
    path = store_record(record, tmp_path)
    assert read_record(path) == record
    assert path.name.startswith("M1-against-control-stock-")
    with pytest.raises(RecordError, match="holds preferences, not an evaluation"):
        read_run(path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: text[: len(text) // 2], "is no JSON, or cut off"),
        (lambda text: b"\xff\xfe" + text, "is no JSON, or cut off"),
        (lambda text: b"[]", "is no record of an evaluation"),
        (lambda text: b'{"hello": 1}', "is no record of an evaluation"),
        (
            lambda text: text.replace(b'"schema_version": 2', b'"schema_version": 1'),
            "has schema_version 1, this version reads 2; make the record again from its logs",
        ),
        (
            lambda text: text.replace(b'"kind": "run"', b'"kind": "walk"'),
            "field '': ",
        ),
        (lambda text: text.replace(b"0.5", b"NaN"), "Input should be a finite number"),
        (lambda text: text.replace(b'"method"', b'"method2"'), "field 'method': Field required"),
        (
            lambda text: text.replace(b'"exhausted": null', b'"exhausted": null, "x": 1'),
            "field 'x': Extra inputs are not permitted",
        ),
    ],
)
def test_what_is_no_record_is_told_in_one_line(
    change: Callable[[bytes], bytes], complaint: str, tmp_path: Path
) -> None:
    path = store_record(full_record(), tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(RecordError) as error:
        read_record(path)
    assert str(error.value).startswith(f"{path}: ")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"0.5", b"0.75"), (b'"control/stock"', b'"control/other"'), (b'"hash": "', b'"hash": "0')],
)
def test_a_record_that_was_changed_is_told(old: bytes, new: bytes, tmp_path: Path) -> None:
    record = full_record()
    path = store_record(record, tmp_path)
    path.write_bytes(path.read_bytes().replace(old, new))
    for read in (read_record, lambda path: read_run(path, sealed=False)):
        with pytest.raises(RecordError, match=r"was changed after it was made \(hash .{12}, not "):
            read(path)
    with pytest.raises(RecordError, match="was changed after it was made"):
        store_record(record, tmp_path)


def test_only_a_runs_own_record_may_lack_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(full_record().model_dump_json(), "utf-8")
    assert read_run(path, sealed=False) == full_record()
    with pytest.raises(RecordError, match="has no hash, as if it were not stored here"):
        read_run(path)


def test_another_record_under_the_name_is_not_taken_for_this_one(tmp_path: Path) -> None:
    path = store_record(full_record(), tmp_path)
    path.write_text(dump_record(make_record("other")), "utf-8")
    with pytest.raises(RecordError, match="holds another record; delete it"):
        store_record(full_record(), tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b"0.5", b"5" * 5000, "is no JSON, or cut off"),
        (b"0.5", b"[" * 100_000, "is no JSON, or cut off"),
        (b"0.5", b"[" * 400 + b"]" * 400, "valid number"),
        (b"0.5", b"9" * 4000, "field 'measures.relief.values"),
        (b"0.5", b"1e308", "less than or equal to 1000000"),
        (b"0.5", b"4.5", "4.5 of"),
        (b'"missing": {', b'"missing": {"x": 1' + b"0" * 400 + b", ", "field 'measures.relief"),
        (b'"ben"', b'"\\ud800"', "holds text that is no Unicode"),
        (b'"exhausted"', b'"\\ud800\\n"', "unable to parse raw data as a unicode"),
    ],
)
def test_hostile_records_are_one_line(
    old: bytes, new: bytes, complaint: str, tmp_path: Path
) -> None:
    path = store_record(full_record(), tmp_path)
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    with pytest.raises(RecordError) as error:
        read_record(path)
    said = str(error.value)
    assert complaint in said
    assert said.count("\n") == 0 and len(said.encode()) < 1000


def test_a_name_that_is_no_unicode_is_not_stored(tmp_path: Path) -> None:
    odd = full_record().model_copy(update={"method": "\udcff"})
    with pytest.raises(RecordError, match="holds text that is no Unicode"):
        store_record(odd, tmp_path)


def test_a_value_off_its_scale_is_none() -> None:
    assert Measure(values={"ann": 4.0}, scale=(-4, 4)).mean == 4.0
    with pytest.raises(ValidationError, match=r"4\.1 of ann is not on the scale -4 to 4"):
        Measure(values={"ann": 4.1}, scale=(-4, 4))


def test_absent_records_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_record(tmp_path / "absent.json")
    with pytest.raises(RecordError, match="holds no record"):
        read_records(tmp_path)
    with pytest.raises(RecordError, match="holds no record"):
        read_records(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(RecordError, match="cannot be written"):
        store_record(full_record(), tmp_path / "file")


def test_differing_parts_are_named() -> None:
    one = {"people": "1" * 64, "task": "support 3-A", "seed": "7"}
    other = {"people": "2" * 64, "task": "support 3-A"}
    assert differing_parts(one, one) == []
    assert differing_parts(one, other) == [
        f"people ({'1' * 12} and {'2' * 12})",
        "seed (7 and absent)",
    ]


def test_suite_hash_ignores_order_of_keys_and_nothing_else() -> None:
    parts: dict[str, JsonValue] = {"people": ["ann", "ben"], "seed": 7}
    assert suite_hash({"seed": 7, "people": ["ann", "ben"]}) == suite_hash(parts)
    assert suite_hash({"seed": 7, "people": ["ben", "ann"]}) != suite_hash(parts)
    assert suite_hash({"seed": "7", "people": ["ann", "ben"]}) != suite_hash(parts)


def test_suite_hash_refuses_what_has_no_canonical_form() -> None:
    with pytest.raises(TypeError):
        suite_hash({"thing": object()})  # type: ignore[dict-item]
