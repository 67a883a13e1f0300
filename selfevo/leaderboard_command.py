"""`selfevo leaderboard RECORDS --out DIR`: the board of a folder of records, as files to publish.

`index.html`, `board.csv`, `board.json`, and `every-eval-ever/*.json`. All are made before any is
written, and each is put in place by a rename, so a board that fails leaves the old one as it was.
Files of an older board that this one does not have are removed and named; other files are left.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from selfevo.errors import CannotDecide, SelfevoError, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

EXPORTS: Final = "every-eval-ever"
OURS: Final = re.compile(r"-[0-9a-f]{12}\.json(\.partial)?$")
"""Names of our files in that folder; any other one is left alone."""


def add_leaderboard(verbs: "_SubParsersAction[Any]", everywhere: argparse.ArgumentParser) -> None:
    """Add the verb.

    Args:
        verbs: Of the program.
        everywhere: Options that each verb has.
    """
    leaderboard = verbs.add_parser(
        "leaderboard",
        help="methods side by side from a folder of records: a page, a table, JSON",
        parents=[everywhere],
    )
    leaderboard.add_argument("records", type=Path, help="folder of records, as results/runs")
    leaderboard.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder")
    leaderboard.add_argument(
        "--primary",
        metavar="METRIC",
        help="measure to list by (default: the first of "
        "judge.personalization, relief and specificity that was measured)",
    )
    leaderboard.set_defaults(command=_run)


def write_leaderboard(records: Path, out: Path, *, primary: str | None = None) -> list[str]:
    """Write the board of a folder; returns what there is to say.

    Raises:
        RecordError: there is no record, or one cannot be read.
        UsageError: none has the primary measure.
        CannotDecide: there are only preferences, and they cannot be ranked.
        SelfevoError: the folder cannot be written.
    """
    from results.board import BoardError, make_board
    from results.board_page import find_logs, page_of
    from results.board_table import csv_of
    from results.every_eval_ever import exported
    from results.records import read_records

    found = read_records(records)
    try:
        board = make_board(found, primary=primary)
    except BoardError as error:
        raise UsageError(f"{records}: {error}") from None
    refused = [pair.refused for suite in board.suites for pair in suite.pairwise if pair.refused]
    has_scores = any(suite.measures for suite in board.suites)
    has_ranking = any(pair.ranking for suite in board.suites for pair in suite.pairwise)
    if refused and not has_scores and not has_ranking:
        raise CannotDecide(f"{records}: {refused[0]}")
    links = find_logs(board, out, (Path(), records, records.parent))
    files = {
        f"{EXPORTS}/{name}": _json(record)
        for name, record in exported(board, found, now=int(time.time())).items()
    }
    files["board.csv"] = csv_of(board)
    files["board.json"] = _json(board.model_dump(mode="json"))
    files["index.html"] = page_of(board, links, n_records=len(found))
    removed = _publish(files, out)
    said = [f"{suite.name}: {warning}" for suite in board.suites for warning in suite.warnings]
    if removed:
        said.append(f"removed {len(removed)} files of an older board: {', '.join(removed)}")
    return [
        *said,
        f"{out / 'index.html'}: {_count(len(board.suites), 'suite')}, "
        f"{_count(len(found), 'record')}",
    ]


def _run(options: argparse.Namespace) -> int:
    for line in write_leaderboard(options.records, options.out, primary=options.primary):
        print(line)
    return 0


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _publish(files: Mapping[str, str], out: Path) -> list[str]:
    """Put the files in place, and remove what an older board has left.

    All are written under temporary names first: a full disk changes nothing that is there.
    """
    partials = {name: out / f"{name}.partial" for name in files}
    try:
        (out / EXPORTS).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            partials[name].write_text(text, encoding="utf-8")
        for name, partial in partials.items():
            os.replace(partial, out / name)
        return _remove_stale(files, out)
    except OSError as error:
        for partial in partials.values():
            with suppress(OSError):
                partial.unlink()
        raise SelfevoError(
            f"{out}: cannot be written ({error.strerror}); choose another folder"
        ) from None


def _remove_stale(files: Mapping[str, str], out: Path) -> list[str]:
    stale = [
        path
        for path in sorted((out / EXPORTS).iterdir())
        if OURS.search(path.name) and f"{EXPORTS}/{path.name}" not in files
    ]
    for path in stale:
        path.unlink()
    return [path.name for path in stale]


def _count(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"
