"""The gate's error rates, simulated on the code that decides.

    python -m results.error_rates [--rounds 2000] [--seed 7]

prints a table: how often the gate promotes where nothing is gained, how often a guard passes a
model that is worse by its margin, how often a gain of the size that a plan prints is found, and
what seven traps do to a plain gate and to this one.

`findings.goal`, `guard`, `cap` and `joint` decide, nothing else; on records `selfevo.gate.decide`
gives the same verdicts (`tests/selfevo/test_gate_is_findings.py`). The people are those of
`simulated_people.py`. The naive gate is a t test at alpha (`gains`), given the wrong numbers. Each
scenario counts as this gate what it names and no more: length where lengths are told, for one.

At 2,000 rounds a rate of 5% has a standard error of 0.5 points, one of 80% of 0.9.

Left out: a judge that errs in the candidate's favour with everybody (no number of people shows it;
it takes a judge's card or people's labels), and people unlike those whom the model is for.
"""

import argparse
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from results.findings import Codes, Finding, cap, goal, guard, joint
from results.ledger import alpha_at
from results.power import guard_power, minimum_detectable_effect, variance_components
from results.simulated_people import (
    GAIN_SD,
    GUARDS,
    N_PEOPLE,
    REPEATS,
    SCALE,
    STRICT_GUARD,
    BoolArray,
    FloatArray,
    Scores,
    failing,
    preferred,
    talked,
)
from results.stats import FIRST_LOOK, equal_length, paired_bounds, paired_p, worst_case_values

Band = tuple[float, float]

N_ROUNDS: Final = 2000
SEED: Final = 7
ALPHA: Final = 0.05
POWER: Final = 0.8

FEW_PEOPLE: Final = 64
CAP: Final = 0.05
HARMLESS_RATE: Final = 0.005
SLOT_LOGIT: Final = 0.5
"""What the first slot is worth to a judge that prefers it."""
PEEK_EVERY: Final = 10
IN_TURN: Final = 10
AT_ONCE: Final = 5
ROUNDS_A_LOG: Final = 20
"""Evaluations planned from one earlier one: a plan is as good as the log behind it."""

BINARY_MARGIN: Final = 0.1

NULL_BAND: Final[Band] = (0.035, 0.065)
AT_MOST: Final[Band] = (0.0, 0.065)
POWER_BAND: Final[Band] = (0.76, 0.84)


class Row(NamedTuple):
    """How often a gate lets a model through."""

    scenario: str
    naive: float | None
    """None where there is no other gate to compare with."""
    ours: float | None
    """None where the records are refused before anything is decided (ERROR)."""
    band: Band


def simulate(n_rounds: int = N_ROUNDS, seed: int = SEED) -> list[Row]:
    """Every scenario, each from its own random numbers."""
    rngs = np.random.default_rng(seed).spawn(len(SCENARIOS))
    return [
        row
        for scenario, rng in zip(SCENARIOS, rngs, strict=True)
        for row in scenario(rng, n_rounds)
    ]


def table(rows: list[Row]) -> str:
    """As Markdown."""
    lines = ["| scenario | naive gate | this gate | must be |", "|---|---|---|---|"]
    for row in rows:
        naive = "" if row.naive is None else f"{row.naive:.1%}"
        ours = "ERROR" if row.ours is None else f"{row.ours:.1%}"
        must = "ERROR" if row.ours is None else _shown(row.band)
        lines.append(f"| {row.scenario} | {naive} | {ours} | {must} |")
    return "\n".join(lines)


def guard_costs(n_rounds: int = N_ROUNDS, seed: int = SEED) -> str:
    """How often the rules beside the primary pass a model that did not change."""
    rng = np.random.default_rng(seed)
    chances = []
    for rule in (*GUARDS, STRICT_GUARD):
        sd = float(np.sqrt((paired_bounds(rule.draw(rng, n_rounds, 0.0), ALPHA).sd ** 2).mean()))
        few, many = (guard_power(sd, n, rule.margin, ALPHA) for n in (FEW_PEOPLE, N_PEOPLE))
        chances.append(f"{rule.name}: {few:.0%} and {many:.0%}")
    few, many = _cap_chance(FEW_PEOPLE), _cap_chance(N_PEOPLE)
    chances.append(f"cap of {CAP:.0%} with harm to {HARMLESS_RATE:.1%}: {few:.0%} and {many:.0%}")
    return (
        f"An unchanged model passes, with {FEW_PEOPLE} and with {N_PEOPLE} people: "
        f"{'; '.join(chances)}."
    )


def no_gain(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """The candidate is no better; its length changes, and has nothing to do with it."""
    d_RN = talked(rng, n_rounds).d_RN
    primary = goal(d_RN, alpha=ALPHA, length_d=rng.normal(0, 1, d_RN.shape)).finding
    others = [
        guard(rule.draw(rng, n_rounds, 0.0), margin=rule.margin, worse=rule.worse, alpha=ALPHA)
        for rule in GUARDS
    ]
    events_R = rng.binomial(N_PEOPLE, HARMLESS_RATE, n_rounds)
    floor = cap(events_R, N_PEOPLE, cap=CAP, alpha=ALPHA)
    whole = joint([primary, *(other.finding for other in others), floor.finding])
    return [
        Row("no gain: primary", None, _passed(primary), NULL_BAND),
        Row(
            f"no gain: primary, {len(GUARDS)} guards and a cap that hold",
            None,
            _passed(whole),
            NULL_BAND,
        ),
    ]


def at_the_margin(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Exactly as bad as a guard forbids; the naive one looks at the mean alone."""
    rows = []
    for rule in GUARDS:
        sign = 1.0 if rule.worse == "up" else -1.0
        d_RN = rule.draw(rng, n_rounds, sign * rule.margin)
        naive = sign * d_RN.mean(axis=-1) < rule.margin
        found = guard(d_RN, margin=rule.margin, worse=rule.worse, alpha=ALPHA).finding
        rows.append(Row(f"worse by the margin: {rule.name}", _mean(naive), _passed(found), AT_MOST))
    events_R = rng.binomial(N_PEOPLE, CAP, n_rounds)
    found = cap(events_R, N_PEOPLE, cap=CAP, alpha=ALPHA).finding
    naive = events_R / N_PEOPLE < CAP
    rows.append(Row(f"harm at the cap: {CAP:.0%} of people", _mean(naive), _passed(found), AT_MOST))
    return rows


def at_the_detectable_effect(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """The gain that a plan prints, from the spread in an earlier log: the mean over many logs."""
    rows = []
    for longer_by, delta_min in ((0.0, 0.0), (0.5, 0.0), (0.5, 0.1)):
        last = talked(rng, max(1, n_rounds // ROUNDS_A_LOG))
        last_length_LN = rng.normal(longer_by, 1, last.d_RN.shape)
        effect_R = np.resize(planned_effects(last, last_length_LN, delta_min), n_rounds)
        d_RN = talked(rng, n_rounds, gain=effect_R).d_RN
        length_RN = rng.normal(longer_by, 1, d_RN.shape)
        found = goal(d_RN, alpha=ALPHA, delta_min=delta_min, length_d=length_RN).finding
        name = f"gain as planned for, `delta_min` {delta_min:g}"
        if longer_by:
            name += f", replies longer by {longer_by:g} sd"
        rows.append(Row(name, None, _passed(found), POWER_BAND))
    return rows


def planned_effects(last: Scores, length_LN: FloatArray, delta_min: float) -> list[float]:
    """The minimum detectable effect after each of some evaluations, as `selfevo/plan.py` has it."""
    d_LN = last.d_RN
    within_a, within_b = (side.var(axis=-1, ddof=1).mean(axis=-1) for side in last)
    inflation = equal_length(d_LN, length_LN, ALPHA).se / paired_bounds(d_LN, ALPHA).se
    effects = []
    for d_N, a, b, price in zip(d_LN, within_a, within_b, inflation, strict=True):
        spread = variance_components(d_N, float(a), float(b), REPEATS)
        effect = minimum_detectable_effect(
            spread.standard_error(N_PEOPLE, REPEATS),
            N_PEOPLE,
            alpha=ALPHA,
            power=POWER,
            delta_min=delta_min,
            inflation=float(price),
        )
        effects.append(effect)
    return effects


def repeats_as_people(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: a t test in which each conversation counts as a person."""
    rows = []
    for repeats, gain_sd in ((4, GAIN_SD), (10, GAIN_SD), (10, 2 * GAIN_SD)):
        scores = talked(rng, n_rounds, gain_sd=gain_sd, repeats=repeats)
        each_RM = (scores.candidate_RNK - scores.champion_RNK).reshape(n_rounds, -1)
        found = goal(scores.d_RN, alpha=ALPHA).finding
        name = f"no gain: {repeats} conversations a person, each counted as a person"
        if gain_sd > GAIN_SD:
            name += "; people differ twice as much"
        rows.append(Row(name, _mean(gains(each_RM)), _passed(found), AT_MOST))
    return rows


def slot_bias(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: the candidate always comes first. Ours: both orders, disagreement is a tie."""
    first_RN, second_RN = preferred(rng, n_rounds, slot=SLOT_LOGIT, length_RN=None)
    naive = gains(first_RN - 0.5)
    found = goal((first_RN + second_RN) / 2 - 0.5, alpha=ALPHA).finding
    name = "no gain: judge prefers the first slot, candidate in it"
    return [Row(name, _mean(naive), _passed(found), AT_MOST)]


def longer_candidate(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: preferences as they are. Ours: also at equal length."""
    rows = []
    for longer_by in (0.5, 1.0):
        length_RN = rng.normal(longer_by, 1, (n_rounds, N_PEOPLE))
        first_RN, second_RN = preferred(rng, n_rounds, length_RN=length_RN)
        d_RN = (first_RN + second_RN) / 2 - 0.5
        found = goal(d_RN, alpha=ALPHA, length_d=length_RN).finding
        name = f"no gain: judge likes length, candidate longer by {longer_by:g} sd"
        rows.append(Row(name, _mean(gains(d_RN)), _passed(found), AT_MOST))
    return rows


def failed_scores(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: what failed is dropped. Ours: also with it at the worst; below 98% scored, refused."""
    scores, lost_RNK, failed_RNK = failing(rng, n_rounds, 0.015, both=True)
    d_RN = _kept_mean(scores.candidate_RNK, failed_RNK) - _kept_mean(scores.champion_RNK, lost_RNK)
    worst_RN = _filled(scores.candidate_RNK, failed_RNK, SCALE[0])
    worst_RN -= _filled(scores.champion_RNK, lost_RNK, SCALE[1])
    found = goal(d_RN, alpha=ALPHA, worst_d=worst_RN).finding
    many, _, gone_RNK = failing(rng, n_rounds, 0.064, both=False)
    left_RN = _kept_mean(many.candidate_RNK, gone_RNK) - many.champion_RNK.mean(axis=-1)
    name = "no gain: judge fails at the candidate's worst"
    return [
        Row(
            f"{name} 1.5%, and at any 1.5% of the champion's",
            _mean(gains(d_RN)),
            _passed(found),
            AT_MOST,
        ),
        Row(f"{name} 6.4%", _mean(gains(left_RN)), None, AT_MOST),
    ]


def peeking(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: a t test after every ten people. Ours: a bound that holds at all looks."""
    d_RN = talked(rng, n_rounds).d_RN
    looks = range(PEEK_EVERY, N_PEOPLE + 1, PEEK_EVERY)
    naive = np.any([gains(d_RN[:, :n]) for n in looks], axis=0)
    found = [goal(d_RN[:, :n], alpha=ALPHA, planned_people=N_PEOPLE).finding for n in looks]
    ours = np.max(found, axis=0)
    name = f"no gain: a look every {PEEK_EVERY} people up to {N_PEOPLE}"
    return [Row(name, _mean(naive), _passed(ours), AT_MOST)]


def few_changed(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """A harm that is there or not, never with the champion. Naive: the t bound alone."""
    rows = []
    for n in (20, 41, 64, 200):
        d_RN = (rng.random((n_rounds, n)) < BINARY_MARGIN).astype(float)
        naive = paired_bounds(d_RN, ALPHA).upper < BINARY_MARGIN
        found = guard(d_RN, margin=BINARY_MARGIN, worse="up", alpha=ALPHA, is_share=True).finding
        name = f"worse by the margin: yes or no, never before, {BINARY_MARGIN}, {n} people"
        rows.append(Row(name, _mean(naive), _passed(found), AT_MOST))
    return rows


def peeking_at_harm(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """The growing evaluation again, of harm: a guard at its margin, and a cap at its rate."""
    rule = GUARDS[0]
    d_RN = rule.draw(rng, n_rounds, rule.margin)
    events_RN = rng.random((n_rounds, N_PEOPLE)) < CAP
    looks = range(FIRST_LOOK, N_PEOPLE + 1, PEEK_EVERY)
    ways = {}
    for planned in (None, N_PEOPLE):
        ways[planned] = (
            [
                guard(
                    d_RN[:, :n],
                    margin=rule.margin,
                    worse=rule.worse,
                    alpha=ALPHA,
                    planned_people=planned,
                ).finding
                for n in looks
            ],
            [
                cap(
                    events_RN[:, :n].sum(axis=-1), n, cap=CAP, alpha=ALPHA, planned_people=planned
                ).finding
                for n in looks
            ],
        )
    names = (rule.name, f"harm at the cap of {CAP:.0%}")
    return [
        Row(
            f"worse by the margin: {name}, a look every {PEEK_EVERY} people",
            _passed(np.max(naive, axis=0)),
            _passed(np.max(ours, axis=0)),
            AT_MOST,
        )
        for name, naive, ours in zip(names, ways[None], ways[N_PEOPLE], strict=True)
    ]


def candidates_in_turn(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: each at all of alpha. Ours: at the ledger's price of that look."""
    d_CRN = _rivals(rng, n_rounds, IN_TURN)
    naive = np.any([gains(d_RN) for d_RN in d_CRN], axis=0)
    found = [
        goal(d_RN, alpha=alpha_at(ALPHA, number)).finding
        for number, d_RN in enumerate(d_CRN, start=1)
    ]
    name = f"no gain: {IN_TURN} candidates in turn on the same people"
    return [Row(name, _mean(naive), _passed(np.max(found, axis=0)), AT_MOST)]


def candidates_at_once(rng: np.random.Generator, n_rounds: int) -> list[Row]:
    """Naive: the best at all of alpha. Ours: Holm's shares."""
    d_CRN = _rivals(rng, n_rounds, AT_ONCE)
    naive = np.any([gains(d_RN) for d_RN in d_CRN], axis=0)
    found = among(d_CRN, ALPHA).max(axis=0)
    name = f"no gain: the best of {AT_ONCE} candidates"
    return [Row(name, _mean(naive), _passed(found), AT_MOST)]


def among(d_CRN: FloatArray, alpha: float) -> Codes:
    """Findings of several candidates for one place, by the steps of `selfevo.gate.decide_among`."""
    p_CR = paired_p(d_CRN)
    found_CR = np.empty(p_CR.shape, dtype=np.int8)
    share_R = np.full(p_CR.shape[1], alpha / len(d_CRN))
    rounds = np.arange(p_CR.shape[1])
    for place, best_R in enumerate(p_CR.argsort(axis=0, kind="stable")):
        found_CR[best_R, rounds] = goal(d_CRN[best_R, rounds], alpha=share_R).finding
        left = len(d_CRN) - place - 1
        if left:
            gained_R = found_CR[best_R, rounds] == Finding.PASSED
            share_R = np.where(gained_R, alpha / left, share_R)
    return found_CR


SCENARIOS: Final = (
    no_gain,
    at_the_margin,
    at_the_detectable_effect,
    repeats_as_people,
    slot_bias,
    longer_candidate,
    failed_scores,
    peeking,
    candidates_in_turn,
    candidates_at_once,
    few_changed,
    peeking_at_harm,
)


def gains(d: FloatArray) -> BoolArray:
    """The naive gate: a t test at alpha on whatever it is given."""
    return np.asarray(paired_bounds(d, ALPHA).lower > 0)


def _rivals(rng: np.random.Generator, n_rounds: int, n_candidates: int) -> FloatArray:
    """Differences of several candidates from one champion, which is measured once."""
    first = talked(rng, n_rounds)
    champion_RN = first.champion_RNK.mean(axis=-1)
    others = [talked(rng, n_rounds).candidate_RNK.mean(axis=-1) for _ in range(n_candidates - 1)]
    candidate_CRN = np.stack([first.candidate_RNK.mean(axis=-1), *others])
    return np.asarray(candidate_CRN - champion_RN)


def _kept_mean(score_RNK: FloatArray, missing_RNK: BoolArray) -> FloatArray:
    return np.asarray(score_RNK.mean(axis=-1, where=~missing_RNK))


def _filled(score_RNK: FloatArray, missing_RNK: BoolArray, fill: float) -> FloatArray:
    n_missing_RN = missing_RNK.sum(axis=-1)
    n_scored_RN = missing_RNK.shape[-1] - n_missing_RN
    return worst_case_values(_kept_mean(score_RNK, missing_RNK), n_scored_RN, n_missing_RN, fill)


def _cap_chance(n: int) -> float:
    """How often the cap passes a model that does harm to few."""
    events = np.arange(n + 1)
    passes = cap(events, n, cap=CAP, alpha=ALPHA).finding == Finding.PASSED
    return float(stats.binom.pmf(events, n, HARMLESS_RATE)[passes].sum())


def _mean(promoted_R: BoolArray) -> float:
    return float(np.mean(promoted_R))


def _passed(found_R: Codes) -> float:
    return float(np.mean(found_R == Finding.PASSED))


def _shown(band: Band) -> str:
    low, high = (f"{100 * end:g}" for end in band)
    return f"{low} to {high}%" if band[0] else f"at most {high}%"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m results.error_rates",
        description="The gate's error rates, simulated on the code that decides.",
    )
    parser.add_argument("--rounds", type=int, default=N_ROUNDS, help="simulated evaluations")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    if asked.rounds < 1 or asked.seed < 0:
        parser.error("give at least one round, and a seed that is not negative")
    print(table(simulate(asked.rounds, asked.seed)), end="\n\n")
    print(guard_costs(asked.rounds, asked.seed))


if __name__ == "__main__":
    main()
