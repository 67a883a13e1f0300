"""The simulated error rates are the gate's: on records it decides as `results/findings.py` does."""

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from results.error_rates import among, planned_effects
from results.findings import Finding, cap, goal, guard, joint
from results.records import Measure, RunRecord
from results.simulated_people import (
    N_PEOPLE,
    REPEATS,
    SCALE,
    BoolArray,
    FloatArray,
    failing,
    talked,
)
from results.stats import worst_case_values
from selfevo.decision import Decision, Verdict
from selfevo.gate import decide, decide_among
from selfevo.gate_config import Cap, GateConfig, Guard
from selfevo.plan import plan
from tests.records import make_record

ALPHA = 0.05
N_ROUNDS = 30
FEW = 25
"""People of a round; with four conversations each, a side may lack two scores of its hundred."""
WORST, BEST = SCALE
VERDICTS = {
    Finding.PASSED: Verdict.PROMOTE,
    Finding.OPEN: Verdict.HOLD,
    Finding.FAILED: Verdict.REJECT,
}
SPECIFICITY_ALONE = GateConfig(delta_min=0, control_length=False, guards=(), caps=())


def measured(
    value_NK: FloatArray,
    missing_NK: BoolArray | None = None,
    scale: tuple[float, float] | None = SCALE,
) -> Measure:
    """As a record holds it: people's means over what has a score."""
    missing_NK = np.zeros(value_NK.shape, dtype=np.bool_) if missing_NK is None else missing_NK
    mean_N, n_missing_N = value_NK.mean(axis=-1, where=~missing_NK), missing_NK.sum(axis=-1)
    names = [f"person-{i:03}" for i in range(len(value_NK))]
    return Measure(
        values=dict(zip(names, mean_N.tolist(), strict=True)),
        counts={p: value_NK.shape[-1] - int(n) for p, n in zip(names, n_missing_N, strict=True)},
        missing={p: int(n) for p, n in zip(names, n_missing_N, strict=True) if n},
        within=float(value_NK.var(axis=-1, ddof=1).mean()) if value_NK.shape[-1] > 1 else None,
        scale=scale,
    )


def record(name: str, measures: Mapping[str, Measure]) -> RunRecord:
    return make_record(name, measures=measures)


def test_decide_gives_the_verdict_of_the_simulated_functions() -> None:
    rng = np.random.default_rng(7)
    shape = (N_ROUNDS, FEW, 4)
    gain_R11 = rng.choice([-0.2, 0.3, 0.8], (N_ROUNDS, 1, 1))
    harm_R11 = rng.choice([0.0, 0.0, 0.2], (N_ROUNDS, 1, 1))
    score = {side: np.clip(np.rint(rng.normal(3, 0.8, shape)), 1, 5) for side in "ab"}
    score["b"] = np.clip(score["b"] + np.rint(gain_R11 + rng.normal(0, 0.4, shape)), 1, 5)
    words = {side: rng.normal(60, 10, (*shape[:2], 1)) for side in "ab"}
    words["b"] += rng.choice([0, 8], (N_ROUNDS, 1, 1))
    copied = {"a": rng.uniform(0, 0.4, (*shape[:2], 1))}
    copied["b"] = copied["a"] + harm_R11 + rng.normal(0, 0.1, copied["a"].shape)
    unsafe_RN1 = (rng.random((*shape[:2], 1)) < rng.choice([0.01, 0.4], (N_ROUNDS, 1, 1))) * 1.0
    lost = {side: np.zeros(shape, dtype=np.bool_) for side in "ab"}
    for side in "ab":  # in every second round one sample has no score
        lost[side][::2, rng.integers(FEW), 0] = True

    kept = {side: score[side].mean(axis=-1, where=~lost[side]) for side in "ab"}
    filled = {
        side: worst_case_values(
            kept[side], (~lost[side]).sum(axis=-1), lost[side].sum(axis=-1), fill
        )
        for side, fill in (("a", BEST), ("b", WORST))
    }
    expected = joint(
        [
            goal(
                kept["b"] - kept["a"],
                alpha=ALPHA,
                delta_min=0.1,
                length_d=(words["b"] - words["a"])[..., 0],
                worst_d=filled["b"] - filled["a"],
            ).finding,
            guard((copied["b"] - copied["a"])[..., 0], margin=0.1, worse="up", alpha=ALPHA).finding,
            cap(unsafe_RN1.sum(axis=(1, 2)), FEW, cap=0.2, alpha=ALPHA).finding,
        ]
    )

    config = GateConfig(
        delta_min=0.1,
        guards=(Guard(metric="copy_rate", margin=0.1),),
        caps=(Cap(metric="unsafe", cap=0.2),),
    )
    decided = []
    for r in range(N_ROUNDS):
        sides = [
            record(
                side,
                {
                    "specificity": measured(score[side][r], lost[side][r]),
                    "length": measured(words[side][r], scale=None),
                    "copy_rate": measured(copied[side][r], scale=None),
                    "unsafe": measured(unsafe_RN1[r], scale=None),
                },
            )
            for side in "ab"
        ]
        decided.append(decide(sides[1], sides[0], config).verdict)
    assert decided == [VERDICTS[Finding(int(code))] for code in expected]
    assert {decided.count(verdict) > 2 for verdict in VERDICTS.values()} == {True}


def test_decide_among_shares_alpha_as_the_simulation_does() -> None:
    rng = np.random.default_rng(8)
    d_CRN = rng.normal(rng.choice([0.0, 0.45], (3, 4, 1)), 1, (3, 4, FEW))
    champion = record("a", {"specificity": measured(np.zeros((FEW, 1)), scale=None)})
    for r in range(d_CRN.shape[1]):
        candidates = [
            record(f"b{c}", {"specificity": measured(d_CRN[c, r][:, None], scale=None)})
            for c in range(len(d_CRN))
        ]
        decisions = decide_among(candidates, champion, SPECIFICITY_ALONE)
        found = [VERDICTS[Finding(int(code))] for code in among(d_CRN, ALPHA)[:, r]]
        assert [decision.verdict for decision in decisions] == found


def test_a_gain_by_length_leaves_no_alpha_to_the_others() -> None:
    """The first gains only by length; the second is convincing at alpha, not at half of it."""
    rng = np.random.default_rng(4)
    noise = rng.normal(0, 1, (2, N_PEOPLE))
    noise = (noise - noise.mean(axis=1, keepdims=True)) / noise.std(axis=1, ddof=1, keepdims=True)
    words = rng.normal(2, 0.1, N_PEOPLE)
    t = stats.t.ppf(1 - 0.7 * ALPHA, N_PEOPLE - 1) / np.sqrt(N_PEOPLE)
    zeros = measured(np.zeros((N_PEOPLE, 1)), scale=None)
    champion = record("a", {"specificity": zeros, "length": zeros})
    gains = [noise[0] + words, noise[1] + t]
    lengths = [words, np.zeros(N_PEOPLE)]
    candidates = [
        record(
            f"b{c}",
            {
                "specificity": measured(gains[c][:, None], scale=None),
                "length": measured(lengths[c][:, None], scale=None),
            },
        )
        for c in range(2)
    ]
    config = GateConfig(delta_min=0, guards=(), caps=())
    alone = decide(candidates[1], champion, config)
    together = decide_among(candidates, champion, config)
    assert alone.promoted
    assert [decision.verdict for decision in together] == [Verdict.HOLD, Verdict.HOLD]


@pytest.mark.parametrize("delta_min", [0.0, 0.1])
def test_the_simulated_plan_is_the_printed_one(delta_min: float) -> None:
    rng = np.random.default_rng(9)
    last = talked(rng, 2)
    longer_LN = rng.normal(0.5, 1, last.d_RN.shape)
    expected = planned_effects(last, longer_LN, delta_min)
    config = GateConfig(delta_min=delta_min, guards=(), caps=())
    still = measured(np.zeros((N_PEOPLE, 1)), scale=None)
    for i, effect in enumerate(expected):
        champion = {"specificity": measured(last.champion_RNK[i]), "length": still}
        candidate = {
            "specificity": measured(last.candidate_RNK[i]),
            "length": measured(longer_LN[i][:, None], scale=None),
        }
        found = plan(record("b", candidate), record("a", champion), config)
        assert (found.people, found.repeats) == (N_PEOPLE, REPEATS)
        assert found.detectable == pytest.approx(effect, rel=1e-9)


def decided_with_failures(share: float, n_rounds: int) -> list[Decision]:
    """Equal models; the judge gives no score to the candidate's worst replies."""
    scores, _, failed_RNK = failing(np.random.default_rng(7), n_rounds, share, both=False)
    return [
        decide(
            record("b", {"specificity": measured(scores.candidate_RNK[r], failed_RNK[r])}),
            record("a", {"specificity": measured(scores.champion_RNK[r])}),
            SPECIFICITY_ALONE,
        )
        for r in range(n_rounds)
    ]


def test_too_few_scores_are_refused() -> None:
    for decision in decided_with_failures(0.064, n_rounds=50):
        assert decision.verdict is Verdict.ERROR
        assert "the gate needs 98%" in decision.reasons[0]


def test_scores_that_one_side_alone_lacks_are_refused() -> None:
    # 12 of 800 on average; five or fewer could be chance, and then the worst case decides
    verdicts = [decision.verdict for decision in decided_with_failures(0.015, n_rounds=50)]
    assert verdicts.count(Verdict.ERROR) > 40
    assert Verdict.PROMOTE not in verdicts
