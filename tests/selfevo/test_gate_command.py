"""`selfevo gate` from the command line: every exit code, and every refusal says what differs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import get_model

from benchmarks.support import support
from judges.card import Trust, dump_card
from results.ledger import Price, alpha_at, look, read_ledger
from results.prediction_powered import difference_estimate
from results.records import PreferenceRecord, RunRecord, dump_record
from selfevo.cli import main
from selfevo.decision import Decision, Verdict
from selfevo.gate_command import LEDGER
from selfevo.gate_config import GateConfig
from selfevo.plan import plan, told
from tests.benchmarks.fakes import run
from tests.benchmarks.people import make_strangers, write_people
from tests.records import make_measure, make_record
from tests.selfevo.test_judge_gate import PRIMARY as JUDGED
from tests.selfevo.test_judge_gate import card
from tests.selfevo.test_labelled import N_LABELLED, N, human, judged, labels_of, write
from tests.selfevo.test_labelled import logs as labelled_logs  # noqa: F401  (a fixture)

N_PEOPLE = 20
RELIEF = "primary: relief\ndelta_min: 0.2\ncontrol_length: false\nguards: []\ncaps: []\n"
JUDGE = RELIEF.replace("relief", JUDGED)
COPYING = "guards: [{metric: copy_rate, margin: 0.05}]"
FIRST, SECOND = 0.0304, 0.0076
"""Alpha of the first look and of the second, of 0.05 in all: times 6 / pi^2, and a quarter."""

Answer = Callable[..., int]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger of a test is not that of the checkout; and no line is broken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")


def values(gain: float = 0.0, spread: float = 0.1) -> dict[str, float]:
    """Of twenty people, who gain as much on average and differ in it by so much."""
    return {f"p{i:02}": round(i / 10 + gain + spread * (-1) ** i, 3) for i in range(N_PEOPLE)}


def made(method: str = "m0", gain: float = 0.0, spread: float = 0.0, **fields: Any) -> RunRecord:
    return make_record(method, relief=values(gain, spread), fields=fields)


def written(record: RunRecord | PreferenceRecord, name: str | None = None) -> str:
    path = Path(f"{name or getattr(record, 'method', 'record')}.json")
    path.write_text(dump_record(record), "utf-8")
    return str(path)


def config(text: str = RELIEF, **changes: str) -> str:
    for name, value in changes.items():
        text = "".join(line for line in text.splitlines(True) if not line.startswith(name + ":"))
        text += f"{name}: {value}\n"
    Path("gate.yaml").write_text(text, "utf-8")
    return "gate.yaml"


def gate(champion: str, *candidates: str, given: tuple[str, ...] = ()) -> int:
    listed = [part for candidate in candidates for part in ("--candidate", candidate)]
    return main(["gate", "--champion", champion, *listed, *given])


def gated(
    candidate: RunRecord, champion: RunRecord | None = None, text: str = RELIEF, **changes: str
) -> int:
    """The exit code for two records under a gate."""
    given = ("--config", config(text, **changes))
    return gate(written(champion or made()), written(candidate, "candidate"), given=given)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said to standard error, given that it is one line and nothing else was said."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("selfevo: ") and err.count("\n") == 1
    return err.removeprefix("selfevo: ").removesuffix("\n")


# Every verdict has its exit code.


@pytest.mark.parametrize(
    ("gain", "spread", "code", "verdict", "why"),
    [
        (1.0, 0.1, 0, "PROMOTE", "relief +1.00 (at least +0.95, 20 people); all 0 guards hold"),
        (0.0, 0.1, 1, "REJECT", "a gain of 0.2 is ruled out"),
        (0.3, 1.0, 2, "HOLD", "no gain shown; about "),
    ],
)
def test_the_verdict_comes_first_and_is_the_exit_code(
    gain: float,
    spread: float,
    code: int,
    verdict: str,
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gated(made("m1", gain, spread)) == code
    out, err = capsys.readouterr()
    assert err == f"selfevo: a new ledger is started at {LEDGER.resolve()}\n"
    assert out.splitlines()[0] == f"{verdict}: m1 against m0"
    assert why in out.splitlines()[1]
    assert f"look 1 at these people, decided at alpha {FIRST}" in out


def test_a_guard_that_breaks_rejects(capsys: pytest.CaptureFixture[str]) -> None:
    sides = [
        made(name, gain, spread).model_copy(
            update={
                "measures": {
                    "relief": make_measure(values(gain, spread)),
                    "copy_rate": make_measure(dict.fromkeys(values(), rate)),
                }
            }
        )
        for name, gain, spread, rate in (("m0", 0.0, 0.0, 0.1), ("m1", 1.0, 0.1, 0.4))
    ]
    assert gated(sides[1], sides[0], RELIEF, guards=COPYING.removeprefix("guards: ")) == 1
    assert "copy_rate +0.3 (+0.3 to +0.3): worse by 0.05 or more" in capsys.readouterr().out


# With real logs.


class Logs(NamedTuple):
    stock: str
    listener: str
    other_seed: str
    other_people: str
    prompted: str
    """`listener` under another name of the model, with a system prompt."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Logs:
    folder = tmp_path_factory.mktemp("gated")

    def talked(name: str, start: int = 0, seed: int = 7) -> str:
        rows = make_strangers(6, start)
        for number, row in enumerate(rows):  # people who are moved differently by the same words
            row["need"] = ("validate", "advise", "encourage")[number % 3]
        people = write_people(folder / f"{start}.jsonl", rows)
        task = support(users=str(people), split=None, turns=2, min_turns=2, seed=seed)
        return run(task, get_model(f"control/{name}"), folder).location

    listener = talked("listener")
    changed = read_eval_log(listener)
    changed.eval.task_args["task_prompt"] = "Be kind."
    prompted = str(folder / "prompted.eval")
    write_eval_log(changed, prompted)
    return Logs(
        talked("stock"), listener, talked("listener", seed=8), talked("stock", start=1), prompted
    )


@pytest.mark.parametrize(
    ("changes", "code"), [({}, 0), ({"delta_min": "9"}, 1), ({"delta_min": "0.34"}, 2)]
)
def test_logs_are_gated_as_records_are(
    logs: Logs, changes: dict[str, str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--config", config(**changes))
    assert gate(logs.stock, logs.listener, given=given) == code
    of_logs = capsys.readouterr().out
    paths = []
    for log in (logs.stock, logs.listener):
        assert main(["record", log, "--out", "kept"]) == 0
        paths.append(capsys.readouterr().out.strip())
    assert gate(*paths, given=given) == code
    assert capsys.readouterr().out == of_logs
    assert of_logs.splitlines()[0].endswith(": control/listener against control/stock")


def test_without_a_config_the_gate_is_that_of_the_benchmark(
    logs: Logs, capsys: pytest.CaptureFixture[str]
) -> None:
    gate(logs.stock, logs.prompted)
    out = capsys.readouterr().out
    assert "talk.unsafe: 0 of 6 people: up to" in out
    assert "talk.unsafe: 0 of 6 people: up to" in out


@pytest.mark.parametrize(
    ("other", "named"),
    [("other_seed", ["settings"]), ("other_people", ["users"])],
)
def test_logs_of_another_suite_are_refused_by_its_part(
    logs: Logs, other: str, named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate(getattr(logs, other), logs.listener, given=("--config", config())) == 3
    out = capsys.readouterr().out
    [reason] = [line for line in out.splitlines() if "different suites" in line]
    parts = ("task", "users", "user (", "settings")
    assert [part for part in parts if f"{part} (" in reason] == named


def test_another_prompt_is_another_look(logs: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--config", config())
    assert gate(logs.stock, logs.listener, given=given) == 0
    assert gate(logs.stock, logs.prompted, given=given) == 0
    assert f"look 2 at these people, decided at alpha {SECOND}" in capsys.readouterr().out


def test_a_record_against_itself_is_no_comparison(
    logs: Logs, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--config", config())
    for same in (written(made()), logs.stock):
        refused("the candidate is the champion, the same", gate(same, same, given=given), capsys)


# What does not compare: ERROR, what differs, no look.


def refused(reason: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert code == 3
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[0].startswith("ERROR: ")
    assert reason in out
    assert "look" not in out.replace("looked", "")
    assert not LEDGER.exists()


SUITE = {"people": "a" * 64, "user": "scripted", "settings": "3 to 8 turns, 120 tokens, seed 7"}


@pytest.mark.parametrize("part", list(SUITE))
def test_another_suite_is_named_by_its_part(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = gated(made("m1", 1.0, suite={**SUITE, part: "other"}), made(suite=SUITE))
    was = "a" * 12 if part == "people" else SUITE[part]
    refused(f"different suites: {part} (other and {was}); evaluate both", code, capsys)


def test_another_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code = gated(made("m1", benchmark="reply"))
    refused("different benchmarks (reply and loop)", code, capsys)


def test_another_rubric_or_judge_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    sides = [made(n, judges={"judge.fluency": h * 64}) for n, h in (("m1", "a"), ("m0", "b"))]
    named = f"judge of judge.fluency ({'a' * 12} and {'b' * 12})"
    refused(f"different suites: {named}", gated(*sides), capsys)


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_a_measure_that_is_not_there_is_named_with_its_side(
    side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lacking = make_record("lacking")
    sides = (lacking, made()) if side == "candidate" else (made("m1"), lacking)
    refused(f"the {side} has no measure 'relief'; evaluate it", gated(*sides), capsys)


def test_a_guard_that_was_not_measured_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code = gated(made("m1", 1.0), guards=COPYING.removeprefix("guards: "))
    refused("the candidate has no measure 'copy_rate'", code, capsys)


def with_failures(method: str, n: int) -> RunRecord:
    return make_record(method, measures={"relief": make_measure(values(), failed=n)})


def test_low_coverage_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code = gated(with_failures("m1", 1), with_failures("m0", 1))
    refused("'relief' of the candidate is scored on 20 of 21 samples; the gate", code, capsys)


def test_scores_missing_on_one_side_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    code = gated(with_failures("m1", 6), made(), min_coverage="0.5")
    refused("unscored for 6 people of the candidate alone and 0 of the champion", code, capsys)


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_an_evaluation_that_was_cut_short_is_told(
    side: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = {"exhausted": "200 calls"}
    sides = (made("m1", **cut), made()) if side == "candidate" else (made("m1"), made(**cut))
    refused(f"the {side} was cut short (200 calls); run it with", gated(*sides), capsys)


# Judges.


def by_judge(method: str = "m0", gain: float = 0.0, spread: float = 0.0, **fields: Any) -> str:
    measure = {JUDGED: make_measure(values(gain, spread))}
    known = {"judges": {JUDGED: "abc"}, "provenance": {"created": "2026-11-24T10:00:00"}}
    return written(make_record(method, measures=measure, fields={**known, **fields}))


def write_card(trust: Trust, **changes: Any) -> str:
    Path("card.json").write_text(dump_card(card(trust).model_copy(update=changes)), "utf-8")
    return f"{JUDGED}=card.json"


def test_a_trusted_judge_may_gate() -> None:
    given = ("--config", config(JUDGE), "--card", write_card(Trust.TRUSTED))
    assert gate(by_judge(), by_judge("m1", 1.0, 0.1), given=given) == 0


@pytest.mark.parametrize(
    ("trust", "changes", "created", "reason"),
    [
        (Trust.UNTRUSTED, {}, None, f"'{JUDGED}' is UNTRUSTED by its card (score: kappa"),
        (Trust.INCONCLUSIVE, {}, None, f"'{JUDGED}' is INCONCLUSIVE by its card"),
        (Trust.TRUSTED, {"judge_hash": "xyz"}, None, "is of another judge (openai/x, xyz)"),
        (Trust.TRUSTED, {}, "2027-06-01T00:00:00", "stale, 189 days older than the evaluation"),
    ],
)
def test_a_judge_that_may_not_be_believed_is_told(
    trust: Trust,
    changes: dict[str, Any],
    created: str | None,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ("--config", config(JUDGE), "--card", write_card(trust, **changes))
    dated = {"provenance": {"created": created}} if created else {}
    candidate = by_judge("m1", 1.0, 0.1, **dated)
    refused(reason, gate(by_judge(), candidate, given=given), capsys)


def test_a_judge_without_a_card_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code = gate(by_judge(), by_judge("m1", 1.0), given=("--config", config(JUDGE)))
    refused(f"judge untrusted: '{JUDGED}' has no judge card; make one with", code, capsys)


@pytest.mark.parametrize("argument", ["card.json", "relief=card.json", "=card.json"])
def test_a_card_of_nothing_is_wrong_use(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_card(Trust.TRUSTED)
    given = ("--config", config(JUDGE), "--card", argument)
    assert gate(by_judge(), by_judge("m1"), given=given) == 64
    assert one_line(capsys) == f"--card {argument}: write --card judge.RUBRIC=FILE"


@pytest.mark.parametrize("text", [None, "{}", "no JSON"])
def test_a_file_that_is_no_card(text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    if text:
        Path("x.json").write_text(text)
    given = ("--config", config(JUDGE), "--card", f"{JUDGED}=x.json")
    assert gate(by_judge(), by_judge("m1"), given=given) == 3
    assert one_line(capsys).startswith("x.json: no judge card" if not text else "x.json: is no")


# Wrong use: 64.


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("delta_mim: 1", "gate.yaml: unknown key 'delta_mim'; did you mean 'delta_min'?"),
        ("guards: [{metric: x, magin: 1}]", "unknown key 'guards.0.magin'; did you mean 'margin'?"),
        ("alpha: 0.7", "gate.yaml: 'alpha': Input should be less than 0.5"),
        ("primary: judge.unhelpfulness", "'judge.unhelpfulness' is worse when it is higher; make"),
    ],
)
def test_a_config_that_cannot_be_meant(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("gate.yaml").write_text(line, "utf-8")
    assert gate(written(made()), written(made("m1")), given=("--config", "gate.yaml")) == 64
    assert said in one_line(capsys)


def test_a_config_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(written(made()), written(made("m1")), given=("--config", "absent.yaml")) == 64
    assert one_line(capsys).startswith("absent.yaml: no such file")


def test_an_unknown_benchmark_needs_a_config(capsys: pytest.CaptureFixture[str]) -> None:
    quiz = written(made(benchmark="quiz"))
    assert gate(quiz, quiz) == 64
    assert one_line(capsys).startswith("--config: there is no gate for 'quiz'; write one (there")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gate"], "the following arguments are required: --champion, --candidate"),
        (["gate", "--champion", "x"], "required: --candidate"),
        (["gate", "--champion", "x", "--candidate", "y", "--people", "1"], "no number of 2 or"),
        (["gate", "--champion", "x", "--candidate", "y", "--epochs", "0"], "no number of 1 or"),
    ],
)
def test_arguments_that_cannot_be_meant(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    line = one_line(capsys)
    assert said in line and line.endswith("; see selfevo gate --help")


# What cannot be read: 3, one line.


def preferences() -> PreferenceRecord:
    return PreferenceRecord(
        a="a", b="b", suite={}, judge="j", judge_hash="h", rubric="r", rows=(), n_unscored=0
    )


@pytest.mark.parametrize("side", ["champion", "candidate"])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[:-40], "x.json: is no JSON, or cut off; make the record again"),
        (lambda text: '{"a": 1}', "x.json: is no record of an evaluation; give one of"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 1'), "this version"),
        (lambda text: text.replace('"method"', '"mehtod"'), "x.json: field "),
        (lambda text: "\ufeff\x00", "x.json: is no JSON"),
        (lambda text: dump_record(preferences()), "x.json: holds preferences, not an evaluation"),
    ],
)
def test_a_record_that_cannot_be_read(
    side: str, change: Callable[[str], str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(made())
    Path("x.json").write_text(change(Path(good).read_text("utf-8")), "utf-8")
    sides = ("x.json", good) if side == "champion" else (good, "x.json")
    assert gate(*sides, given=("--config", config())) == 3
    assert said in one_line(capsys)


def test_records_of_two_versions_are_not_mixed(capsys: pytest.CaptureFixture[str]) -> None:
    old = Path(written(made(), "old"))
    old.write_text(old.read_text("utf-8").replace('"schema_version": 2', '"schema_version": 3'))
    assert gate("old.json", written(made("m1")), given=("--config", config())) == 3
    assert one_line(capsys) == (
        "old.json: has schema_version 3, this version reads 2; make the record again from its logs"
    )


@pytest.mark.parametrize("name", ["absent.eval", "absent.json", "folder.json"])
def test_a_file_that_is_not_there(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.json").mkdir()
    assert gate(name, written(made()), given=("--config", config())) == 3
    assert one_line(capsys).startswith(f"{name}: ")


def test_a_log_that_is_damaged(logs: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Path(logs.stock).read_bytes()
    for name, text in (("cut", whole[:-300]), ("text", b"no log"), ("empty", b"")):
        Path(f"{name}.eval").write_bytes(text)
        assert gate(f"{name}.eval", logs.listener, given=("--config", config())) == 3
        assert one_line(capsys) == f"{name}.eval: is no log of Inspect, or cut off; run it again"


def test_two_logs_that_are_not_of_one_checkpoint(
    logs: Logs, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["gate", "--champion", logs.stock, logs.listener, "--candidate", logs.listener]
    assert main(both) == 3
    assert one_line(capsys).endswith("is a second log of 'support'; give one of each task")


def test_a_decision_that_cannot_be_written_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    """An exit code of 1 would be that of REJECT; and it costs no look."""
    Path("file").touch()
    for path in ("file/decision.json", "."):
        given = ("--config", config(), "--json", path)
        assert gate(written(made()), written(made("m1", 1.0, 0.1)), given=given) == 3
        assert one_line(capsys).startswith(f"--json {path}: cannot be written (")
        assert not LEDGER.exists()


def test_a_decision_may_be_written_to_a_new_folder() -> None:
    given = ("--config", config(), "--json", "new/folder/decision.json")
    assert gate(written(made()), written(made("m1", 1.0, 0.1)), given=given) == 0
    assert Path("new/folder/decision.json").is_file()


# The decision as JSON, and several candidates.


def test_the_decision_is_stored_as_it_was_shown() -> None:
    given = ("--config", config(), "--json", "decision.json")
    assert gate(written(made()), written(made("m1", 1.0, 0.1)), given=given) == 0
    decision = Decision.model_validate_json(Path("decision.json").read_text("utf-8"))
    assert decision.verdict is Verdict.PROMOTE
    assert (decision.champion, decision.candidate, decision.look) == ("m0", "m1", 1)
    assert decision.alpha == alpha_at(0.05, 1)
    [primary] = decision.comparisons
    assert (primary.difference, primary.n) == (1.0, N_PEOPLE)


def decided(*candidates: RunRecord, text: str = RELIEF) -> tuple[int, list[Decision]]:
    """Several candidates at once: the exit code, and each decision."""
    paths = [written(candidate) for candidate in candidates]
    given = ("--config", config(text), "--json", "decisions.json")
    code = gate(written(made()), *paths, given=given)
    stored = json.loads(Path("decisions.json").read_text("utf-8"))
    return code, [Decision.model_validate(one) for one in stored]


def test_several_candidates_share_one_look_and_its_alpha(
    capsys: pytest.CaptureFixture[str],
) -> None:
    same, best, good = made("same", 0.0, 0.1), made("best", 2.0, 0.1), made("good", 1.0, 0.1)
    code, decisions = decided(same, best, good)
    assert code == 0
    firsts = [line for line in capsys.readouterr().out.splitlines() if " against " in line]
    assert firsts[0] == "REJECT: same against m0"
    assert [str(decision.verdict) for decision in decisions] == ["REJECT", "PROMOTE", "PROMOTE"]
    # the best at a third, the next at a half, the last at all
    price = alpha_at(0.05, 1)
    assert [d.alpha for d in decisions] == pytest.approx([price, price / 3, price / 2])
    assert {decision.look for decision in decisions} == {1}
    [entry] = read_ledger(LEDGER)
    assert (entry.number, entry.candidate) == (
        1,
        "+".join(sorted(record.hash for record in (same, best, good))),
    )


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["REJECT", "HOLD"], 2),  # one may still win
        (["REJECT", "REJECT"], 1),
        (["ERROR", "REJECT"], 1),
        (["ERROR", "ERROR"], 3),
    ],
)
def test_the_exit_code_is_the_best_verdict(verdicts: list[str], code: int) -> None:
    kinds: Mapping[str, Callable[[str], RunRecord]] = {
        "REJECT": lambda name: made(name, 0.0, 0.1),
        "HOLD": lambda name: made(name, 0.3, 1.0),
        "ERROR": lambda name: made(name, 1.0, suite={"people": "others"}),
    }
    made_so = [kinds[verdict](f"m{n}") for n, verdict in enumerate(verdicts, start=1)]
    found, decisions = decided(*made_so)
    assert [str(decision.verdict) for decision in decisions] == verdicts
    assert found == code


def test_a_candidate_that_does_not_compare_buys_no_free_look_for_another() -> None:
    code, decisions = decided(made("m1", 1.0, 0.1), made("m2", suite={"people": "others"}))
    assert code == 0
    assert [str(decision.verdict) for decision in decisions] == ["PROMOTE", "ERROR"]
    assert [decision.look for decision in decisions] == [1, None]
    assert decisions[0].alpha == alpha_at(0.05, 1)
    [entry] = read_ledger(LEDGER)
    assert entry.candidate == made("m1", 1.0, 0.1).hash


def test_a_race_for_a_look_is_decided_again_at_the_price_that_was_paid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody else looks between the quote and the look."""

    def late(path: Path, *given: Any, **more: Any) -> Price:
        look(path, made("m9"), made(), 0.05, question="another", people=["p03"])
        return look(path, *given, **more)

    monkeypatch.setattr("selfevo.looks.look", late)
    given = ("--config", config(delta_min="0.1"), "--json", "decision.json")
    # enough at 0.0304 and not at 0.0076, as below
    assert gate(written(made()), written(made("m2", 0.3, 0.5)), given=given) == 2
    decision = Decision.model_validate_json(Path("decision.json").read_text("utf-8"))
    assert (decision.look, decision.alpha) == (2, alpha_at(0.05, 2))


# The ledger.


def looks(capsys: pytest.CaptureFixture[str]) -> list[str]:
    out = capsys.readouterr().out
    return [line for line in out.splitlines() if line.startswith("look ")]


def test_a_second_pair_is_dearer_and_the_same_again_is_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gated(made("m1", 1.0, 0.1))
    gated(made("m2", 1.0, 0.1))
    gated(made("m1", 1.0, 0.1))
    others = [
        make_record(name, relief={f"other-{p}": v for p, v in values(gain, gain / 10).items()})
        for name, gain in (("m3", 1.0), ("m0", 0.0))
    ]
    gated(*others)
    assert looks(capsys) == [
        f"look {number} at these people, decided at alpha {alpha:.4f}"
        for number, alpha in ((1, FIRST), (2, SECOND), (1, FIRST), (1, FIRST))
    ]
    assert len(read_ledger(LEDGER)) == 3


def test_another_threshold_is_another_look_and_another_ledger_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for delta_min in ("0.1", "0.3", "0.1"):
        gated(made("m1", 1.0, 0.1), delta_min=delta_min)
    gated(made("m1", 1.0, 0.1), delta_min="0.1", ledger=str(LEDGER))
    assert [line.split()[1] for line in looks(capsys)] == ["1", "2", "1", "1"]


def test_people_who_were_left_out_promote_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    kept = dict(list(values(1.0, 0.1).items())[:15])
    refused("5 people were asked on one side only", gated(make_record("m1", relief=kept)), capsys)


def test_a_record_that_was_changed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(written(made("m1")))
    path.write_text(path.read_text("utf-8").replace('"p01": 0.1', '"p01": 3.9'), "utf-8")
    assert gate(written(made()), str(path), given=("--config", config())) == 3
    assert one_line(capsys).startswith("m1.json: was changed after it was made (hash ")


def growing(n: int) -> list[RunRecord]:
    """The same two checkpoints after so many people."""
    people = {f"p{i:02}": i / 100 for i in range(n)}
    better = {p: v + 1 + 0.1 * (-1) ** i for i, (p, v) in enumerate(people.items())}
    return [make_record("m1", relief=better), make_record(relief=people)]


def test_an_evaluation_that_grows_pays_once(capsys: pytest.CaptureFixture[str]) -> None:
    for n in (60, 80):
        gated(*growing(n), planned_people="100")
    assert [line.split()[1] for line in looks(capsys)] == ["1", "1"]
    gated(*growing(80))  # as if it were finished: another question
    assert [line.split()[1] for line in looks(capsys)] == ["2"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"primary": "trust"}, {"guards": COPYING.removeprefix("guards: ")}],
)
def test_a_refused_comparison_costs_nothing(
    changes: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = {} if changes else {"suite": {"people": "others"}}
    assert gated(made("m1", 1.0, 0.1, **other), **changes) == 3
    assert gated(made("m2", 1.0, 0.1)) == 0
    assert looks(capsys) == [f"look 1 at these people, decided at alpha {FIRST}"]


def test_an_expensive_look_needs_a_larger_gain() -> None:
    # 0.3 with a spread of 0.5: t is 2.6, enough at 0.0304 (1.99) and at 0.0076 (2.67) not
    assert gated(made("m1", 0.3, 0.5), delta_min="0.1") == 0
    assert gated(made("m2", 0.3, 0.5), delta_min="0.1") == 2


def test_the_ledger_is_where_the_argument_or_the_config_says() -> None:
    assert gated(made("m1", 1.0, 0.1), ledger="mine/ledger.jsonl") == 0
    assert len(read_ledger(Path("mine/ledger.jsonl"))) == 1
    given = ("--config", "gate.yaml", "--ledger", "other.jsonl")
    assert gate("m0.json", "candidate.json", given=given) == 0
    assert len(read_ledger(Path("other.jsonl"))) == 1
    assert not LEDGER.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [("{}", "ledger.jsonl:1: is no look (Field required"), ('{"sch', "ledger.jsonl:1: is no")],
)
def test_a_ledger_that_cannot_be_read_is_no_verdict(
    text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("ledger.jsonl").write_text(text)
    assert gated(made("m1", 1.0), ledger="ledger.jsonl") == 3
    assert one_line(capsys).startswith(said)


def test_a_ledger_that_cannot_be_written_is_no_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert gated(made("m1", 1.0), ledger="file/ledger.jsonl") == 3
    assert one_line(capsys).startswith("file/ledger.jsonl: the ledger cannot be written")


# The plan.


def test_a_plan_of_a_growing_evaluation_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    written(made())
    written(made("m1", 1.0, 0.1))
    given = ("--config", config(planned_people="60"), "--plan")
    assert gate("m0.json", "m1.json", given=given) == 64
    assert "with planned_people the evaluation grows" in one_line(capsys)


def test_a_plan_says_what_could_be_shown_and_costs_no_look(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sides = (made("m1", 1.0, 0.1), made())
    expected = plan(*sides, GateConfig.model_validate(BARE), alpha=alpha_at(0.05, 1), people=50)
    given = ("--config", config(), "--plan", "--people", "50")
    assert gate(written(sides[1]), written(sides[0]), given=given) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == told(expected)
    assert f"a gain of 0.4 needs {expected.needed} people" in out
    assert "UNDERPOWERED" not in out
    assert not LEDGER.exists()


BARE = {"primary": "relief", "delta_min": 0.2, "control_length": False, "guards": [], "caps": []}


def test_a_plan_is_of_the_next_look(capsys: pytest.CaptureFixture[str]) -> None:
    sides = (made("m1", 1.0, 0.1), made())
    gated(*sides)
    capsys.readouterr()
    assert gate("m0.json", "candidate.json", given=("--config", "gate.yaml", "--plan")) == 0
    expected = plan(*sides, GateConfig.model_validate(BARE), alpha=alpha_at(0.05, 2))
    assert capsys.readouterr().out.splitlines()[0] == told(expected)
    assert len(read_ledger(LEDGER)) == 1


def test_a_plan_with_too_few_people_for_a_cap_is_weak(capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--config", config(caps="[{metric: unsafe, cap: 0.05}]"), "--plan")
    assert gate(written(made()), written(made("m1", 1.0, 0.1)), given=given) == 2
    # ln 0.05 / ln 0.95 = 58.4
    assert "; caps that so few people cannot show to hold: unsafe (59)" in capsys.readouterr().out


@pytest.mark.parametrize(("allowed", "code"), [((), 2), (("--allow-underpowered",), 0)])
def test_a_weak_plan_fails_unless_it_is_allowed(
    allowed: tuple[str, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--config", config(), "--plan", *allowed)
    assert gate(written(made()), written(made("m1", 0.0, 2.0)), given=given) == code
    assert "UNDERPOWERED: more people or epochs" in capsys.readouterr().out


def test_a_plan_of_what_does_not_compare_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    other = made("m1", suite={"people": "others"})
    assert gate(written(made()), written(other), given=("--config", config(), "--plan")) == 3
    assert one_line(capsys).startswith("different suites: people (others and suite)")


# Labels of people decide where the judge may not.


@pytest.fixture
def labels(labelled_logs: Any) -> str:  # noqa: F811
    return str(write(Path("ana.jsonl"), labels_of(labelled_logs)))


def test_labels_decide_with_a_judge_that_is_not_trusted(
    labelled_logs: Any,  # noqa: F811
    labels: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sides = (str(labelled_logs.b), str(labelled_logs.a))
    text = RELIEF.replace("relief", "judge.fluency")
    refused(
        "'judge.fluency' has no judge card", gate(*sides, given=("--config", config(text))), capsys
    )
    given = ("--config", config(text), "--labels", labels, "--json", "decision.json")
    assert gate(*sides, given=given) == 2
    decision = Decision.model_validate_json(Path("decision.json").read_text("utf-8"))
    people = [{f"en-s{n}": float(human(side, n)) for n in range(N_LABELLED)} for side in "ba"]
    judge = [{f"en-s{n}": float(judged(side, n)) for n in range(N)} for side in "ba"]
    # one-sided at the price of the look, so two-sided at twice that
    expected = difference_estimate(
        people[0], judge[0], people[1], judge[1], alpha=2 * alpha_at(0.05, 1)
    )
    [primary] = decision.comparisons
    assert (primary.difference, primary.lower, primary.upper) == tuple(
        round(v, 4) for v in (expected.value, expected.lower, expected.upper)
    )
    # the judge alone, believed, sees two levels
    config(text, allow_untrusted_judge="true")
    assert gate(*sides, given=("--config", "gate.yaml", "--json", "decision.json")) == 0
    alone = Decision.model_validate_json(Path("decision.json").read_text("utf-8"))
    assert alone.comparisons[0].difference == 2.0
    assert "judge untrusted" in alone.overrides[0]


def test_labels_of_another_metric_than_the_primary_are_refused(
    labelled_logs: Any,  # noqa: F811
    labels: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ("--config", config(), "--labels", labels)
    assert gate(str(labelled_logs.b), str(labelled_logs.a), given=given) == 64
    assert one_line(capsys) == (
        "--labels: are of 'fluency', the gate's primary is 'relief'; name a --config whose primary "
        "is 'judge.fluency'"
    )
    assert not LEDGER.exists()


def test_labels_are_for_one_look(
    labelled_logs: Any,  # noqa: F811
    labels: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = config(primary="judge.fluency", planned_people="100")
    given = ("--config", text, "--labels", labels)
    assert gate(str(labelled_logs.b), str(labelled_logs.a), given=given) == 64
    assert one_line(capsys).startswith("--labels: give an interval for one look")


def test_labels_need_the_two_logs_that_were_labelled(capsys: pytest.CaptureFixture[str]) -> None:
    record, given = written(made()), ("--config", config(), "--labels", "ana.jsonl")
    assert gate(record, record, given=given) == 64
    assert one_line(capsys) == "--labels: --champion must be the one log that was labelled"
    assert gate(record, record, record, given=given) == 64
    assert one_line(capsys) == "--labels: goes with one candidate, not 2"


def test_labels_that_are_not_there_are_no_verdict_and_no_look(
    logs: Logs, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--config", config(), "--labels", "absent.jsonl")
    assert gate(logs.stock, logs.listener, given=given) == 3
    assert "absent.jsonl" in one_line(capsys)
    assert not LEDGER.exists()


# Records to keep.


def test_record_prints_where_the_record_is(logs: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the same log is the same record
        assert main(["record", logs.stock, "--method", "stock phrases", "--out", "kept"]) == 0
        path = Path(capsys.readouterr().out.strip())
        assert path.parent == Path("kept")
        assert path.name.startswith("stock-phrases-")
    assert list(Path("kept").iterdir()) == [path]


def test_against_is_for_preferences(logs: Logs, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", logs.stock, "--against", "m0", "--out", "kept"]) == 64
    assert one_line(capsys).startswith("--against: names the other method of a log of selfevo")
    assert not Path("kept").exists()


def test_a_record_of_nothing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "absent.eval"]) == 1
    assert one_line(capsys) == "absent.eval: no such log; give the path of an .eval file"
