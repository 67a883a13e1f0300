"""The verb `gate`: the gate on logs or records.

The verdict and the exit code are one value (`Verdict.exit_code`): PROMOTE 0, REJECT 1, HOLD 2,
ERROR 3, also where something cannot be read; 64 is wrong use.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from argparse import _SubParsersAction

LEDGER: Final = Path("results/ledger.jsonl")


def add_gate(verbs: "_SubParsersAction[Any]", everywhere: argparse.ArgumentParser) -> None:
    """Add the verb.

    Args:
        verbs: Of the program.
        everywhere: Options that each verb has.
    """
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
    gate.add_argument(
        "--people", type=_at_least(2), help="of the plan (default: as many as there were)"
    )
    gate.add_argument("--epochs", type=_at_least(1), help="of the plan: conversations a person")
    gate.add_argument("--allow-underpowered", action="store_true", help="a weak plan is no failure")
    gate.set_defaults(command=_gate)


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdigit() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"'{text}' is no number of {lowest} or more")
        return int(text)

    return number


def _gate(options: argparse.Namespace) -> int:
    from selfevo.gate_answer import answer

    return answer(options)
