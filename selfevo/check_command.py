"""The verbs `check` and `bless`: a regression check for CI, and its baseline.

The exit code is the verdict's (`check_result.py`): 0 pass, 1 regression, 2 inconclusive, 3 cannot
decide; 64 for wrong use. A baseline, log or card that cannot be read is CANNOT DECIDE with the
reason, in every report that was asked for: a comment that says nothing would look like a pass.
"""

import argparse
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.errors import DataError
from results.records import RecordError
from selfevo.errors import CannotDecide, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from selfevo.check_result import CheckResult

STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""Names the file that a job of GitHub shows on its page."""


def add_check(verbs: "_SubParsersAction[Any]", everywhere: argparse.ArgumentParser) -> None:
    """Add the two verbs.

    Args:
        verbs: Of the program.
        everywhere: Options that each verb has.
    """
    check = verbs.add_parser(
        "check",
        help="did a change harm anybody: exit code 0 no, 1 yes, 2 not known, 3 cannot decide",
        parents=[everywhere],
    )
    check.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="of bless")
    check.add_argument(
        "--candidate",
        type=Path,
        nargs="+",
        required=True,
        metavar="LOG",
        help="logs of one checkpoint, or a record",
    )
    check.add_argument("--config", type=Path, metavar="FILE", help="metrics and margins (YAML)")
    check.add_argument(
        "--card", type=Path, action="append", default=[], metavar="FILE", help="of a judge"
    )
    check.add_argument("--strict", action="store_true", help="harm not excluded fails too")
    check.add_argument("--inconclusive-ok", action="store_true", help="exit code 0 for it")
    check.add_argument("--max-age", type=_above_0, default=90, metavar="DAYS", help="(default 90)")
    check.add_argument("--max-calls", type=_above_0, metavar="N", help="of the evaluation")
    check.add_argument("--max-tokens", type=_above_0, metavar="N", help="of the evaluation")
    check.add_argument("--max-minutes", type=_minutes, metavar="M", help="of the evaluation")
    for kind in ("junit", "markdown", "json"):
        check.add_argument(f"--{kind}", type=Path, metavar="FILE", help="write a report")
    check.set_defaults(command=_check)

    bless = verbs.add_parser(
        "bless", help="make an evaluation the baseline of check", parents=[everywhere]
    )
    bless.add_argument("logs", type=Path, nargs="+", metavar="LOG", help="of one checkpoint")
    bless.add_argument("--out", type=Path, default=Path("results/baselines/main.json"))
    bless.add_argument("--method", help="its name (default: that of the model)")
    bless.set_defaults(command=_bless)


def _check(options: argparse.Namespace) -> int:
    from selfevo.check_report import in_words

    result = _result(options)
    print(in_words(result))
    _write_reports(options, result)
    return result.exit_code


def _result(options: argparse.Namespace) -> "CheckResult":
    from judges.card import CardError, read_card
    from selfevo.baseline import read_baseline
    from selfevo.check import check
    from selfevo.check_config import CheckConfig, Limits
    from selfevo.check_result import cannot_decide
    from selfevo.recipe_file import read_section
    from selfevo.recording import load_record

    config = read_section(CheckConfig, options.config) if options.config else CheckConfig()
    try:
        return check(
            read_baseline(options.baseline),
            load_record(options.candidate),
            config,
            today=_today(),
            strict=options.strict,
            inconclusive_ok=options.inconclusive_ok,
            max_age_days=options.max_age,
            limits=Limits(options.max_calls, options.max_tokens, options.max_minutes),
            cards=[read_card(path) for path in options.card],
        )
    except (RecordError, DataError, CardError) as error:
        return cannot_decide(" ".join(str(error).split()))


def _write_reports(options: argparse.Namespace, result: "CheckResult") -> None:
    from selfevo.check_junit import as_junit
    from selfevo.check_report import append_summary, as_json, as_markdown

    reports = (
        (options.junit, as_junit),
        (options.markdown, as_markdown),
        (options.json, as_json),
    )
    summary = os.environ.get(STEP_SUMMARY)
    path = None
    try:
        for path, made_of in reports:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(made_of(result), encoding="utf-8")
        if summary:
            path = Path(summary)
            append_summary(result, path)
    except OSError as error:  # not exit code 1, which says that somebody was harmed
        raise UsageError(
            f"{path}: the report cannot be written ({error.strerror}); choose another file"
        ) from None


def _bless(options: argparse.Namespace) -> int:
    from selfevo.baseline import bless, read_baseline, store_baseline
    from selfevo.check_report import blessing
    from selfevo.recording import load_record

    try:
        new = bless(load_record(options.logs, options.method), _today())
        old, unreadable = None, None
        if options.out.exists():
            try:
                old = read_baseline(options.out)
            except RecordError as error:
                unreadable = str(error)
        store_baseline(new, options.out)
    except (RecordError, DataError) as error:
        raise CannotDecide(str(error)) from None
    print(blessing(old, new, options.out, unreadable))
    return 0


def _today() -> date:
    return datetime.now(UTC).date()


def _above_0(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return int(text)


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return value
