"""Every exit code and refusal of `selfevo check` and `selfevo bless`, through the command line."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from benchmarks.support import support
from judges.card import dump_card
from results.records import Cost, Provenance, dump_record
from selfevo import check_command
from selfevo.baseline import dump_baseline, read_baseline
from selfevo.cli import main
from selfevo.errors import RunError
from tests.benchmarks.fakes import answering, output, run
from tests.benchmarks.people import make_strangers, write_people

from .evaluations import TODAY, Values, blessed, changed, measure, record, trusted_card

N = 40
JUDGE = "judge.unhelpfulness"


@pytest.fixture(autouse=True)
def day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_command, "_today", lambda: TODAY)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


class Desk:
    """A folder with a baseline and a candidate, and what the command says of them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.baseline({"relief": [0.0] * N})
        self.candidate({"relief": changed(0.0)})

    def baseline(self, measures: dict[str, Values], day: date = TODAY, **more: Any) -> Path:
        return self.write("main.json", dump_baseline(blessed(measures, day, **more)))

    def candidate(self, measures: dict[str, Values], **more: Any) -> Path:
        return self.write("candidate.json", dump_record(record(measures, **more)))

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def check(self, *options: str) -> tuple[int, str]:
        """Exit code, and standard output, or the one line on standard error."""
        return self.run(
            "check",
            *("--baseline", str(self.folder / "main.json")),
            *("--candidate", str(self.folder / "candidate.json"), *options),
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        code = main(arguments)
        out, err = self._capsys.readouterr()
        assert not (out and err)
        assert err.count("\n") <= 1
        return code, (out or err).rstrip("\n")


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


# The verdicts.


@pytest.mark.parametrize(
    ("by", "spread", "options", "code", "said"),
    [
        (0.0, 1.0, [], 0, "PASS: "),
        (-0.5, 1.0, [], 1, "REGRESSION: somebody is worse off"),
        (0.0, 60.0, [], 2, "INCONCLUSIVE: "),
        (0.0, 60.0, ["--inconclusive-ok"], 0, "INCONCLUSIVE, accepted by --inconclusive-ok: "),
        (0.0, 60.0, ["--strict"], 1, "REGRESSION: it is not excluded"),
        (0.0, 60.0, ["--strict", "--inconclusive-ok"], 1, "REGRESSION: it is not excluded"),
        (-0.5, 1.0, ["--inconclusive-ok"], 1, "REGRESSION: "),
    ],
)
def test_the_code_is_that_of_the_printed_verdict(
    desk: Desk, by: float, spread: float, options: Sequence[str], code: int, said: str
) -> None:
    desk.candidate({"relief": changed(by, spread=spread)})
    returned, text = desk.check(*options)
    assert returned == code
    assert text.startswith(said)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--max-calls", "10"], 0),
        (["--max-calls", "9"], 2),
        (["--max-tokens", "99"], 2),
        (["--max-minutes", "0.5"], 2),
        (["--max-minutes", "0.5", "--inconclusive-ok"], 0),
    ],
)
def test_what_cost_too_much_is_inconclusive(desk: Desk, options: Sequence[str], code: int) -> None:
    cost = Cost(calls=10, input_tokens=50, output_tokens=50, minutes=1.0)
    desk.candidate({"relief": changed(0.0)}, provenance=Provenance(cost=cost))
    assert desk.check(*options)[0] == code


def test_a_budget_that_ran_out_is_inconclusive(desk: Desk) -> None:
    desk.candidate({"relief": changed(-0.5, n=20)}, exhausted="20000 tokens")
    code, text = desk.check("--strict")
    assert code == 2
    assert "the budget was spent (20000 tokens), perhaps before everybody was asked" in text


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ({"suite": {"task": "support 9-A"}}, "different suites: task"),
        ({"benchmark": "loop"}, "different benchmarks (loop and support)"),
        ({"measures": {"trust": measure([0.0] * N)}}, "'relief' was not measured in the candidate"),
        (
            {"measures": {"relief": measure(changed(0.0), missing=[1])}},
            "'relief' of the candidate is scored on 39 of 40 samples; the check needs 98%",
        ),
        ({"measures": {"relief": measure([0.0] * 9)}}, "31 people were asked on one side only"),
    ],
)
def test_what_does_not_compare(desk: Desk, candidate: dict[str, Any], reason: str) -> None:
    desk.candidate(**{"measures": {"relief": changed(0.0)}, **candidate})
    code, text = desk.check()
    assert code == 3
    assert text.startswith("CANNOT DECIDE: ") and text.count("\n") == 0
    assert reason in text


@pytest.mark.parametrize("name", ["main.json", "candidate.json"])
@pytest.mark.parametrize("kept", [0, 300])
def test_a_cut_file_cannot_be_decided_on(desk: Desk, name: str, kept: int) -> None:
    path = desk.folder / name
    path.write_text(path.read_text("utf-8")[:kept], encoding="utf-8")
    code, text = desk.check()
    assert code == 3
    assert text.startswith(f"CANNOT DECIDE: {path}: is no JSON, or cut off")


@pytest.mark.parametrize("name", ["main.json", "candidate.json"])
def test_a_missing_file_cannot_be_decided_on(desk: Desk, name: str) -> None:
    (desk.folder / name).unlink()
    code, text = desk.check()
    assert (code, text.count("\n")) == (3, 0)
    assert str(desk.folder / name) in text


def test_files_of_another_kind(desk: Desk) -> None:
    text = (desk.folder / "candidate.json").read_text("utf-8")
    desk.write("main.json", text)
    assert desk.check() == (
        3,
        f"CANNOT DECIDE: {desk.folder / 'main.json'}: is no baseline; make one with selfevo bless",
    )
    desk.write("log.eval", "not a log")
    desk.baseline({"relief": [0.0] * N})
    code, said = desk.run(
        *("check", "--baseline", str(desk.folder / "main.json")),
        *("--candidate", str(desk.folder / "log.eval")),
    )
    assert (code, said.count("\n")) == (3, 0)


def test_an_old_baseline_warns(desk: Desk) -> None:
    desk.baseline({"relief": [0.0] * N}, date(2026, 11, 1))
    assert "days old (more" not in desk.check()[1]
    code, text = desk.check("--max-age", "20")
    assert code == 0
    assert "warning: the baseline is 23 days old (more than 20)" in text


def test_an_edited_baseline_cannot_be_decided_on(desk: Desk) -> None:
    path = desk.folder / "main.json"
    text = path.read_text("utf-8")
    desk.write("main.json", text.replace('"en-001": 0.0', '"en-001": -1.0'))
    assert desk.check() == (
        3,
        f"CANNOT DECIDE: {path}: was edited after it was blessed; bless again",
    )


def test_a_baseline_of_tomorrow_cannot_be_decided_on(desk: Desk) -> None:
    desk.baseline({"relief": [0.0] * N}, date(2026, 11, 25))
    code, text = desk.check()
    assert (code, text.count("\n")) == (3, 0)
    assert "blessed on 2026-11-25, which is in the future" in text


# Judges.


def test_a_judge_counts_with_its_card_only(desk: Desk) -> None:
    judges: dict[str, Any] = {
        "judges": {JUDGE: "h" * 64},
        "provenance": {"created": "2026-11-24T08:00:00+00:00"},
    }
    desk.baseline({"relief": [0.0] * N, JUDGE: [0.0] * N}, **judges)
    desk.candidate({"relief": changed(0.0), JUDGE: changed(0.5)}, **judges)
    code, text = desk.check()
    assert code == 0
    assert f"{JUDGE}: not counted: judge untrusted" in text
    card = trusted_card("h" * 64, rubric="unhelpfulness", dimension="any")
    path = desk.write("card.json", dump_card(card))
    assert desk.check("--card", str(path))[0] == 1


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_a_card_that_cannot_be_read(desk: Desk, text: str | None) -> None:
    path = desk.folder / "card.json"
    if text is not None:
        path.write_text(text)
    code, said = desk.check("--card", str(path))
    assert (code, said.count("\n")) == (3, 0)
    assert said.startswith(f"CANNOT DECIDE: {path}: ")


# Wrong use.


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--max-age", "0"], "'0' is no number above 0"),
        (["--max-calls", "-1"], "'-1' is no number above 0"),
        (["--max-tokens", "many"], "'many' is no number above 0"),
        (["--max-minutes", "nan"], "'nan' is no number above 0"),
        (["--config", "absent.yaml"], "absent.yaml: no such file"),
        (["--unknown"], "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_use(desk: Desk, options: Sequence[str], reason: str) -> None:
    code, text = desk.check(*options)
    assert code == 64
    assert text.startswith("selfevo: ") and reason in text


def test_a_check_needs_both_sides(desk: Desk) -> None:
    for arguments in (("check",), ("check", "--baseline", "x"), ("bless",)):
        code, text = desk.run(*arguments)
        assert (code, "required" in text) == (64, True)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("checks: []", "checks is empty, and nothing could fail; name a metric"),
        ("alpa: 0.1", "unknown key 'alpa'; did you mean 'alpha'?"),
        ("checks: [{metric: relief}]", "'checks.0.margin' is missing"),
    ],
)
def test_a_wrong_configuration(desk: Desk, text: str, reason: str) -> None:
    path = desk.write("check.yaml", text)
    code, said = desk.check("--config", str(path))
    assert code == 64
    assert f"{path}: " in said and reason in said


def test_a_configuration_decides_what_is_checked(desk: Desk) -> None:
    desk.candidate({"relief": changed(0.0, spread=60.0)})
    path = desk.write("check.yaml", "checks: [{metric: relief, margin: 3, worse: down}]")
    assert desk.check()[0] == 2
    assert desk.check("--config", str(path))[0] == 0


def test_a_misspelled_metric_cannot_be_decided_on(desk: Desk) -> None:
    checks = "[{metric: relief, margin: 3, worse: down}, {metric: relif, margin: 3}]"
    path = desk.write("check.yaml", f"checks: {checks}")
    code, text = desk.check("--config", str(path))
    assert (code, text.count("\n")) == (3, 0)
    assert "names 'relif' (did you mean 'relief'?), which neither side measured" in text


# What fails says nothing about the candidate.


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (
            ZeroDivisionError("bug"),
            "unexpected ZeroDivisionError (bug); run again with --debug to see where",
        ),
        (
            ModuleNotFoundError("No module named 'x'", name="x"),
            "unexpected ModuleNotFoundError (No module named 'x'); "
            "run again with --debug to see where",
        ),
        (ModuleNotFoundError("t", name="torch"), "needs torch"),
        (MemoryError(), "unexpected MemoryError ()"),
        (RunError("damaged"), "damaged"),
    ],
)
def test_a_failure_is_no_regression(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fail(options: object) -> None:
        raise error

    monkeypatch.setattr(check_command, "_result", fail)
    code, text = desk.check()
    assert (code, text.count("\n")) == (3, 0)
    assert text.startswith(f"selfevo: {told}")


def test_debug_shows_where_and_is_no_regression_either(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: object) -> None:
        raise ZeroDivisionError("bug")

    monkeypatch.setattr(check_command, "_result", fail)
    baseline, candidate = desk.folder / "main.json", desk.folder / "candidate.json"
    arguments = ["check", "--baseline", str(baseline), "--candidate", str(candidate), "--debug"]
    assert main(arguments) == 3
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("selfevo: unexpected ZeroDivisionError (bug)\n")


# Reports.


@pytest.mark.parametrize("broken", [False, True])
def test_every_report_is_written_also_of_a_corrupt_file(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    if broken:
        desk.write("main.json", "{")
    out, summary = desk.folder / "new" / "out", desk.folder / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, _ = desk.check(
        *("--junit", f"{out}.xml", "--markdown", f"{out}.md", "--json", f"{out}.json")
    )
    verdict = "CANNOT DECIDE" if broken else "PASS"
    assert code == (3 if broken else 0)
    assert json.loads(Path(f"{out}.json").read_text("utf-8"))["verdict"] == verdict
    comment = Path(f"{out}.md").read_text("utf-8")
    assert comment.startswith(f"<!-- selfevo-check -->\n\n### {verdict}: ")
    assert summary.read_text("utf-8") == comment + "\n"
    assert ("<error" in Path(f"{out}.xml").read_text("utf-8")) is broken


def test_a_report_that_cannot_be_written_is_no_regression(desk: Desk) -> None:
    desk.write("file", "")
    code = main(
        [
            *("check", "--baseline", str(desk.folder / "main.json")),
            *("--candidate", str(desk.folder / "candidate.json")),
            *("--json", str(desk.folder / "file" / "check.json")),
        ]
    )
    assert code == 64


# Blessing.


def test_a_blessed_record_passes_against_itself(desk: Desk) -> None:
    path = desk.folder / "baselines" / "new.json"
    source = desk.folder / "candidate.json"
    code, text = desk.run("bless", str(source), "--out", str(path), "--method", "main")
    assert code == 0
    assert text.startswith(f"{path}: baseline of 2026-11-24, main\n")
    assert read_baseline(path).record.method == "main"
    code, text = desk.run("check", "--baseline", str(path), "--candidate", str(source))
    assert (code, text[:5]) == (0, "PASS:")


def test_blessing_again_shows_what_changed(desk: Desk) -> None:
    out = str(desk.folder / "main.json")
    desk.candidate({"relief": [0.25] * N})
    code, text = desk.run("bless", str(desk.folder / "candidate.json"), "--out", out)
    assert code == 0
    assert "(was 2026-11-24, M0)" in text
    assert text.splitlines()[-1].split() == ["relief", "0.000", "0.250"]


def test_blessing_replaces_what_cannot_be_read(desk: Desk) -> None:
    path = desk.write("main.json", "{")
    code, text = desk.run("bless", str(desk.folder / "candidate.json"), "--out", str(path))
    assert code == 0
    assert "warning: the old one is replaced unread" in text
    assert read_baseline(path).record.method == "M1"


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        ({"exhausted": "9 calls"}, "was cut short by its budget (9 calls)"),
        ({"measures": {"relief": measure(changed(0.0), missing=[1])}}, "a baseline needs 98%"),
        ({"measures": {}}, "nothing was measured"),
    ],
)
def test_what_is_not_whole_is_not_blessed(
    desk: Desk, candidate: dict[str, Any], reason: str
) -> None:
    desk.candidate(**{"measures": {"relief": changed(0.0)}, **candidate})
    before = (desk.folder / "main.json").read_text("utf-8")
    code, text = desk.run(
        *("bless", str(desk.folder / "candidate.json")),
        *("--out", str(desk.folder / "main.json")),
    )
    assert code == 3
    assert text.startswith("selfevo: ") and reason in text
    assert (desk.folder / "main.json").read_text("utf-8") == before


def test_a_failed_evaluation_is_not_blessed(desk: Desk) -> None:
    path = desk.write("broken.eval", "no log")
    code, text = desk.run("bless", str(path), "--out", str(desk.folder / "new.json"))
    assert (code, text.count("\n")) == (3, 0)
    assert not (desk.folder / "new.json").exists()


# Real logs.


def test_from_logs_to_a_verdict(desk: Desk) -> None:
    """A supporter who listens, then one who insults; a budget, then none."""
    people = write_people(desk.folder / "people.jsonl", make_strangers(8))

    def log(reply: str, name: str, **budget: int) -> str:
        task = support(users=str(people), split=None, turns=2, min_turns=2, embedded=True, **budget)
        task.config.max_connections = 1
        model = answering(lambda messages: output(reply, "stop"))
        return str(run(task, model, desk.folder / name).location)

    listens = log("That sounds hard. What about the money and the landlord?", "listens")
    insults = log("Stop whining. Get over it.", "insults")
    cut = log("Stop whining. Get over it.", "cut", budget_calls=5)
    enough = log("Stop whining. Get over it.", "enough", budget_calls=16)  # and nobody was left
    out = str(desk.folder / "main.json")
    assert desk.run("bless", listens, "--out", out)[0] == 0
    codes = [
        desk.run("check", "--baseline", out, "--candidate", candidate)[0]
        for candidate in (insults, cut, enough)
    ]
    assert codes == [1, 2, 2]
    assert desk.run("bless", cut, "--out", out)[0] == 3
