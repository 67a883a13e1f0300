"""The verbs `record` and `measure`: records to keep, of logs, of runs, and of any other model."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from argparse import _SubParsersAction

RECORDS: Final = Path("results/runs")


def add_record(verbs: "_SubParsersAction[Any]", everywhere: argparse.ArgumentParser) -> None:
    """Add the two verbs.

    Args:
        verbs: Of the program.
        everywhere: Options that each verb has.
    """
    record = verbs.add_parser(
        "record",
        help="keep what logs say, or every checkpoint of a run, as immutable records",
        parents=[everywhere],
    )
    record.add_argument(
        "logs",
        type=Path,
        nargs="+",
        metavar="LOG",
        help="of one checkpoint; or the folder of a run",
    )
    record.add_argument("--method", help="name on the board (default: the model's)")
    record.add_argument("--against", help="of preferences: name of the other method")
    record.add_argument("--out", type=Path, default=RECORDS, help=f"folder (default: {RECORDS})")
    record.set_defaults(command=_record)

    measure = verbs.add_parser(
        "measure",
        help="any model on the held-out people of a run, to stand beside its checkpoints",
        parents=[everywhere],
    )
    measure.add_argument("run", type=Path, metavar="RUN", help="folder of selfevo evolve")
    measure.add_argument("--model", required=True, help="an Inspect model, such as control/stock")
    measure.add_argument("--method", help="name on the board (default: the model's)")
    measure.add_argument("--out", type=Path, default=RECORDS, help=f"folder (default: {RECORDS})")
    measure.set_defaults(command=_measure)


def _record(options: argparse.Namespace) -> int:
    from selfevo.keeping import keep

    for path in keep(options.logs, options.out, options.method, options.against):
        print(path)
    return 0


def _measure(options: argparse.Namespace) -> int:
    from selfevo.keeping import measure_beside

    print(measure_beside(options.run, options.model, options.out, options.method))
    return 0
