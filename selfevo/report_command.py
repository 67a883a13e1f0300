"""The verb `report`: a run as a page to look at."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_report(verbs: "_SubParsersAction[Any]", everywhere: argparse.ArgumentParser) -> None:
    """Add the verb.

    Args:
        verbs: Of the program.
        everywhere: Options that each verb has.
    """
    report = verbs.add_parser(
        "report",
        help="a run as a page: rounds, pairs, training, examples, who was helped, cost",
        parents=[everywhere],
    )
    report.add_argument("run", type=Path, metavar="RUN", help="folder of selfevo evolve")
    report.add_argument("--out", type=Path, help="file (default: RUN/report.html)")
    report.set_defaults(command=_report)


def _report(options: argparse.Namespace) -> int:
    from selfevo.report import report

    print(report(options.run, options.out))
    return 0
