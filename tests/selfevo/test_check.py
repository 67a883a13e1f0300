from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from results.records import Cost, Measure, Provenance
from results.stats import paired_bound
from selfevo.baseline import Baseline
from selfevo.check import check
from selfevo.check_config import DEFAULTS, CheckConfig, Harm, Limits, default_checks
from selfevo.check_result import CheckResult, Verdict
from selfevo.gate_config import GateConfig

from .evaluations import SUITE, TODAY, Values, blessed, changed, measure, record, trusted_card

RELIEF = Harm(metric="relief", margin=0.3, worse="down")
UNHELPFUL = Harm(metric="talk.unhelpful", margin=0.05)
N = 40


def checked(
    candidate: Mapping[str, Values],
    baseline: Mapping[str, Values] | None = None,
    rules: Sequence[Harm] = (RELIEF,),
    **options: Any,
) -> CheckResult:
    before = baseline or {name: [0.0] * N for name in candidate}
    config = CheckConfig(checks=tuple(rules))
    return check(blessed(before), record(candidate), config, today=TODAY, **options)


# The verdicts.


def test_the_exit_code_is_of_the_verdict() -> None:
    assert {str(verdict): verdict.exit_code for verdict in Verdict} == {
        "PASS": 0,
        "REGRESSION": 1,
        "INCONCLUSIVE": 2,
        "CANNOT DECIDE": 3,
    }


@pytest.mark.parametrize(
    ("by", "spread", "verdict"),
    [
        (0.0, 1.0, Verdict.PASS),
        (5.0, 1.0, Verdict.PASS),  # better is no harm
        (-0.5, 1.0, Verdict.REGRESSION),
        (-0.1, 1.0, Verdict.REGRESSION),  # shown, though below the margin
        (-0.1, 60.0, Verdict.INCONCLUSIVE),
        (0.0, 60.0, Verdict.INCONCLUSIVE),
    ],
)
def test_a_fall_of_relief(by: float, spread: float, verdict: Verdict) -> None:
    assert checked({"relief": changed(by, spread=spread)}).verdict is verdict


def test_the_numbers_are_those_of_the_paired_bound() -> None:
    values = changed(-0.1, spread=20.0)
    bound = paired_bound(values, 0.05)
    [found] = checked({"relief": values}).metrics
    assert (found.difference, found.lower, found.upper, found.n) == (
        round(bound.mean, 4),
        round(bound.lower, 4),
        round(bound.upper, 4),
        N,
    )
    assert (found.baseline, found.candidate) == (0.0, round(bound.mean, 4))


def test_pass_stops_at_the_margin() -> None:
    """The bound of harm on one side of the margin or the other."""
    values = changed(0.0, spread=10.0)
    harm = -paired_bound(values, 0.05).lower
    for margin, verdict in ((harm + 1e-6, Verdict.PASS), (harm - 1e-6, Verdict.INCONCLUSIVE)):
        rule = Harm(metric="relief", margin=margin, worse="down")
        assert checked({"relief": values}, rules=[rule]).verdict is verdict


def test_worse_is_up_or_down() -> None:
    values = {"talk.unhelpful": changed(0.2)}
    assert checked(values, rules=[UNHELPFUL]).verdict is Verdict.REGRESSION
    better = UNHELPFUL.model_copy(update={"worse": "down"})
    assert checked(values, rules=[better]).verdict is Verdict.PASS


def test_what_is_tolerated_is_no_harm() -> None:
    rule = Harm(metric="talk.length", margin=12, tolerated=6)
    for by, verdict in ((5.0, Verdict.PASS), (7.0, Verdict.REGRESSION)):
        assert checked({"talk.length": changed(by)}, rules=[rule]).verdict is verdict


def test_every_metric_must_pass_and_one_is_enough_to_fail() -> None:
    rules = (RELIEF, UNHELPFUL)
    unclear = changed(0.0, spread=10.0)
    fine = {"relief": changed(0.0), "talk.unhelpful": changed(0.0, spread=0.1)}
    assert checked(fine, rules=rules).verdict is Verdict.PASS
    assert checked({**fine, "talk.unhelpful": unclear}, rules=rules).verdict is Verdict.INCONCLUSIVE
    harmed = checked({"relief": changed(-0.5), "talk.unhelpful": unclear}, rules=rules)
    assert harmed.verdict is Verdict.REGRESSION
    assert "harm shown" in harmed.reasons[0] and "not excluded" in harmed.reasons[1]


def test_harm_in_one_of_many_metrics_is_held_to_more() -> None:
    """p = 0.03 alone is harm; as one of two, Holm makes it 0.06."""
    z = 1.93 / np.sqrt(N)  # t of 1.93 on 39 degrees: p = 0.03
    noise = np.tile([1.0, -1.0], N // 2) * np.sqrt((N - 1) / N)
    values = {"a": (noise + z).tolist(), "b": [0.0] * N}
    one, other = (Harm(metric=name, margin=10) for name in "ab")
    alone, together = checked(values, rules=[one]), checked(values, rules=[one, other])
    assert alone.metrics[0].p == pytest.approx(0.0304, abs=5e-4)
    assert together.metrics[0].p == pytest.approx(2 * 0.0304, abs=1e-3)
    assert (alone.verdict, together.verdict) == (Verdict.REGRESSION, Verdict.PASS)


def test_strict_fails_what_is_not_excluded_and_says_so() -> None:
    result = checked({"relief": changed(0.0, spread=60.0)}, strict=True)
    assert result.verdict is Verdict.REGRESSION
    assert "not excluded" in result.reasons[0] and "shown" not in result.reasons[0]
    assert checked({"relief": changed(0.0)}, strict=True).verdict is Verdict.PASS


def test_an_accepted_inconclusive_keeps_its_name() -> None:
    unclear = checked({"relief": changed(0.0, spread=60.0)}, inconclusive_ok=True)
    assert (unclear.verdict, unclear.exit_code) == (Verdict.INCONCLUSIVE, 0)
    assert unclear.headline == "INCONCLUSIVE, accepted by --inconclusive-ok"
    harmed = checked({"relief": changed(-0.5)}, inconclusive_ok=True)
    assert (harmed.headline, harmed.exit_code) == ("REGRESSION", 1)


def test_rounding_is_no_harm() -> None:
    third = 1 / 3
    before, after = [third] * N, [third + 1e-13] * (N - 1) + [third + 2e-13]
    rule = Harm(metric="talk.unhelpful", margin=0.05)
    result = checked({"talk.unhelpful": after}, {"talk.unhelpful": before}, [rule])
    assert result.verdict is Verdict.PASS


# Error rates, on the shipped code.


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Statsmodels collects garbage at each correction (0.1 s), which hundreds need not."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


@pytest.mark.usefixtures("many")
def test_an_unchanged_candidate_fails_in_at_most_alpha() -> None:
    rng = np.random.default_rng(7)
    rules = [Harm(metric=name, margin=0.3) for name in "abcd"]
    failed = 0
    for _ in range(400):
        values = {name: rng.normal(0, 0.5, N).tolist() for name in "abcd"}
        failed += checked(values, rules=rules).verdict is Verdict.REGRESSION
    assert failed <= 33  # 5% of 400, and three standard errors


@pytest.mark.usefixtures("many")
def test_harm_of_the_margin_passes_in_at_most_alpha() -> None:
    rng = np.random.default_rng(8)
    passed = 0
    for _ in range(400):
        passed += checked({"relief": rng.normal(-0.3, 0.5, N).tolist()}).verdict is Verdict.PASS
    assert passed <= 33


@pytest.mark.usefixtures("many")
def test_what_it_says_it_sees_it_sees_in_four_of_five_cases() -> None:
    rng = np.random.default_rng(9)
    spread = changed(0.0, spread=10.0)
    [told] = checked({"relief": spread}).metrics
    assert told.detectable is not None
    sd = float(np.std(spread, ddof=1))
    seen = 0
    for _ in range(400):
        values = rng.normal(-told.detectable, sd, N).tolist()
        seen += checked({"relief": values}).verdict is Verdict.REGRESSION
    assert 296 <= seen <= 344  # 80% of 400, and three standard errors


def test_what_it_can_see_is_told() -> None:
    rare, seen = checked({"relief": changed(0.0, spread=10.0)}).sight
    assert rare == "40 people: harm that comes to fewer than 4% of people may not come up"
    assert seen == (
        "40 people: sees a fall in relief of 0.14 or more in 4 of 5 cases; "
        "PASS excludes 0.3; smaller harm passes unseen"
    )
    same = checked({"relief": [0.0] * N})
    assert same.sight[1].endswith("nobody changed unlike the others, so nothing more can be said")
    assert same.metrics[0].detectable is None


# Shares that are 0 or 1 a person.


def share(n_harmed: int, n: int, scale: tuple[float, float] | None = (0.0, 1.0)) -> Measure:
    values = measure([1.0] * n_harmed + [0.0] * (n - n_harmed))
    return values.model_copy(update={"scale": scale})


def of_shares(n_harmed: int, n: int, margin: float = 0.05, **options: Any) -> CheckResult:
    rule = Harm(metric="talk.unsafe", margin=margin)
    return checked(
        {"talk.unsafe": share(n_harmed, n)}, {"talk.unsafe": share(0, n)}, [rule], **options
    )


@pytest.mark.parametrize(
    ("n", "margin", "verdict"),
    [
        (20, 0.05, Verdict.INCONCLUSIVE),  # 0.95^20 = 0.36
        (58, 0.05, Verdict.INCONCLUSIVE),  # 0.95^58 = 0.051
        (59, 0.05, Verdict.PASS),  # 0.95^59 = 0.0485
        (28, 0.1, Verdict.INCONCLUSIVE),
        (29, 0.1, Verdict.PASS),
    ],
)
def test_that_nobody_changed_excludes_little(n: int, margin: float, verdict: Verdict) -> None:
    assert of_shares(0, n, margin).verdict is verdict


def test_a_graded_metric_needs_no_such_test() -> None:
    for scale in (None, (-4.0, 4.0)):
        values = share(0, 20, scale)
        result = checked({"relief": values}, {"relief": values})
        assert result.verdict is Verdict.PASS


def test_how_many_more_people_a_share_needs_is_told() -> None:
    [reason] = of_shares(0, 20).reasons
    assert reason == (
        "talk.unsafe +0 [+0, +0], 20 people: a rise of 0.05 or more not excluded; 0 became worse "
        "and 0 better, which may be chance among 20 people; about 39 more people would settle it"
    )
    assert of_shares(0, 59).verdict is Verdict.PASS


def test_a_few_who_became_worse() -> None:
    """Two of 100: the t bound is 0.0434, and the exact test of 2 at 4.5% has p = 0.17."""
    result = of_shares(2, 100, 0.045)
    assert paired_bound([1.0] * 2 + [0.0] * 98, 0.05).upper < 0.045
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "2 became worse and 0 better, which may be chance" in result.reasons[0]


def test_a_share_with_a_missing_score_is_at_its_worst() -> None:
    """59 of 60 people, of whom nobody changed, are enough; the one without a score is a harm."""
    values = share(0, 60)
    gone = values.model_copy(
        update={"values": dict(list(values.values.items())[1:]), "missing": {"en-000": 1}}
    )
    rule = Harm(metric="talk.unsafe", margin=0.05)
    result = checked({"talk.unsafe": gone}, {"talk.unsafe": values}, [rule])
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "if the 1 samples without a score were the worst possible" in result.reasons[0]


@pytest.mark.usefixtures("many")
def test_a_rare_harm_of_the_margin_passes_in_at_most_alpha() -> None:
    rng = np.random.default_rng(10)
    for n in (20, 60):
        n_harmed_R = rng.binomial(n, 0.05, 400)
        counts, times = np.unique(n_harmed_R, return_counts=True)
        passed = sum(
            int(seen)
            for count, seen in zip(counts, times, strict=True)
            if of_shares(int(count), n).verdict is Verdict.PASS
        )
        assert passed <= 33


# An unchanged model.

CHECKPOINT = "c" * 64


def unchanged(n: int = 5, **more: Any) -> CheckResult:
    """The same answers of few people: nothing is excluded by their number."""
    same = record({"talk.unsafe": share(0, n)}, checkpoint=f"{CHECKPOINT} at 0.7")
    before, after = Baseline(blessed=TODAY, record=same), same.model_copy(update=more)
    config = CheckConfig(checks=(Harm(metric="talk.unsafe", margin=0.05),))
    return check(before, after, config, today=TODAY, strict=True)


def test_the_same_checkpoint_with_the_same_values_passes_at_once() -> None:
    result = unchanged()
    assert result.verdict is Verdict.PASS
    assert result.reasons == (
        "the same checkpoint, the same values of everybody in every metric (5 people)",
    )
    assert [found.outcome for found in result.metrics] == ["excluded"]


@pytest.mark.parametrize(
    "more",
    [
        {"checkpoint": f"{'d' * 64} at 0.7"},
        {"checkpoint": f"{CHECKPOINT} at 0.9"},
        {"measures": {"talk.unsafe": share(0, 5), "trust": measure([0.5] * 5)}},
    ],
)
def test_anything_else_is_no_unchanged_model(more: dict[str, Any]) -> None:
    assert unchanged(**more).verdict is Verdict.REGRESSION
    assert "not excluded" in unchanged(**more).reasons[0]


def test_the_name_of_a_served_model_is_no_checkpoint() -> None:
    values = {"talk.unsafe": share(0, 5)}
    served = {"checkpoint": "openai/x"}
    config = CheckConfig(checks=(Harm(metric="talk.unsafe", margin=0.05),))
    result = check(blessed(values, **served), record(values, **served), config, today=TODAY)
    assert result.verdict is Verdict.INCONCLUSIVE


# What cannot be decided.


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            {"suite": {**SUITE, "users": "b" * 64}},
            "different suites: users (aaaaaaaaaaaa and bbbbbbbbbbbb); "
            "evaluate both on the same one",
        ),
        (
            {"suite": {**SUITE, "rubric": "r2"}},
            "different suites: rubric (absent and r2); evaluate both on the same one",
        ),
        (
            {"benchmark": "reply"},
            "different benchmarks (support and reply); evaluate both on the same one",
        ),
    ],
)
def test_what_was_asked_otherwise_does_not_compare(more: dict[str, Any], reason: str) -> None:
    baseline = blessed({"relief": changed(0.0)}, **more)
    candidate = record({"relief": changed(0.0)})
    result = check(baseline, candidate, CheckConfig(checks=(RELIEF,)), today=TODAY)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert result.reasons == (reason,)


def test_another_judge_does_not_compare() -> None:
    values = {"relief": changed(0.0), "judge.unhelpfulness": [0.0] * N}
    baseline = blessed(values, judges={"judge.unhelpfulness": "old"})
    candidate = record(values, judges={"judge.unhelpfulness": "new"})
    result = check(baseline, candidate, CheckConfig(), today=TODAY)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert "judge of judge.unhelpfulness" in result.reasons[0]


@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_a_metric_on_one_side_only(side: str) -> None:
    more, less = {"relief": changed(0.0), "trust": changed(0.0)}, {"relief": changed(0.0)}
    rules = (RELIEF, Harm(metric="trust", margin=0.3, worse="down"))
    candidate, baseline = (less, more) if side == "candidate" else (more, less)
    result = checked(candidate, baseline, rules)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert f"'trust' was not measured in the {side}" in result.reasons[0]


def test_what_neither_side_measured_is_named() -> None:
    rules = (RELIEF, Harm(metric="trust", margin=0.3), Harm(metric="trust", margin=1, worse="down"))
    result = checked({"relief": changed(0.0)}, rules=rules)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert result.reasons == (
        "the configuration names 'trust', which neither side measured; "
        "measure it on both, or leave it out of the --config",
    )


def test_a_misspelled_metric_is_told_with_what_was_meant() -> None:
    """Passed over, it would leave a check that nothing could fail."""
    rules = (RELIEF, UNHELPFUL.model_copy(update={"metric": "talk.unhelpfull"}))
    values = {"relief": changed(0.0), "talk.unhelpful": changed(0.5)}
    result = checked(values, rules=rules)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert "names 'talk.unhelpfull' (did you mean 'talk.unhelpful'?), which" in result.reasons[0]


def by_default(values: Mapping[str, Values], **more: Any) -> CheckResult:
    before = blessed({name: [0.0] * N for name in values}, **more)
    return check(before, record(values, **more), CheckConfig(), today=TODAY)


def test_a_default_metric_that_nobody_measured_is_a_note() -> None:
    result = by_default({"relief": changed(0.0), "talk.unsafe": changed(0.0)})
    assert (result.verdict, result.warnings) == (Verdict.PASS, ())
    [note] = result.not_counted
    assert note.startswith("measured on neither side: satisfied, gave_up, talk.unhelpful, ")


@pytest.mark.parametrize(
    ("benchmark", "measured", "unseen"),
    [
        ("support", "relief", ["talk.unsafe"]),
        ("support", "talk.unsafe", ["relief"]),
        ("support", "satisfied", ["talk.unsafe", "relief"]),
        ("loop", "specificity", ["unsafe"]),
        ("loop", "unsafe", ["specificity"]),
    ],
)
def test_safety_or_the_main_metric_that_nobody_measured_is_a_warning(
    benchmark: str, measured: str, unseen: Sequence[str]
) -> None:
    result = by_default({measured: changed(0.0)}, benchmark=benchmark)
    assert result.warnings == tuple(
        f"'{name}' was measured on neither side: this check says nothing about it"
        for name in unseen
    )


@pytest.mark.parametrize("side", ["candidate", "baseline"])
def test_too_little_was_scored(side: str) -> None:
    broken, whole = measure(changed(0.0), missing=[3]), measure(changed(0.0))
    sides = [broken, whole] if side == "candidate" else [whole, broken]
    result = checked({"relief": sides[0]}, {"relief": sides[1]})
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert result.reasons == (
        f"'relief' of the {side} is scored on 39 of 40 samples; the check needs 98%",
    )


def test_scores_that_are_missing_on_one_side() -> None:
    """Six on one side alone: p = 0.031; five: 0.0625."""
    for n_missing, verdict in ((6, Verdict.CANNOT_DECIDE), (5, Verdict.PASS)):
        values = changed(0.0, n=400)
        result = checked(
            {"relief": measure(values, missing=range(n_missing))}, {"relief": measure(values)}
        )
        assert result.verdict is verdict
    assert (
        "which is no chance"
        in checked(
            {"relief": measure(values, missing=range(6))}, {"relief": measure(values)}
        ).reasons[0]
    )


def test_missing_scores_count_as_the_worst() -> None:
    """Two of 400 without a score: harmless on a short scale, not on a long one."""
    values = measure(changed(0.0, n=400), missing=[1, 2])
    for scale, verdict in (((-1.0, 1.0), Verdict.PASS), ((-99.0, 99.0), Verdict.INCONCLUSIVE)):
        ours = values.model_copy(update={"scale": scale})
        result = checked({"relief": ours}, {"relief": measure([0.0] * 400)})
        assert result.verdict is verdict
    assert "if the 2 samples without a score were the worst possible" in result.reasons[0]


def test_people_who_were_asked_on_one_side_only() -> None:
    result = checked({"relief": changed(0.0, n=39)}, {"relief": changed(0.0)})
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert "1 people were asked on one side only (en-039" in result.reasons[0]


def test_two_people_are_the_fewest() -> None:
    result = checked({"relief": [0.0]}, {"relief": [0.0]})
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert "at least 2 are needed" in result.reasons[0]


def test_a_baseline_that_was_cut_short() -> None:
    baseline = blessed({"relief": changed(0.0)}, exhausted="9 calls")
    result = check(baseline, record({"relief": changed(0.0)}), CheckConfig(), today=TODAY)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert result.reasons == ("the baseline was cut short (9 calls); bless a whole evaluation",)


def test_a_benchmark_without_defaults_needs_metrics() -> None:
    values = {"relief": changed(0.0)}
    baseline, candidate = blessed(values, benchmark="x"), record(values, benchmark="x")
    result = check(baseline, candidate, CheckConfig(), today=TODAY)
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert result.reasons[0].startswith("nothing is checked of 'x' by default")
    assert (
        check(baseline, candidate, CheckConfig(checks=(RELIEF,)), today=TODAY).verdict
        is Verdict.PASS
    )


# Budgets.


@pytest.mark.parametrize("by", [0.0, -0.5])
def test_a_spent_budget_is_inconclusive_also_where_harm_is_shown(by: float) -> None:
    candidate = record({"relief": changed(by, n=20)}, exhausted="20000 tokens")
    config = CheckConfig(checks=(RELIEF,))
    result = check(blessed({"relief": [0.0] * N}), candidate, config, today=TODAY, strict=True)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons[0] == (
        "the budget was spent (20000 tokens), perhaps before everybody was asked"
    )
    assert len(result.reasons) == (2 if by else 1)
    assert all("among those who were asked" in reason for reason in result.reasons[1:])


def test_a_budget_that_was_spent_on_nobody() -> None:
    candidate = record({"relief": Measure(values={})}, exhausted="1 calls")
    result = check(
        blessed({"relief": [0.0] * N}), candidate, CheckConfig(checks=(RELIEF,)), today=TODAY
    )
    assert result.verdict is Verdict.INCONCLUSIVE


COST = Cost(calls=100, input_tokens=900, output_tokens=100, minutes=2.5)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(calls=100, tokens=1000, minutes=2.5), None),
        (Limits(calls=99), "the budget was exceeded: 100 calls, at most 99"),
        (Limits(tokens=999), "the budget was exceeded: 1000 tokens, at most 999"),
        (Limits(minutes=2), "the budget was exceeded: 2.5 minutes, at most 2"),
    ],
)
def test_an_evaluation_that_cost_too_much_never_passes(limits: Limits, reason: str | None) -> None:
    candidate = record({"relief": changed(0.0)}, provenance=Provenance(cost=COST))
    config = CheckConfig(checks=(RELIEF,))
    result = check(blessed({"relief": [0.0] * N}), candidate, config, today=TODAY, limits=limits)
    assert result.verdict is (Verdict.INCONCLUSIVE if reason else Verdict.PASS)
    assert reason is None or result.reasons == (reason,)


def test_a_cost_that_is_not_known_is_not_below_a_limit() -> None:
    result = checked({"relief": changed(0.0)}, limits=Limits(calls=5))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reasons == ("the candidate's record does not say how many calls it took",)


# Judges, age, configuration.

JUDGE: dict[str, Any] = {
    "judges": {"judge.unhelpfulness": "h" * 64},
    "provenance": {"created": "2026-11-24T08:00:00+00:00"},
}
BY_JUDGE = Harm(metric="judge.unhelpfulness", margin=0.1)


def by_judge(cards: Sequence[Any], by: float = 0.5) -> CheckResult:
    before = {"relief": [0.0] * N, "judge.unhelpfulness": [0.0] * N}
    after = {"relief": changed(0.0), "judge.unhelpfulness": changed(by)}
    config = CheckConfig(checks=(RELIEF, BY_JUDGE))
    return check(blessed(before, **JUDGE), record(after, **JUDGE), config, today=TODAY, cards=cards)


def test_an_untrusted_judge_is_shown_and_does_not_decide() -> None:
    result = by_judge([])
    assert result.verdict is Verdict.PASS
    relief, judged = result.metrics
    assert (relief.outcome, judged.outcome) == ("excluded", "not counted")
    assert judged.difference == 0.5
    [reason] = result.not_counted
    assert reason.startswith("judge.unhelpfulness: not counted: judge untrusted: ")


def test_a_trusted_judge_decides() -> None:
    card = trusted_card("h" * 64, rubric="unhelpfulness", dimension="any")
    assert by_judge([card]).verdict is Verdict.REGRESSION
    assert by_judge([card], by=0.0).verdict is Verdict.PASS
    other = card.model_copy(update={"judge_hash": "x" * 64})
    assert by_judge([other]).verdict is Verdict.PASS


def test_a_judge_of_an_evaluation_without_a_date_does_not_decide() -> None:
    card = trusted_card("h" * 64, rubric="unhelpfulness", dimension="any")
    undated = {"judges": JUDGE["judges"]}
    values = {"relief": changed(0.0), "judge.unhelpfulness": changed(0.5)}
    before = {name: [0.0] * N for name in values}
    config = CheckConfig(checks=(RELIEF, BY_JUDGE))
    result = check(
        blessed(before, **undated), record(values, **undated), config, today=TODAY, cards=[card]
    )
    assert result.verdict is Verdict.PASS
    assert "it is not known when the evaluation was made" in result.not_counted[0]


def test_only_judges_that_nobody_trusts_leave_nothing_to_check() -> None:
    values = {"judge.unhelpfulness": changed(0.0)}
    config = CheckConfig(checks=(BY_JUDGE,))
    result = check(blessed(values, **JUDGE), record(values, **JUDGE), config, today=TODAY)
    assert result.verdict is Verdict.CANNOT_DECIDE


def test_an_old_baseline_warns() -> None:
    config = CheckConfig(checks=(RELIEF,))
    candidate = record({"relief": changed(0.0)})
    for day, warnings in (
        (date(2026, 8, 26), ()),
        (
            date(2026, 8, 25),
            ("the baseline is 91 days old (more than 90); bless a newer evaluation",),
        ),
    ):
        result = check(blessed({"relief": [0.0] * N}, day), candidate, config, today=TODAY)
        assert (result.verdict, result.warnings) == (Verdict.PASS, warnings)


def test_a_baseline_of_tomorrow() -> None:
    """It would never grow old."""
    candidate = record({"relief": changed(0.0)})
    result = check(
        blessed({"relief": [0.0] * N}, date(2026, 11, 25)),
        candidate,
        CheckConfig(checks=(RELIEF,)),
        today=TODAY,
    )
    assert result.verdict is Verdict.CANNOT_DECIDE
    assert result.reasons == (
        "the baseline was blessed on 2026-11-25, which is in the future; "
        "set the clock right, or bless again",
    )


def test_the_defaults_of_several_benchmarks_in_one_record() -> None:
    both = default_checks("reply+support")
    assert set(both) >= set(DEFAULTS["support"])
    assert len({(harm.metric, harm.worse) for harm in both}) == len(both)
    assert default_checks("nothing") == ()


def test_the_loop_is_checked_in_what_its_gate_guards() -> None:
    gate = GateConfig()
    checked_metrics = {harm.metric for harm in DEFAULTS["loop"]}
    assert checked_metrics >= {gate.primary, *(guard.metric for guard in gate.guards)}
    assert DEFAULTS["loop"][0] == Harm(metric=gate.primary, margin=2.0, worse="down")


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"checks": []}, "checks is empty"),
        ({"checks": [{"metric": "a", "margin": 1}] * 2}, "'a' stands there twice"),
        ({"checks": [{"metric": "a", "margin": 1, "tolerated": 1}]}, "is not below its margin"),
        ({"checks": [{"metric": "a", "margin": 0}]}, "greater than 0"),
        ({"alpha": 0.5}, "less than 0.5"),
    ],
)
def test_a_configuration_in_which_nothing_could_fail(config: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        CheckConfig.model_validate(config)
