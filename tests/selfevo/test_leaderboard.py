"""`selfevo leaderboard` through the command line: what it writes, says and refuses."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from results.board_records import Board
from results.every_eval_ever import validate
from results.records import AnyRecord, store_record
from selfevo import leaderboard_command
from selfevo.cli import main
from tests.results.made_records import (
    board_of_eight,
    measure,
    preferences,
    relief,
    run,
    spread,
)


def folder(tmp_path: Path, records: Sequence[AnyRecord]) -> Path:
    for record in records:
        store_record(record, tmp_path / "runs")
    return tmp_path / "runs"


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    assert line.startswith("selfevo: ")
    return line


def test_it_writes_a_page_a_table_json_and_records_for_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "site"
    assert main(["leaderboard", str(folder(tmp_path, board_of_eight())), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out / 'index.html'}: 1 suite, 7 records\n"
    assert sorted(path.name for path in out.iterdir()) == [
        "board.csv",
        "board.json",
        "every-eval-ever",
        "index.html",
    ]
    board = Board.model_validate_json((out / "board.json").read_text("utf-8"))
    assert board.suites[0].entries[0].method == "M1"
    with (out / "board.csv").open(encoding="utf-8", newline="") as file:
        assert next(csv.DictReader(file))["method"] == "M1"
    exported = sorted((out / "every-eval-ever").iterdir())
    assert len(exported) == 4
    for path in exported:
        validate(json.loads(path.read_text("utf-8")))
    assert "<h1>Leaderboard</h1>" in (out / "index.html").read_text("utf-8")


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    records = folder(tmp_path, board_of_eight())
    for name in ("one", "two"):
        assert main(["leaderboard", str(records), "--out", str(tmp_path / name)]) == 0
    for file in ("index.html", "board.csv", "board.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_warnings_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = folder(tmp_path, [relief("control/null", 1.0), relief("M1", 0.0)])
    assert main(["leaderboard", str(records), "--out", str(tmp_path / "site")]) == 0
    assert (
        "control/null is not beaten by M1 in relief: the board is broken" in capsys.readouterr().out
    )


def test_a_board_of_one_is_allowed_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = folder(tmp_path, [relief("M1", 1.0)])
    assert main(["leaderboard", str(records), "--out", str(tmp_path / "site")]) == 0
    assert "M1 is the only method" in capsys.readouterr().out


def test_files_of_an_older_board_do_not_survive_unnoticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, out = folder(tmp_path, board_of_eight()), tmp_path / "site"
    assert main(["leaderboard", str(records), "--out", str(out)]) == 0
    theirs = out / "every-eval-ever" / "notes.json"
    theirs.write_text("{}", encoding="utf-8")
    capsys.readouterr()
    [old] = [path for path in records.iterdir() if path.name.startswith("control-stock")]
    old.unlink()
    [pair] = [path for path in records.iterdir() if "against-control-stock" in path.name]
    pair.unlink()
    assert main(["leaderboard", str(records), "--out", str(out)]) == 0
    assert "removed 1 files of an older board: control-stock-" in capsys.readouterr().out
    names = [path.name for path in (out / "every-eval-ever").iterdir()]
    assert not any(name.startswith("control-stock") for name in names)
    assert theirs.exists()


def test_a_board_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    records, out = folder(tmp_path, board_of_eight()), tmp_path / "site"
    assert main(["leaderboard", str(records), "--out", str(out)]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    store_record(relief("M9", 3.0), records)
    capsys.readouterr()

    def full(path: Path, text: str, encoding: str) -> None:
        if path.name == "index.html.partial":
            raise OSError(28, "No space left on device")
        path.write_bytes(text.encode(encoding))

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["leaderboard", str(records), "--out", str(out)]) == 1
    assert "site: cannot be written (No space left on device)" in complaint(capsys)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_an_out_that_is_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "site"
    out.touch()
    assert main(["leaderboard", str(folder(tmp_path, board_of_eight())), "--out", str(out)]) == 1
    assert "site: cannot be written" in complaint(capsys)


def test_no_folder_and_no_record_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("nowhere", "empty"):
        if name == "empty":
            (tmp_path / name).mkdir()
        code = main(["leaderboard", str(tmp_path / name), "--out", str(tmp_path / "site")])
        assert code == 1
        assert f"{name}: holds no record; make one with selfevo record LOG" in complaint(capsys)
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: text[: len(text) // 2], "is no JSON, or cut off"),
        (lambda text: "{}", "is no record of an evaluation"),
        (lambda text: "[]", "is no record of an evaluation"),
        (
            lambda text: text.replace('"schema_version": 2', '"schema_version": 1'),
            "has schema_version 1, this version reads 2",
        ),
        (lambda text: text.replace('"method"', '"name"'), "field 'method': Field required"),
        (lambda text: "\udc80", "is no JSON, or cut off"),
    ],
)
def test_a_spoilt_record_is_one_line_with_its_file(
    spoil: object, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = folder(tmp_path, [relief("M1", 1.0), relief("M2", 0.0)])
    first = min(records.iterdir())
    assert callable(spoil)
    first.write_text(spoil(first.read_text("utf-8")), "utf-8", errors="surrogateescape")
    assert main(["leaderboard", str(records), "--out", str(tmp_path / "site")]) == 1
    line = complaint(capsys)
    assert f"{first.name}: " in line
    assert told in line
    assert not (tmp_path / "site").exists()


def test_a_primary_that_nobody_measured_is_64(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = str(folder(tmp_path, board_of_eight()))
    code = main(["leaderboard", records, "--out", str(tmp_path / "site"), "--primary", "charm"])
    assert code == 64
    assert "no record has the measure 'charm'; measured are gave_up" in complaint(capsys)


def test_wrong_use_is_64(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard", str(tmp_path)]) == 64
    assert "required: --out" in complaint(capsys)


def test_preferences_alone_between_strangers_cannot_be_decided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [preferences("A", "B", "aaaabbaaaabb"), preferences("C", "D", "aaaabbaaaabb")]
    records = folder(tmp_path, pairs)
    assert main(["leaderboard", str(records), "--out", str(tmp_path / "site")]) == 3
    assert "2 groups of methods never met: A, B / C, D" in complaint(capsys)


def test_with_scores_beside_them_the_section_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [preferences("A", "B", "aaaabbaaaabb"), preferences("C", "D", "aaaabbaaaabb")]
    records = folder(tmp_path, [*pairs, relief("A", 1.0), relief("B", 0.0)])
    assert main(["leaderboard", str(records), "--out", str(tmp_path / "site")]) == 0
    assert "No ranking by preferences" in capsys.readouterr().out


def test_twenty_methods_take_seconds(tmp_path: Path) -> None:
    """20 methods, 200 people and 20 measures; the bound is ten times what it takes."""
    import time

    import numpy as np

    rng = np.random.default_rng(1)
    people = [f"user-{number}" for number in range(200)]
    records = [
        run(
            f"M{method}",
            {
                name: measure([]).model_copy(
                    update={"values": dict(zip(people, rng.normal(size=200), strict=True))}
                )
                for name in ("relief", *(f"extra-{number}" for number in range(19)))
            },
        )
        for method in range(20)
    ]
    started = time.perf_counter()
    leaderboard_command.write_leaderboard(folder(tmp_path, records), tmp_path / "site")
    assert time.perf_counter() - started < 30


def test_transcripts_beside_the_records_are_linked(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "m1.eval").touch()
    record = run("M1", {"relief": measure(spread(1.0))}, logs=["logs/m1.eval"])
    records = folder(tmp_path, [record, relief("M2", 0.0)])
    assert main(["leaderboard", str(records), "--out", str(tmp_path / "site")]) == 0
    assert 'href="../logs/m1.eval"' in (tmp_path / "site" / "index.html").read_text("utf-8")
