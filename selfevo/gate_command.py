"""The verbs `gate` and `record`: the gate on logs or records, and records to keep.

The verdict and the exit code are one value (`Verdict.exit_code`): PROMOTE 0, REJECT 1, HOLD 2,
ERROR 3, also where something cannot be read; 64 is wrong use.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from argparse import _SubParsersAction

LEDGER: Final = Path("results/ledger.jsonl")
RECORDS: Final = Path("results/runs")


def add_gate(
    verbs: "_SubParsersAction[Any]", everywhere: argparse.ArgumentParser
) -> None:
    """Add the two verbs.

    Args:
        verbs: Of the program.
        everywhere: Options that each verb has.
    """
    record = verbs.add_parser(
        "record", help="keep what logs say, as an immutable record", parents=[everywhere]
    )
    record.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="of one checkpoint")
    record.add_argument("--method", help="name on the board (default: the model's)")
    record.add_argument("--against", help="of preferences: name of the other method")
    record.add_argument("--out", type=Path, default=RECORDS, help=f"folder (default: {RECORDS})")
    record.set_defaults(command=_record)

    gate = verbs.add_parser(
        "gate",
        help="PROMOTE, REJECT, HOLD or ERROR: is the candidate better than the champion?",
        parents=[everywhere],
    )
    gate.add_argument(
        "--champion", type=Path, nargs="+", required=True, metavar="X", help="a record, or logs"
    )
    gate.add_argument(
        "--candidate",
        type=Path,
        nargs="+",
        action="append",
        required=True,
        metavar="Y",
        help="a record, or logs; repeat it for several candidates, of which one may win",
    )
    gate.add_argument("--config", type=Path, help="YAML of the gate (default: by benchmark)")
    gate.add_argument(
        "--ledger",
        type=Path,
        help=f"file that counts the looks (default: that of the config, else {LEDGER})",
    )
    gate.add_argument(
        "--card",
        action="append",
        default=[],
        metavar="METRIC=FILE",
        help="card of the judge behind a metric, such as judge.personalization=card.json",
    )
    gate.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="people's labels of both logs (selfevo annotate): they decide with the judge",
    )
    gate.add_argument("--users", type=Path, help="file of people (default: as in the logs)")
    gate.add_argument("--json", type=Path, help="write the decision there")
    gate.add_argument(
        "--plan", action="store_true", help="do not decide: say what a next comparison can show"
    )
    gate.add_argument("--people", type=int, help="of the plan (default: as many as there were)")
    gate.add_argument("--epochs", type=int, help="of the plan: conversations a person")
    gate.add_argument("--allow-underpowered", action="store_true", help="a weak plan is no failure")
    gate.set_defaults(command=_gate)


def _record(options: argparse.Namespace) -> int:
    from selfevo.recording import store_logs

    print(store_logs(options.logs, options.out, options.method, options.against))
    return 0


def _gate(options: argparse.Namespace) -> int:
    from selfevo.gate_answer import answer

    return answer(options)
