import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml

from selfevo.check import check
from selfevo.check_config import CheckConfig, Harm
from selfevo.check_junit import as_junit
from selfevo.check_report import (
    MARKER,
    MAX_COMMENT_BYTES,
    MAX_SUMMARY_BYTES,
    append_summary,
    as_json,
    as_markdown,
    blessing,
    in_words,
)
from selfevo.check_result import CheckResult, Verdict, cannot_decide

from .evaluations import TODAY, Values, blessed, changed, record

N = 40
HOSTILE = (
    "a|b`c\n## d <script>alert(1)</script> @somebody #1 [x](https://evil.example) \x00\x1b[31m]]>"
)
"""A name that is every kind of trouble."""


def result(measures: dict[str, Values], name: str = "M1", strict: bool = False) -> CheckResult:
    rules = tuple(Harm(metric=metric, margin=0.3, worse="down") for metric in measures)
    return check(
        blessed({metric: [0.0] * N for metric in measures}),
        record(measures, name),
        CheckConfig(checks=rules),
        today=TODAY,
        strict=strict,
    )


RESULTS = {
    Verdict.PASS: result({"relief": changed(0.0)}),
    Verdict.REGRESSION: result({"relief": changed(-0.5)}),
    Verdict.INCONCLUSIVE: result({"relief": changed(0.0, spread=60.0)}),
    Verdict.CANNOT_DECIDE: cannot_decide("main.json: is no JSON, or cut off; bless again"),
}


@pytest.mark.parametrize("verdict", Verdict)
def test_the_verdict_comes_first(verdict: Verdict) -> None:
    found = RESULTS[verdict]
    assert in_words(found).startswith(f"{verdict}: ")
    marker, empty, headline, *_ = as_markdown(found).splitlines()
    assert (marker, empty) == (MARKER, "")
    assert headline.startswith(f"### {verdict}: ")


def test_cannot_decide_is_one_line() -> None:
    text = in_words(RESULTS[Verdict.CANNOT_DECIDE])
    assert text == "CANNOT DECIDE: main.json: is no JSON, or cut off; bless again"


def test_strict_says_not_excluded() -> None:
    strict = result({"relief": changed(0.0, spread=60.0)}, strict=True)
    assert in_words(strict).startswith("REGRESSION: it is not excluded that somebody is worse off")


def test_a_row_has_the_numbers() -> None:
    [found] = RESULTS[Verdict.REGRESSION].metrics
    row = next(
        line for line in as_markdown(RESULTS[Verdict.REGRESSION]).splitlines() if "HARM" in line
    )
    assert row == (
        f"| relief | 0.000 | -0.500 | -0.500 [{found.lower:+.3f}, {found.upper:+.3f}] "
        f"| -0.3 | {found.detectable:.3g} | **HARM** |"
    )


def test_json_is_the_result() -> None:
    for found in RESULTS.values():
        assert CheckResult.model_validate_json(as_json(found)) == found


def test_warnings_are_at_the_top_of_every_report() -> None:
    found = RESULTS[Verdict.PASS].model_copy(update={"warnings": ("\x1b<b> is old",)})
    assert in_words(found).splitlines()[1] == "  warning: <b> is old"
    assert as_markdown(found).splitlines()[4] == "- warning: &lt;b&gt; is old"
    [out] = ElementTree.fromstring(as_junit(found)).iter("system-out")
    assert out.text is not None and out.text.endswith("<b> is old")
    assert json.loads(as_json(found))["warnings"] == ["\x1b<b> is old"]


# JUnit.


@pytest.mark.parametrize(
    ("verdict", "counts"),
    [
        (Verdict.PASS, (2, 0, 0, 0)),
        (Verdict.REGRESSION, (2, 2, 0, 0)),
        (Verdict.INCONCLUSIVE, (2, 0, 0, 2)),
        (Verdict.CANNOT_DECIDE, (1, 0, 1, 0)),
    ],
)
def test_what_a_ci_counts(verdict: Verdict, counts: tuple[int, int, int, int]) -> None:
    """Cases, failures, errors, skipped: the verdict and the one metric."""
    suites = list(JUnitXml.fromstring(as_junit(RESULTS[verdict]).encode()))
    keys = ("tests", "failures", "errors", "skipped")
    assert tuple(sum(getattr(suite, key) for suite in suites) for key in keys) == counts


def test_a_suite_a_family() -> None:
    names = ("relief", "talk.length", "talk.stock", "judge.embedded.unhelpful")
    checked = result({name: changed(0.0) for name in names[:3]})
    assert [suite.name for suite in JUnitXml.fromstring(as_junit(checked).encode())] == [
        "verdict",
        "support",
        "talk",
    ]


def test_a_failure_says_effect_interval_and_what_could_be_seen() -> None:
    found = RESULTS[Verdict.REGRESSION]
    [metric] = found.metrics
    tree = ElementTree.fromstring(as_junit(found))
    messages = [failure.get("message", "") for failure in tree.iter("failure")]
    assert messages[1] == f"{metric.reason}; sees {metric.detectable:.3g} or more; margin 0.3"
    assert "[-0.5" in messages[1]


def test_strict_fails_in_junit_too() -> None:
    strict = result({"relief": changed(0.0, spread=60.0)}, strict=True)
    tree = ElementTree.fromstring(as_junit(strict))
    assert len(list(tree.iter("failure"))) == 2


# Hostile names.


def test_hostile_names_stay_names() -> None:
    found = result({HOSTILE: changed(-0.5), "relief": changed(0.0)}, HOSTILE)
    tree = ElementTree.fromstring(as_junit(found))
    assert {case.get("name") for case in tree.iter("testcase")} >= {
        "verdict",
        "relief not worse (down) by 0.3",
    }
    text = as_markdown(found)
    for trouble in ("<script", "@somebody", "#1", "https://", "\x00", "\x1b", "[x]("):
        assert trouble not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 3
    assert all(line.replace("\\|", "").count("|") == 8 for line in rows)
    assert [line for line in text.splitlines() if line.startswith("#")] == [text.splitlines()[2]]
    assert "\x1b" not in in_words(found)


def test_a_comment_fits_whatever_was_measured() -> None:
    names = [f"{'m' * 300}{number}" for number in range(400)]
    metric = RESULTS[Verdict.PASS].metrics[0]
    many = tuple(metric.model_copy(update={"metric": name}) for name in names)
    found = RESULTS[Verdict.PASS].model_copy(
        update={"metrics": many, "reasons": tuple(names), "not_counted": tuple(names)}
    )
    text = as_markdown(found)
    assert len(text.encode()) <= MAX_COMMENT_BYTES
    assert "more metrics did not fit; they are in the JSON report." in text
    assert "... and 380 more" in text


# The step summary.


def test_the_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    append_summary(RESULTS[Verdict.PASS], path)
    assert path.read_text("utf-8") == "before\n" + as_markdown(RESULTS[Verdict.PASS]) + "\n"


@pytest.mark.parametrize(("left", "kept"), [(200, "**PASS: "), (10, "")])
def test_a_summary_never_grows_beyond_what_is_shown(tmp_path: Path, left: int, kept: str) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * (MAX_SUMMARY_BYTES - left))
    append_summary(RESULTS[Verdict.PASS], path)
    assert path.stat().st_size <= MAX_SUMMARY_BYTES
    assert path.read_text("utf-8").strip("x").startswith(kept)
    assert path.read_text("utf-8").strip("x") != "" or not kept


# Blessing.


def test_a_blessing_shows_old_and_new(tmp_path: Path) -> None:
    old, new = blessed({"relief": [1.0]}), blessed({"relief": [2.0]}, suite={"task": "x"})
    text = blessing(old, new, Path("main.json"), None)
    assert text.splitlines()[0] == "main.json: baseline of 2026-11-24, M0 (was 2026-11-24, M0)"
    assert text.splitlines()[-1].split() == ["relief", "1.000", "2.000"]
    assert "warning: other suite" in text
    assert "replaced unread (cut)" in blessing(None, new, Path("main.json"), "cut")


def test_the_json_can_be_read_by_anybody() -> None:
    stored = json.loads(as_json(RESULTS[Verdict.REGRESSION]))
    assert (stored["verdict"], stored["metrics"][0]["outcome"]) == ("REGRESSION", "shown")
