"""What a spreadsheet would act on is text in `board.csv`."""

import csv
import io

import pytest

from results.board import make_board
from results.board_table import csv_of

from .made_records import measure, run, spread


def written(name: str) -> str:
    """The table of one method on one person a value, called so everywhere."""
    record = run(name, {"relief": measure(spread(-1.0)), name: measure(spread(0.5))})
    other = run("M0", {"relief": measure(spread(1.0), scale=None)})
    return csv_of(make_board([record, other]))


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(name))))


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\r=1", "' =1"),
        ("\tx", "' x"),
        (" =1", "' =1"),
        ("a\nb\x00c\x1b[31m\u2028d", "a b c [31m d"),
        ("a=b-c", "a=b-c"),
        ('M1, "x"', 'M1, "x"'),
    ],
)
def test_a_name_is_no_formula_and_one_line(name: str, cell: str) -> None:
    found = rows(name)
    assert {row["method"] for row in found} == {cell, "M0"}
    assert {row["measure"] for row in found} >= {cell, "relief"}
    assert written(name).count("\n") == len(found) + 1


def test_numbers_stay_numbers() -> None:
    [row] = [r for r in rows("M1") if (r["kind"], r["method"]) == ("measure", "M1")][:1]
    assert float(row["mean"]) == -1.0
    assert row["mean"].startswith("-")
    assert float(row["difference"]) < 0
