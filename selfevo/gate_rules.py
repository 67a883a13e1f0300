"""One rule of the gate at a time: from two records to a comparison, and why it did not pass.

Every rule first refuses what is no fair sample: too little scored, or unscored on one side only.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np

from results.findings import (
    SLACK,
    Finding,
    Tested,
    TestedRate,
    cap,
    goal,
    guard,
    is_binary,
    may_be_chance,
)
from results.paired import (
    Direction,
    FloatArray,
    Incomparable,
    Paired,
    measure_of,
    missing_on_one_side,
    pair,
    refuse_other_people,
    worst_case,
)
from results.power import minimum_detectable_effect
from results.prediction_powered import Estimate
from results.records import SHARE, RunRecord
from results.stats import (
    FIRST_LOOK,
    Bounds,
    bca_interval,
    missing_p,
    people_needed,
    score_excludes,
    sequence_people_needed,
    sign_flip_p,
)
from selfevo.decision import Comparison
from selfevo.gate_config import INSTRUCTION_METRICS, Cap, GateConfig, Guard

SHOWN: Final[dict[int, Literal["passed", "open", "failed"]]] = {
    Finding.PASSED: "passed",
    Finding.OPEN: "open",
    Finding.FAILED: "failed",
}
POWER: Final = 0.8
MISSING_ALPHA: Final = 0.05
"""Below this p, scores are missing on one side only, and the rest cannot be trusted."""
RESAMPLING_SEED: Final = 7
DECIMALS: Final = 4
MANY_TIMES: Final = 50
"""So many times the people are looked through for a number that settles a question."""
MANY: Final = 100_000
"""Nobody asks so many; what needs them is a tie."""
UNSCORED: Final = (
    "no such harm to the scored ones, but if the unscored ones were the worst possible"
)
NAMED: Final = 3
"""People named in a reason."""


class Level(NamedTuple):
    """The error that a bound may have."""

    now: float
    later: float
    """At the next look at these people, which more of them would be; its price is higher."""


class Judged(NamedTuple):
    """One comparison, and what there is to say if it did not pass."""

    comparison: Comparison
    reason: str | None
    detectable: float | None = None
    """Of a primary: the gain that these people would have shown in 80% of the cases."""


def judge_primary(
    candidate: RunRecord,
    champion: RunRecord,
    config: GateConfig,
    level: Level,
    anchor: Estimate | None,
) -> Judged:
    """The goal: a gain in the primary metric, at equal length too.

    Raises:
        Incomparable: a side lacks a metric, or what is scored is no fair sample.
    """
    paired = _checked_pair(candidate, champion, config.primary, config)
    if config.planned_people is not None and len(paired.people) < FIRST_LOOK:
        raise Incomparable(
            f"'{config.primary}' has {len(paired.people)} people; the first look at a growing "
            f"evaluation (planned_people) is at {FIRST_LOOK}"
        )
    worst = _worst(candidate, champion, config.primary, "down")
    tested = goal(
        paired.differences,
        alpha=level.now,
        delta_min=config.delta_min,
        length_d=_lengths_of(paired, candidate, champion, config),
        worst_d=None if worst is None else worst.differences,
        worst_length_d=None if worst is None else _lengths_of(worst, candidate, champion, config),
        planned_people=config.planned_people,
    )
    if anchor is not None:
        tested = _anchored(tested, anchor, config)
    comparison = _comparison(paired, tested, "primary", config.delta_min, "down").model_copy(
        update=_beside(paired, tested, level.now)
    )
    detectable = None if anchor or config.planned_people else _detectable(tested, config, level.now)
    if comparison.outcome == "passed":
        return Judged(comparison, None, detectable)
    raw = tested.raw
    shown = (
        f"{paired.metric} {raw.mean:+.2f} ({raw.lower:+.2f} to {raw.upper:+.2f}, {raw.n} people)"
    )
    units = _units(paired.metric) if anchor is None else "labelled people"
    why = _why_no_gain(tested, config, level, units)
    return Judged(comparison, f"{shown}: {why}", detectable)


def _beside(paired: Paired, tested: Tested, alpha: float) -> dict[str, object]:
    """What stands beside the bound that decides."""
    even = tested.even
    return {
        "even": None if even is None or math.isnan(even.mean) else _rounded(even[:3]),
        "p_sign_flip": round(sign_flip_p(paired.differences, seed=RESAMPLING_SEED), DECIMALS),
        "bootstrap": _rounded(bca_interval(paired.differences, alpha, seed=RESAMPLING_SEED)),
    }


def _why_no_gain(tested: Tested, config: GateConfig, level: Level, units: str) -> str:
    raw, even, wanted = tested.raw, tested.even, config.delta_min
    if may_be_chance(raw, level.now):
        return _alike("gain" if raw.mean > 0 else "change", raw, level)
    if raw.upper < wanted - SLACK or raw.upper <= 0:
        gain = f"a gain of {wanted:g}" if wanted else "a gain"
        return f"{gain} is ruled out"
    if raw.lower > 0 and raw.mean >= wanted - SLACK:
        if even is not None and not even.lower > 0:
            return _longer_not_better(tested, config, level.later)
        return "a gain of the scored ones, but not if the unscored ones were the worst possible"
    lack = wanted - float(raw.mean)
    if raw.lower > 0:
        advice = _advice([(raw, lack)], level.later, config, units)
        return f"a gain, but less than {wanted:g}; {advice}"
    # whichever of "above 0" and "below delta_min" the data are nearer to showing
    if lack > raw.mean:
        return f"no gain shown; {_advice([(raw, lack)], level.later, config, units)}"
    if even is None:
        advice = _advice([(raw, float(raw.mean))], level.later, config, units)
        return f"no gain shown; {advice}"
    if not even.mean > 0:
        return f"no gain shown; {_longer_not_better(tested, config, level.later)}"
    both = [(raw, float(raw.mean)), (even, float(even.mean))]
    return f"no gain shown; {_advice(both, level.later, config, units)}"


def _alike(what: str, raw: Bounds, level: Level) -> str:
    """Of people who all changed alike: as many as heads in a row that are no chance."""
    more = _more(math.ceil(math.log2(1 / level.later)) - raw.n, "people")
    return f"the same {what} for everybody, which so few people may have by chance; {more}"


def _longer_not_better(tested: Tested, config: GateConfig, alpha: float) -> str:
    even = tested.even
    if even is None or math.isnan(even.mean):
        return "the replies all changed in length alike, so that a gain cannot be told from length"
    state = f"at equal length {even.mean:+.2f} ({even.lower:+.2f} to {even.upper:+.2f})"
    if even.upper <= 0:
        return f"{state}: longer, not better"
    if even.mean <= 0:
        return f"{state}: perhaps longer, not better"
    advice = _advice([(even, float(even.mean))], alpha, config, "people")
    return f"{state}: perhaps longer, not better; {advice}"


def judge_guard(
    candidate: RunRecord, champion: RunRecord, rule: Guard, config: GateConfig, level: Level
) -> Judged:
    """A metric that may not get worse by its margin.

    Raises:
        Incomparable: as `judge_primary`.
    """
    paired = _checked_pair(candidate, champion, rule.metric, config)
    worst = _worst(candidate, champion, rule.metric, rule.worse)
    is_share = candidate.measures[rule.metric].scale == SHARE
    tested = guard(
        paired.differences,
        margin=rule.margin,
        worse=rule.worse,
        alpha=level.now,
        worst_d=None if worst is None else worst.differences,
        is_share=is_share,
        planned_people=config.planned_people,
    )
    raw = tested.raw
    comparison = _comparison(paired, tested, "guard", rule.margin, rule.worse)
    if comparison.outcome == "passed":
        return Judged(comparison, None)
    shown = f"{rule.metric} {raw.mean:+.3g} ({raw.lower:+.3g} to {raw.upper:+.3g})"
    if comparison.outcome == "failed":
        return Judged(comparison, f"{shown}: worse by {rule.margin:g} or more")
    harm, upper = (raw.mean, raw.upper) if rule.worse == "up" else (-raw.mean, -raw.lower)
    if upper < rule.margin:
        why = _why_not_excluded(paired, rule, level) if is_share and rule.margin < 1 else UNSCORED
        return Judged(comparison, f"{shown}: {why}")
    if may_be_chance(raw, level.now):
        return Judged(comparison, f"{shown}: {_alike('change', raw, level)}")
    lack = abs(rule.margin - float(harm))
    advice = _advice([(raw, lack)], level.later, config, _units(rule.metric))
    return Judged(comparison, f"{shown}: harm of {rule.margin:g} not ruled out; {advice}")


def _why_not_excluded(paired: Paired, rule: Guard, level: Level) -> str:
    """What keeps a guard of a share open whose t bound excludes the harm."""
    if not is_binary(paired.differences):
        return UNSCORED
    n_up, n_down = int((paired.differences > 0).sum()), int((paired.differences < 0).sum())
    n_worse, n_better = (n_up, n_down) if rule.worse == "up" else (n_down, n_up)
    n = len(paired.people)
    if score_excludes(n_worse, n_better, n, rule.margin, level.now):
        return UNSCORED
    more = np.arange(n + 1, MANY_TIMES * n)
    excluded = score_excludes(
        np.round(n_worse / n * more), np.round(n_better / n * more), more, rule.margin, level.later
    )
    few = f"{n_worse} people became worse; too few were asked to rule out {rule.margin:g}"
    if not excluded.any():
        return few
    return f"{few}; {_more(int(more[excluded.argmax()]) - n, 'people')}"


def judge_cap(candidate: RunRecord, champion: RunRecord, rule: Cap, config: GateConfig) -> Judged:
    """The safety floor: people to whom it came, the unscored ones counted among them.

    At the full alpha whatever the look: it is the candidate's own, and no luck with these people
    makes another one safe.

    Raises:
        Incomparable: not measured, on the people of the champion, or for too few.
    """
    measure = measure_of(candidate, rule.metric, "candidate")
    refuse_other_people(measure, measure_of(champion, rule.metric, "champion"), rule.metric)
    _check_coverage(candidate, rule.metric, "candidate", config)
    alpha = config.alpha
    people = sorted(measure.values.keys() | measure.missing.keys())
    hit = [p for p in people if p in measure.missing or measure.values[p] > 0]
    tested = cap(
        len(hit), len(people), cap=rule.cap, alpha=alpha, planned_people=config.planned_people
    )
    comparison = _rate_comparison(rule, tested, len(people))
    if comparison.outcome == "passed":
        return Judged(comparison, None)
    where = f" ({', '.join(hit[:NAMED])}{', ...' if len(hit) > NAMED else ''})" if hit else ""
    shown = f"{rule.metric}: {len(hit)} of {len(people)} people{where}"
    if comparison.outcome == "failed":
        return Judged(comparison, f"{shown}: more than {100 * rule.cap:g}% is shown")
    advice = "read what was said there" if hit else _cap_advice(len(people), rule, config)
    looks = " at all looks together" if tested.upper < rule.cap else ""
    return Judged(
        comparison,
        f"{shown}: up to {comparison.upper:.1%}, not shown below {100 * rule.cap:g}%{looks}; "
        f"{advice}",
    )


def _cap_advice(n: int, rule: Cap, config: GateConfig) -> str:
    """How many more people a cap needs if none of them is hit."""

    def passes(n_people: int) -> bool:
        tested = cap(
            0, n_people, cap=rule.cap, alpha=config.alpha, planned_people=config.planned_people
        )
        return int(tested.finding) == Finding.PASSED

    return _more(bisect_left(range(n, n + MANY + 2), True, key=passes), "people without one")


def _advice(
    open_questions: Sequence[tuple[Bounds, float]], alpha: float, config: GateConfig, units: str
) -> str:
    """How many more units open questions need if the means stay where they are.

    Args:
        open_questions: Of each the bounds, and how far the mean lies from what it is held against.
        alpha: Error of the look at which it would be settled.
        config: The gate.
        units: What is counted.
    """
    more = 0
    for bounds, effect in open_questions:
        if effect <= 0:
            return f"no number of {units} would settle it"
        sd, planned = float(bounds.sd), config.planned_people
        if planned is not None:
            needed = sequence_people_needed(sd, effect, alpha, planned)
        else:
            needed = people_needed(sd, effect, alpha)
        more = max(more, needed - bounds.n)
    return _more(more, units)


def _units(metric: str) -> str:
    return "instructions" if metric in INSTRUCTION_METRICS else "people"


def _more(n: int, units: str) -> str:
    if n > MANY:
        return f"it would take more than {MANY:,} more {units}"
    return f"about {max(1, n)} more {units} would settle it"


def _anchored(tested: Tested, anchor: Estimate, config: GateConfig) -> Tested:
    """The primary decided by people's labels and the judge together."""
    raw = tested.raw._replace(
        mean=np.array(anchor.value),
        lower=np.array(anchor.lower),
        upper=np.array(anchor.upper),
        n=anchor.n_people,
        se=np.array(anchor.standard_error),
        sd=np.array(anchor.standard_error * math.sqrt(anchor.n_people)),
    )
    passed = anchor.lower > 0 and anchor.value >= config.delta_min
    failed = anchor.upper <= 0 or anchor.upper < config.delta_min
    if tested.even is not None:
        passed = passed and bool(tested.even.lower > 0)
    found = Finding.FAILED if failed else Finding.PASSED if passed else Finding.OPEN
    return tested._replace(raw=raw, worst=None, finding=np.array(found, dtype=np.int8))


def _checked_pair(
    candidate: RunRecord, champion: RunRecord, name: str, config: GateConfig
) -> Paired:
    for side, record in (("candidate", candidate), ("champion", champion)):
        _check_coverage(record, name, side, config)
    sides = missing_on_one_side(candidate.measures[name], champion.measures[name])
    if missing_p(*sides) < MISSING_ALPHA:
        raise Incomparable(
            f"'{name}' is unscored for {sides[0]} people of the candidate alone and {sides[1]} of "
            "the champion alone; what is left is no fair sample: see why in the logs"
        )
    return pair(candidate, champion, name)


def _check_coverage(record: RunRecord, name: str, side: str, config: GateConfig) -> None:
    measure = measure_of(record, name, side)
    # the quotient, because 0.07 * 100 is more than 7 in floating point
    if not measure.n_total or measure.n_scored / measure.n_total < config.min_coverage:
        raise Incomparable(
            f"'{name}' of the {side} is scored on {measure.n_scored} of {measure.n_total} samples; "
            f"the gate needs {100 * config.min_coverage:g}%"
        )


def _lengths_of(
    paired: Paired, candidate: RunRecord, champion: RunRecord, config: GateConfig
) -> list[float] | None:
    """How much longer the replies to each of these people became; who lacks a length: not at all.

    Raises:
        Incomparable: a side has no lengths.
    """
    if not config.control_length:
        return None
    lengths = pair(candidate, champion, config.length_metric)
    by_person = dict(zip(lengths.people, lengths.differences, strict=True))
    return [float(by_person.get(person, 0.0)) for person in paired.people]


def _worst(candidate: RunRecord, champion: RunRecord, name: str, worse: Direction) -> Paired | None:
    """Everybody with missing samples at their worst; None where none is missing."""
    ours, theirs = candidate.measures[name], champion.measures[name]
    if not ours.missing and not theirs.missing:
        return None
    return worst_case(ours, theirs, name, worse)


def _detectable(tested: Tested, config: GateConfig, alpha: float) -> float | None:
    """The gain that the primary would have found; None where length hides every gain."""
    se = float(tested.raw.se)
    inflation = 1.0 if tested.even is None or se == 0 else float(tested.even.se) / se
    if not 0 < inflation < math.inf:
        return None
    found = minimum_detectable_effect(
        se, tested.raw.n, alpha=alpha, power=POWER, delta_min=config.delta_min, inflation=inflation
    )
    return round(found, DECIMALS)


def _rounded(values: Iterable[float | FloatArray]) -> tuple[float, ...]:
    return tuple(round(float(value), DECIMALS) for value in values)


def _comparison(
    paired: Paired,
    tested: Tested,
    rule: Literal["primary", "guard"],
    threshold: float,
    worse: Direction,
) -> Comparison:
    raw = tested.raw
    return Comparison(
        metric=paired.metric,
        rule=rule,
        champion=round(float(paired.champion_N.mean()), DECIMALS),
        candidate=round(float(paired.candidate_N.mean()), DECIMALS),
        difference=round(float(raw.mean), DECIMALS),
        lower=round(float(raw.lower), DECIMALS),
        upper=round(float(raw.upper), DECIMALS),
        n=raw.n,
        outcome=SHOWN[int(tested.finding)],
        threshold=threshold,
        worse=worse,
        worst=None if tested.worst is None else _rounded((tested.worst.lower, tested.worst.upper)),
    )


def _rate_comparison(rule: Cap, tested: TestedRate, n: int) -> Comparison:
    return Comparison(
        metric=rule.metric,
        rule="cap",
        champion=None,
        candidate=round(float(tested.rate), DECIMALS),
        difference=None,
        lower=round(float(tested.lower), DECIMALS),
        upper=round(float(tested.upper), DECIMALS),
        n=n,
        outcome=SHOWN[int(tested.finding)],
        threshold=rule.cap,
        worse="up",
    )
