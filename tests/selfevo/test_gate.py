import re
from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.records import Measure, RunRecord
from selfevo.decision import Decision, Verdict, hold
from selfevo.gate import decide
from selfevo.gate_config import GateConfig, Guard
from tests.records import Values, make_measure, make_record

COPY_GUARD = Guard(metric="copy_rate", margin=0.05)
PRIMARY_ONLY = GateConfig(delta_min=1.0, control_length=False, guards=(), caps=())


def record(checkpoint: str = "m0", suite: str = "suite", **measures: Values) -> RunRecord:
    return make_record(checkpoint, suite=suite, **measures)


def gate(**changes: Any) -> GateConfig:
    """A gate of so many rules: no length, no guards, no caps but what is given."""
    return GateConfig(**{"control_length": False, "guards": (), "caps": (), **changes})


def gained(differences: Sequence[float], config: GateConfig) -> Decision:
    """The verdict on a candidate that differs from a champion at 0 by so much, person by person."""
    champion = record(specificity=[0.0] * len(differences))
    return decide(record("m1", specificity=differences), champion, config)


def promotions(
    rng: np.random.Generator, n_runs: int, config: GateConfig, *, gain: float, harm: float
) -> float:
    """Share of promotions when the true changes of the two metrics are known."""
    promoted = 0
    for _ in range(n_runs):
        people, copying = rng.normal(10, 5, size=30), rng.uniform(0, 0.2, size=30)
        champion = record(
            specificity=people + rng.normal(0, 3, size=30),
            copy_rate=copying + rng.normal(0, 0.05, size=30),
        )
        candidate = record(
            "m1",
            specificity=people + gain + rng.normal(0, 3, size=30),
            copy_rate=copying + harm + rng.normal(0, 0.05, size=30),
        )
        promoted += decide(candidate, champion, config).promoted
    return promoted / n_runs


def test_noise_is_never_promoted_and_rarely_settled_with_few_people() -> None:
    rng = np.random.default_rng(3)
    decisions = [gained(rng.normal(0, 6, size=8), PRIMARY_ONLY) for _ in range(20)]
    verdicts = [decision.verdict for decision in decisions]
    assert verdicts.count(Verdict.HOLD) > 12
    assert verdicts.count(Verdict.PROMOTE) < 4


def test_a_clear_gain_with_guards_intact_is_promoted() -> None:
    rng = np.random.default_rng(4)
    assert promotions(rng, 10, gate(guards=(COPY_GUARD,)), gain=6, harm=0) > 0.95


def test_a_gain_that_is_ruled_out_is_rejected() -> None:
    decision = gained([0.1, -0.2, 0.3, 0.0, -0.1, 0.2, 0.0, 0.1], PRIMARY_ONLY)
    assert decision.verdict is Verdict.REJECT
    assert "a gain of 1 is ruled out" in decision.reasons[0]


def test_an_unchanged_model_is_rejected_even_without_a_smallest_gain() -> None:
    decision = gained([0.0] * 10, gate(delta_min=0, guards=()))
    assert decision.verdict is Verdict.REJECT
    assert "a gain is ruled out" in decision.reasons[0]


def test_ten_bits_won_by_copying_are_rejected() -> None:
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.03, size=(2, 24))
    champion = record(specificity=[4.0] * 24, copy_rate=0.05 + noise[0])
    copier = record("m1", specificity=14.0 + rng.normal(0, 2, size=24), copy_rate=0.21 + noise[1])
    decision = decide(copier, champion, gate(guards=(COPY_GUARD,)))
    assert decision.verdict is Verdict.REJECT
    assert [c.outcome for c in decision.comparisons] == ["passed", "failed"]
    assert any("copy_rate" in reason and "worse by 0.05" in reason for reason in decision.reasons)


def test_copying_that_few_people_cannot_show_is_held() -> None:
    champion = record(specificity=[4.0] * 4, copy_rate=[0.0, 0.1, 0.0, 0.1])
    copier = record("m1", specificity=[13.0, 15.0, 14.0, 14.0], copy_rate=[0.5, 0.1, 0.1, 0.14])
    decision = decide(copier, champion, gate(guards=(COPY_GUARD,)))
    assert decision.verdict is Verdict.HOLD
    assert re.search(r"copy_rate .*not ruled out; about \d+ more people", decision.reasons[0])


@pytest.mark.parametrize(("worse", "verdict"), [("up", "PROMOTE"), ("down", "REJECT")])
def test_a_guard_looks_in_its_own_direction(worse: str, verdict: str) -> None:
    guard = Guard.model_validate({"metric": "length", "margin": 8.0, "worse": worse})
    champion = record(specificity=[0.0] * 5, length=[30.0, 31.0, 32.0, 33.0, 34.0])
    shorter = record("m1", specificity=[5.0] * 5, length=[10.0, 11.0, 12.0, 13.0, 15.0])
    assert decide(shorter, champion, gate(guards=(guard,))).verdict == verdict


@pytest.mark.parametrize(
    ("differences", "state", "more"),
    [
        # mean 1, sd 3.207: 6.1826 * 3.207^2 / 1^2 = 63.6, so 66 people
        ([4.0, -2.0] * 4, "no gain shown", 58),
        # mean 0, sd 3.207, a gain of 1 is as far: the same number
        ([3.0, -3.0] * 4, "no gain shown", 58),
        # mean 2, sd 6.414: twice as far, twice as noisy
        ([8.0, -4.0] * 4, "no gain shown", 58),
        # mean 0.25, sd 3.207, nearer to 0 than to 1: 6.1826 * 3.207^2 / 0.75^2 = 113.1, so 116
        ([3.25, -2.75] * 4, "no gain shown", 108),
        # mean 0.8, sd 0.535, 0.2 below delta_min: 6.1826 * 0.535^2 / 0.2^2 = 44.2, so 47
        ([0.3, 1.3] * 4, "a gain, but less than 1", 39),
    ],
)
def test_hold_names_how_many_more_people(differences: list[float], state: str, more: int) -> None:
    decision = gained(differences, PRIMARY_ONLY)
    assert decision.verdict is Verdict.HOLD
    assert f"{state}; about {more} more people would settle it" in decision.reasons[0]


@pytest.mark.parametrize("differences", [[4.0, -2.0], [3.0, -3.0], [0.3, 1.3]])
def test_that_many_people_settle_it_if_nothing_else_changes(differences: list[float]) -> None:
    held = gained(differences * 4, PRIMARY_ONLY)
    found = re.search(r"about (\d+) more", held.reasons[0])
    assert found
    n = 8 + int(found[1])
    enough = gained(differences * ((n + 1) // 2), PRIMARY_ONLY)
    assert enough.verdict in (Verdict.PROMOTE, Verdict.REJECT)


def test_instructions_are_not_called_people() -> None:
    guard = Guard(metric="retention", margin=0.1, worse="down")
    champion = record(specificity=[0.0] * 4, retention=[-1.0, -1.0, -1.0, -1.0])
    gains = [5.0, 5.1, 4.9, 5.0]
    candidate = record("m1", specificity=gains, retention=[-1.3, -0.9, -1.2, -0.8])
    decision = decide(candidate, champion, gate(guards=(guard,)))
    assert "more instructions would settle it" in decision.reasons[0]


def test_different_suites_are_an_error() -> None:
    decision = decide(
        record("m1", suite="b", specificity=[9.0] * 4), record(specificity=[0.0] * 4), PRIMARY_ONLY
    )
    assert decision.verdict is Verdict.ERROR
    assert "different suites: people (b and suite)" in decision.reasons[0]


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_a_missing_measure_is_an_error(side: str) -> None:
    full = record(specificity=[1.0, 2.0], copy_rate=[0.0, 0.0])
    lacking = record(specificity=[1.0, 2.0])
    candidate, champion = (lacking, full) if side == "candidate" else (full, lacking)
    decision = decide(candidate, champion, gate(guards=(COPY_GUARD,)))
    assert decision.verdict is Verdict.ERROR
    assert f"the {side} has no measure 'copy_rate'" in decision.reasons[0]


@pytest.mark.parametrize(
    ("scored", "total", "needed", "is_enough"),
    [(49, 50, 0.98, True), (48, 50, 0.98, False)],
)
@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_low_coverage_of_a_side_is_an_error(
    scored: int, total: int, needed: float, is_enough: bool, side: str
) -> None:
    lost = {f"failed-{i:02}": 9.0 for i in range(total - scored)}
    full = record(specificity={**make_measure([9.0] * scored).values, **lost})
    partial = full.model_copy(
        update={"measures": {"specificity": make_measure([0.0] * scored, failed=total - scored)}}
    )
    candidate, champion = (partial, full) if side == "candidate" else (full, partial)
    config = gate(delta_min=1, guards=(), min_coverage=needed)
    decision = decide(candidate, champion, config)
    assert (decision.verdict is not Verdict.ERROR) == is_enough
    if not is_enough:
        assert f"of the {side} is scored on {scored} of {total}" in decision.reasons[0]


def test_coverage_is_exact() -> None:  # 0.07 * 100 is more than 7 in floating point
    partial = record().model_copy(
        update={"measures": {"specificity": make_measure([9.0] * 7, failed=93)}}
    )
    assert decide(partial, partial, gate(min_coverage=0.07)).verdict is not Verdict.ERROR


def test_scores_missing_on_one_side_are_an_error() -> None:
    lost = {f"failed-{i:02}": 9.0 for i in range(6)}
    full = record(specificity={**make_measure([9.0] * 300).values, **lost})
    partial = record("m1").model_copy(
        update={"measures": {"specificity": make_measure([10.0] * 300, failed=6)}}
    )
    decision = decide(partial, full, gate())
    assert decision.verdict is Verdict.ERROR
    assert (
        "unscored for 6 people of the candidate alone and 0 of the champion" in decision.reasons[0]
    )


def test_a_measure_of_nothing_is_an_error() -> None:
    nothing = record(specificity=[])
    decision = decide(nothing, nothing, PRIMARY_ONLY)
    assert decision.verdict is Verdict.ERROR
    assert "scored on 0 of 0 samples" in decision.reasons[0]


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_fewer_people_on_a_side_are_an_error(side: str) -> None:
    """Whoever drops those to whom it did no good would be promoted."""
    base = {f"p{i}": float(i) for i in range(20)}
    better = {
        person: value + (9.0 if i < 12 else -9.0) for i, (person, value) in enumerate(base.items())
    }
    picked = dict(list(better.items())[:12])
    ours, theirs = record("m1", specificity=picked), record(specificity=base)
    sides = (ours, theirs) if side == "candidate" else (theirs, ours)
    decision = decide(*sides, PRIMARY_ONLY)
    assert decision.verdict is Verdict.ERROR
    assert "'specificity': 8 people were asked on one side only (p12, ...)" in decision.reasons[0]


def test_people_are_compared_with_themselves() -> None:
    base = {f"p{i}": 10.0 * i for i in range(10)}  # people differ far more than the models
    better = {person: value + 2 + 0.1 * (i % 3) for i, (person, value) in enumerate(base.items())}
    assert decide(record("m1", specificity=better), record(specificity=base), PRIMARY_ONLY).promoted
    mixed_up = dict(zip(better, reversed(better.values()), strict=True))
    decision = decide(record("m1", specificity=mixed_up), record(specificity=base), PRIMARY_ONLY)
    assert decision.verdict is Verdict.HOLD


def test_shown_means_are_of_the_people_compared() -> None:
    champion = record(specificity={"ann": 1.0, "ben": 2.0, "lost": 900.0})
    candidate = record("m1").model_copy(
        update={
            "measures": {
                "specificity": Measure(values={"ann": 4.0, "ben": 7.0}, missing={"lost": 1})
            }
        }
    )
    [comparison] = decide(candidate, champion, gate(guards=(), min_coverage=0.5)).comparisons
    assert (comparison.champion, comparison.candidate) == (1.5, 5.5)
    assert comparison.difference == 4.0
    assert comparison.n == 2


people = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
    min_size=2,
    max_size=12,
)


@settings(deadline=None, max_examples=25)
@given(people, st.randoms())
def test_the_order_of_people_does_not_matter(
    values: dict[str, tuple[int, int]], random: Random
) -> None:
    def verdict_on(names: Sequence[str]) -> Decision:
        candidate = record("m1", specificity={name: values[name][0] for name in names})
        champion = record(specificity={name: values[name][1] for name in reversed(names)})
        return decide(candidate, champion, PRIMARY_ONLY)

    names = list(values)
    shuffled = list(values)
    random.shuffle(shuffled)
    assert verdict_on(names) == verdict_on(shuffled)


@settings(deadline=None, max_examples=25)
@given(people)
def test_swapping_the_sides_flips_the_sign(values: dict[str, tuple[int, int]]) -> None:
    ours = record("m1", specificity={name: pair[0] for name, pair in values.items()})
    theirs = record(specificity={name: pair[1] for name, pair in values.items()})
    one, other = decide(ours, theirs, PRIMARY_ONLY), decide(theirs, ours, PRIMARY_ONLY)
    [a], [b] = one.comparisons, other.comparisons
    assert (b.difference, b.lower, b.upper) == (-a.difference, -a.upper, -a.lower)
    assert (b.champion, b.candidate) == (a.candidate, a.champion)
    assert not (one.promoted and other.promoted)


def test_a_decision_survives_the_disk() -> None:
    decision = gained([4.0, -2.0] * 4, PRIMARY_ONLY)
    assert Decision.model_validate_json(decision.model_dump_json()) == decision
    assert (decision.champion, decision.candidate) == ("m0", "m1")


def test_a_round_without_a_candidate_is_held() -> None:
    decision = hold("too few pairs (3 < 8)")
    assert decision.verdict is Verdict.HOLD
    assert not decision.promoted
    assert decision.candidate is None
