"""One metric of the regression check at a time: does it count, and is anybody worse off in it?

A metric counts when both sides measured it completely, and no untrusted judge gave it. Every rule
first refuses what is no fair sample: too little scored, unscored on one side only, other people.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from judges.card import JudgeCard
from results.paired import (
    FloatArray,
    Incomparable,
    Paired,
    missing_on_one_side,
    pair,
    worst_case,
)
from results.records import Measure, RunRecord
from results.stats import Bound, holm, missing_p, paired_bound, paired_p, people_needed
from selfevo.check_config import CheckConfig, Harm, default_checks
from selfevo.check_result import MetricCheck, Outcome
from selfevo.gate_config import JUDGE_PREFIX
from selfevo.judge_trust import complaint

POWER: Final = 0.8
MISSING_ALPHA: Final = 0.05
"""Below this p, scores are missing on one side only."""
DECIMALS: Final = 4
ROUNDING: Final = 9
"""Decimals of a difference: beyond, it is floating point, which must not look like harm."""
CHANGE: Final = {"down": "fall", "up": "rise"}


class Tested(NamedTuple):
    """One metric; harm counts upwards, and what is tolerated is taken off."""

    rule: Harm
    paired: Paired
    harm: Bound
    worst: float
    """Upper bound of harm if each sample without a score were the worst possible."""
    n_missing: int

    @property
    def is_excluded(self) -> bool:
        """Whether harm of the margin or more is excluded."""
        return max(self.harm.upper, self.worst) < self.rule.margin - self.rule.tolerated


def counted(
    baseline: RunRecord, candidate: RunRecord, config: CheckConfig, cards: Sequence[JudgeCard]
) -> tuple[list[Harm], list[str]]:
    """The rules that decide, and why the others do not.

    Raises:
        Incomparable: none is left.
    """
    rules = config.checks or default_checks(candidate.benchmark)
    if not rules:
        raise Incomparable(
            f"nothing is checked of '{candidate.benchmark}' by default; name metrics in a --config"
        )
    counted, absent, not_counted = [], [], []
    for rule in rules:
        if rule.metric not in baseline.measures and rule.metric not in candidate.measures:
            absent.append(rule.metric)
        elif problem := _distrust(rule.metric, baseline, candidate, config, cards):
            not_counted.append(f"{rule.metric}: not counted: judge untrusted: {problem}")
        else:
            counted.append(rule)
    if absent:
        not_counted.append(f"measured on neither side: {', '.join(dict.fromkeys(absent))}")
    if not counted:
        raise Incomparable(f"nothing is left to check; {'; '.join(not_counted)}")
    return counted, not_counted


def _distrust(
    metric: str,
    baseline: RunRecord,
    candidate: RunRecord,
    config: CheckConfig,
    cards: Sequence[JudgeCard],
) -> str | None:
    """Why the judge of a metric may not be believed; None where it may, or there is none."""
    if not metric.startswith(JUDGE_PREFIX):
        return None
    rubric = metric.removeprefix(JUDGE_PREFIX)
    record = candidate if metric in candidate.measures else baseline  # one side only: told later
    judge = record.judges.get(metric)
    own = (card for card in cards if card.rubric == rubric or card.judge_hash == judge)
    return complaint(metric, record, next(own, None), config.card_days)


def tested(
    baseline: RunRecord,
    candidate: RunRecord,
    rule: Harm,
    config: CheckConfig,
    spent: Sequence[str],
) -> Tested:
    """The harm in one metric.

    Raises:
        Incomparable: it was not measured completely, or not of the same people.
    """
    ours = _measured(candidate, rule.metric, "candidate", config.min_coverage)
    theirs = _measured(baseline, rule.metric, "baseline", config.min_coverage)
    _refuse_one_sided(ours, theirs, rule.metric)
    if not spent:
        _refuse_other_people(ours, theirs, rule.metric)
    paired = pair(candidate, baseline, rule.metric)
    harm = paired_bound(_harm(paired, rule).tolist(), config.alpha)
    n_missing = sum(ours.missing.values()) + sum(theirs.missing.values())
    worst = harm.upper
    if n_missing and not spent:  # of those who were not asked, nothing is known at all
        filled = worst_case(ours, theirs, rule.metric, rule.worse)
        worst = paired_bound(_harm(filled, rule).tolist(), config.alpha).upper
    return Tested(rule, paired, harm, worst, n_missing)


def _measured(record: RunRecord, metric: str, side: str, min_coverage: float) -> Measure:
    measure = record.measures.get(metric)
    if measure is None:
        raise Incomparable(
            f"'{metric}' was not measured in the {side}, but on the other side; "
            "measure it on both, or leave it out of the --config"
        )
    # the quotient, because 0.07 * 100 is more than 7 in floating point
    if not measure.n_total or measure.n_scored / measure.n_total < min_coverage:
        raise Incomparable(
            f"'{metric}' of the {side} is scored on {measure.n_scored} of {measure.n_total} "
            f"samples; the check needs {min_coverage:.0%}"
        )
    return measure


def _refuse_one_sided(ours: Measure, theirs: Measure, metric: str) -> None:
    only_ours, only_theirs = missing_on_one_side(ours, theirs)
    p = missing_p(only_ours, only_theirs)
    if p < MISSING_ALPHA:
        raise Incomparable(
            f"'{metric}' has no score for {only_ours} people in the candidate alone and for "
            f"{only_theirs} in the baseline alone, which is no chance (p {p:.3f}); find out why"
        )


def _refuse_other_people(ours: Measure, theirs: Measure, metric: str) -> None:
    asked = [side.values.keys() | side.missing.keys() for side in (ours, theirs)]
    strangers = sorted(asked[0] ^ asked[1])
    if strangers:
        raise Incomparable(
            f"'{metric}': {len(strangers)} people were asked on one side only "
            f"({strangers[0]}, ...); evaluate the same ones"
        )


def _harm(paired: Paired, rule: Harm) -> FloatArray:
    """Worsening person by person, without what is tolerated."""
    sign = 1.0 if rule.worse == "up" else -1.0
    return np.round(sign * paired.differences - rule.tolerated, ROUNDING)


def beside(
    baseline: RunRecord, candidate: RunRecord, config: CheckConfig, counted: Sequence[str]
) -> list[MetricCheck]:
    """The metrics of untrusted judges: shown, and without a say."""
    rules = config.checks or default_checks(candidate.benchmark)
    found = []
    for rule in rules:
        both = rule.metric in baseline.measures and rule.metric in candidate.measures
        if rule.metric in counted or not both:
            continue
        try:
            paired = pair(candidate, baseline, rule.metric)
        except Incomparable:  # scored on too few, and nothing rests on it
            continue
        found.append(_numbers(rule, paired, config.alpha))
    return found


def judged(tested: Sequence[Tested], alpha: float) -> list[MetricCheck]:
    """The outcome of each metric, with Holm over all of them."""
    adjusted = holm([float(paired_p(_harm(one.paired, one.rule))) for one in tested])
    first_step = alpha / len(tested)  # what Holm leaves the most convincing of them
    return [_metric(one, p, alpha, first_step) for one, p in zip(tested, adjusted, strict=True)]


def _metric(tested: Tested, p: float, alpha: float, first_step: float) -> MetricCheck:
    outcome: Outcome = "open"
    if p < alpha:
        outcome = "shown"
    elif tested.is_excluded:
        outcome = "excluded"
    found = _numbers(tested.rule, tested.paired, alpha).model_copy(
        update={
            "p": round(p, DECIMALS),
            "detectable": _detectable(tested, first_step),
            "n_missing": tested.n_missing,
            "outcome": outcome,
        }
    )
    return found.model_copy(update={"reason": _reason(found, tested, alpha)})


def _numbers(rule: Harm, paired: Paired, alpha: float) -> MetricCheck:
    """The numbers of a metric, without a say."""
    observed = paired_bound(paired.differences.tolist(), alpha)
    return MetricCheck(
        metric=rule.metric,
        worse=rule.worse,
        margin=rule.margin,
        tolerated=rule.tolerated,
        baseline=round(float(paired.champion_N.mean()), DECIMALS),
        candidate=round(float(paired.candidate_N.mean()), DECIMALS),
        difference=round(observed.mean, DECIMALS),
        lower=round(observed.lower, DECIMALS),
        upper=round(observed.upper, DECIMALS),
        p=None,
        detectable=None,
        n=observed.n,
        n_missing=0,
        outcome="not counted",
        reason="judge untrusted",
    )


def _detectable(tested: Tested, alpha: float) -> float | None:
    """The true harm that would be shown with 80% power; None where nobody differs from another."""
    if tested.harm.sd < 10**-ROUNDING:
        return None
    n = tested.harm.n
    # close to the noncentral t, and a hundred times faster than solving for it
    quantiles = np.asarray(stats.t.ppf([1 - alpha, POWER], n - 1))
    effect = float(quantiles.sum()) * tested.harm.sd / math.sqrt(n)
    return round(tested.rule.tolerated + effect, DECIMALS)


def _reason(found: MetricCheck, tested: Tested, alpha: float) -> str:
    shown = (
        f"{found.metric} {found.difference:+.3g} "
        f"[{found.lower:+.3g}, {found.upper:+.3g}], {found.n} people"
    )
    change = f"a {CHANGE[found.worse]} of {found.margin:g}"
    if found.outcome == "shown":
        beyond = f" beyond the tolerated {found.tolerated:g}" if found.tolerated else ""
        small = f", but less than {found.margin:g}" if tested.is_excluded else ""
        return f"{shown}: harm{beyond} shown ({_p(found.p)} after Holm){small}"
    if found.outcome == "excluded":
        return f"{shown}: {change} or more excluded"
    if tested.harm.upper < found.margin - found.tolerated:
        return (
            f"{shown}: {change} or more not excluded, if the {found.n_missing} samples without a "
            "score were the worst possible"
        )
    return f"{shown}: {change} or more not excluded; {_advice(tested, alpha)}"


def _p(p: float | None) -> str:
    smallest = 10**-DECIMALS
    return f"p < {smallest:g}" if p is None or p < smallest else f"p {p:.3g}"


def _advice(tested: Tested, alpha: float) -> str:
    """How many more people would exclude the harm if the mean stays where it is."""
    effect = tested.rule.margin - tested.rule.tolerated - tested.harm.mean
    if effect <= 0:
        return "more people would rather show it"
    more = people_needed(tested.harm.sd, effect, alpha) - tested.harm.n
    return f"about {max(1, more)} more people would settle it"
