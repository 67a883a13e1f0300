"""A leaderboard as one table for other programs: a line a number with all that belongs to it.

Names come from logs and may hold anything. A spreadsheet takes a text that begins with `=` for a
formula, so such a text begins with an apostrophe here, and no name has a line break. Numbers are as
they are.
"""

import csv
import io
from collections.abc import Iterator
from typing import Final

from results.board_records import Board, SuiteBoard

COLUMNS: Final = (
    "suite",
    "kind",
    "measure",
    "better",
    "slice",
    "method",
    "control",
    "n",
    "n_people",
    "mean",
    "lower",
    "upper",
    "difference",
    "difference_lower",
    "difference_upper",
    "rank",
    "rank_lower",
    "rank_upper",
    "group",
    "note",
)
"""Of `board.csv`: a line for each method and measure, slice, worst tenth, ranking, or cost."""

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet acts on at the start of a text."""


def csv_of(board: Board) -> str:
    """Every number of the board in one table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for suite in board.suites:
        controls = {entry.method for entry in suite.entries if entry.control}
        rows = (_score_rows, _slice_rows, _pair_rows, _cost_rows)
        for row in (row for of in rows for row in of(suite)):
            row["suite"], row["control"] = suite.name, str(row["method"] in controls).lower()
            writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: object) -> object:
    """A text of one line that is no formula; anything else as it is."""
    if not isinstance(value, str):
        return "" if value is None else value
    line = "".join(c if c.isprintable() else " " for c in value)
    # some programs strip spaces first
    return f"'{line}" if value.startswith(FORMULA) or line.lstrip().startswith(FORMULA) else line


def _score_rows(suite: SuiteBoard) -> Iterator[dict[str, object]]:
    for found in suite.measures:
        for cell in found.cells:
            numbers = cell.model_dump(exclude={"own_mean", "worst_mean", "left_out"})
            mean = cell.own_mean if cell.mean is None else cell.mean
            yield {
                **numbers,
                "kind": "measure",
                "measure": found.measure,
                "better": found.better,
                "n_people": found.n_people,
                "mean": mean,
                "note": cell.left_out,
            }


def _slice_rows(suite: SuiteBoard) -> Iterator[dict[str, object]]:
    for tail in suite.tails:
        yield {
            **tail.model_dump(),
            "kind": "worst tenth",
            "measure": suite.primary,
        }
    for found in suite.slices:
        yield {
            "kind": "slice",
            "measure": suite.primary,
            "slice": f"{found.attribute}={found.value}",
            "note": "few people" if found.is_small else None,
            **found.model_dump(include={"method", "n", "mean", "lower", "upper"}),
        }


def _pair_rows(suite: SuiteBoard) -> Iterator[dict[str, object]]:
    for pair in suite.pairwise:
        for found in pair.ranking.methods if pair.ranking else ():
            yield {
                "kind": "preferences",
                "measure": f"{pair.rubric} by {pair.judge}",
                "better": "up",
                "method": found.name,
                "n": found.n_people,
                "mean": found.strength,
                **found.model_dump(
                    include={"lower", "upper", "rank", "rank_lower", "rank_upper", "group"}
                ),
            }


def _cost_rows(suite: SuiteBoard) -> Iterator[dict[str, object]]:
    for entry in suite.entries:
        for name, value in entry.cost.model_dump().items():
            if value is not None:
                yield {"kind": "cost", "measure": name, "method": entry.method, "mean": value}
