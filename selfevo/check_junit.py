"""A regression check as JUnit XML, which every CI shows: a suite a family of metrics.

Harm is a failure, what cannot be decided an error, and what is open or not counted is skipped, for
JUnit knows no "inconclusive". The case `verdict` says what the exit code says, with the warnings as
its output.
"""

import re
from typing import Final, TypeAlias

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from selfevo.check_result import CheckResult, MetricCheck, Verdict

SUITE: Final = "selfevo.check"
NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document may hold, escaped or not."""

Outcome: TypeAlias = Failure | Error | Skipped | None


def as_junit(result: CheckResult) -> str:
    """The XML document."""
    document = JUnitXml(SUITE)
    verdict = _case("verdict", SUITE, _of_verdict(result))
    if result.warnings:
        verdict.system_out = _xml("\n".join(f"warning: {text}" for text in result.warnings))
    document.add_testsuite(_suite("verdict", [verdict]))
    families: dict[str, list[TestCase]] = {}
    for found in result.metrics:
        family = _family(found.metric, result.benchmark)
        name = f"{found.metric} not worse ({found.worse}) by {found.margin:g}"
        case = _case(name, f"{SUITE}.{family}", _of_metric(found, result.strict))
        families.setdefault(family, []).append(case)
    for family, cases in families.items():
        document.add_testsuite(_suite(family, cases))
    text = document.tostring()
    return (text.decode("utf-8") if isinstance(text, bytes) else str(text)) + "\n"


def _family(metric: str, benchmark: str | None) -> str:
    """The prefix of a metric; those without one are the benchmark's own."""
    prefix, dot, _ = metric.rpartition(".")
    return prefix if dot else (benchmark or "check")


def _suite(name: str, cases: list[TestCase]) -> TestSuite:
    suite = TestSuite(_xml(name))
    suite.add_testcases(cases)
    return suite


def _case(name: str, classname: str, outcome: Outcome) -> TestCase:
    case = TestCase(_xml(name), classname=_xml(classname))
    if outcome is not None:
        case.result = outcome
    return case


def _of_verdict(result: CheckResult) -> Outcome:
    message = _xml(f"{result.headline}: {'; '.join(result.reasons)}")
    match result.verdict:
        case Verdict.PASS:
            return None
        case Verdict.REGRESSION:
            return Failure(message)
        case Verdict.INCONCLUSIVE:
            return Skipped(message)
        case Verdict.CANNOT_DECIDE:
            return Error(message)


def _of_metric(found: MetricCheck, strict: bool) -> Outcome:
    sees = "no spread" if found.detectable is None else f"sees {found.detectable:.3g} or more"
    message = _xml(f"{found.reason}; {sees}; margin {found.margin:g}")
    if found.outcome == "shown" or (found.outcome == "open" and strict):
        return Failure(message)
    return None if found.outcome == "excluded" else Skipped(message)


def _xml(text: str) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
