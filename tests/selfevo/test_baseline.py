import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from results.records import Measure, RecordError
from selfevo.baseline import bless, changes, dump_baseline, other_suite, read_baseline
from selfevo.baseline import store_baseline as store

from .evaluations import TODAY, blessed, changed, measure, record


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    baseline = bless(record({"relief": changed(0.1)}), TODAY)
    store(baseline, tmp_path / "new" / "main.json")
    assert read_baseline(tmp_path / "new" / "main.json") == baseline
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["main.json"]


def test_the_diff_shows_who_changed() -> None:
    before, after = [0.0, 1.0, 2.0], [0.0, 1.5, 2.0]
    old, new = (dump_baseline(blessed({"relief": values})) for values in (before, after))
    lines = zip(old.splitlines(), new.splitlines(), strict=True)
    hashed, changed_line = [pair for pair in lines if pair[0] != pair[1]]
    assert all(line.startswith(' "content_hash": ') for line in hashed)
    assert changed_line == ('     "en-001": 1.0,', '     "en-001": 1.5,')


def test_the_order_of_what_was_measured_does_not_show() -> None:
    one = Measure(values={"b": 1.0, "a": 2.0})
    other = Measure(values={"a": 2.0, "b": 1.0})
    assert dump_baseline(blessed({"x": one, "y": one})) == dump_baseline(
        blessed({"y": other, "x": other})
    )


def test_no_path_of_a_machine_is_committed() -> None:
    made = record({"relief": changed(0.0)}, logs=("/home/me/logs/a.eval",))
    baseline = bless(made, TODAY)
    assert baseline.record.logs == ("a.eval",)
    assert baseline.record.hash == made.hash


@pytest.mark.parametrize(
    ("measures", "more", "reason"),
    [
        (
            {"relief": changed(0.0)},
            {"exhausted": "9 calls"},
            "M1: was cut short by its budget (9 calls); evaluate everybody, then bless",
        ),
        ({}, {}, "M1: nothing was measured; look at its log"),
        (
            {"relief": measure(changed(0.0), missing=[1])},
            {},
            "M1: 'relief' is scored on 39 of 40 samples; a baseline needs 98%, evaluate again",
        ),
        (
            {"relief": Measure(values={})},
            {},
            "M1: 'relief' is scored on 0 of 0 samples; a baseline needs 98%, evaluate again",
        ),
    ],
)
def test_what_cannot_be_held_against_anything_is_not_blessed(
    measures: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RecordError) as error:
        bless(record(measures, **more), TODAY)
    assert str(error.value) == reason


def stored(**changes: Any) -> str:
    return json.dumps(json.loads(dump_baseline(blessed({"relief": [1.0, 2.0]}))) | changes)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no JSON, or cut off; bless again"),
        (dump_baseline(blessed({"relief": [1.0]}))[:200], "is no JSON, or cut off; bless again"),
        ("\udcff", "is no JSON, or cut off; bless again"),
        ("[]", "is no baseline; make one with selfevo bless"),
        ('{"kind": "run"}', "is no baseline; make one with selfevo bless"),
        (
            stored(schema_version=9),
            "has schema_version 9, this version reads 1; bless again",
        ),
        (stored(more=1), "field 'more': Extra inputs are not permitted; bless again"),
        (stored(record={}), "field 'record.method': Field required; bless again"),
    ],
)
def test_what_is_no_baseline_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "main.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError) as error:
        read_baseline(path)
    assert str(error.value) == f"{path}: {reason}"


def edited(old: str, new: str) -> str:
    text = dump_baseline(blessed({"relief": [1.0, 2.0]}))
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"en-001": 2.0', '"en-001": 1.0'),  # a candidate that fell would pass
        ('"blessed": "2026-11-24"', '"blessed": "2026-11-23"'),  # or it would not grow old
        ('"content_hash": "', '"content_hash": "0'),
    ],
)
def test_a_baseline_that_was_edited_is_refused(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "main.json"
    path.write_text(edited(old, new), encoding="utf-8")
    with pytest.raises(RecordError) as error:
        read_baseline(path)
    assert str(error.value) == f"{path}: was edited after it was blessed; bless again"


def test_a_baseline_without_its_hash_is_refused(tmp_path: Path) -> None:
    raw = json.loads(stored())
    del raw["content_hash"]
    path = tmp_path / "main.json"
    path.write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(RecordError, match="was edited after it was blessed; bless again"):
        read_baseline(path)


def test_other_white_space_is_no_edit(tmp_path: Path) -> None:
    path = tmp_path / "main.json"
    path.write_text(stored(), encoding="utf-8")
    assert read_baseline(path) == blessed({"relief": [1.0, 2.0]})


def test_a_missing_baseline_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"make one with selfevo bless LOG --out .*main\.json"):
        read_baseline(tmp_path / "main.json")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        store(blessed({"relief": [1.0]}), tmp_path / "file" / "main.json")


def test_what_a_blessing_changes() -> None:
    old = blessed({"relief": [1.0, 2.0], "trust": [0.5]}, date(2026, 1, 1))
    new = blessed({"relief": [2.0, 3.0], "talk.length": [9.0]})
    assert changes(old, new) == [
        ("relief", "1.500", "2.500"),
        ("talk.length", "-", "9.000"),
        ("trust", "0.500", "-"),
    ]
    assert changes(None, old) == [("relief", "-", "1.500"), ("trust", "-", "0.500")]


def test_means_of_another_suite_do_not_compare() -> None:
    old, new = blessed({"a": [1.0]}), blessed({"a": [1.0]}, suite={"task": "support 4-A"})
    assert other_suite(old, old) == []
    assert len(other_suite(old, new)) == 2
