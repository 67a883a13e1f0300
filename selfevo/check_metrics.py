"""One metric of the regression check at a time: does it count, and is anybody worse off in it?

A metric counts when both sides measured it completely, and no untrusted judge gave it. Every rule
first refuses what is no fair sample: too little scored, unscored on one side only, other people.

Whether harm is excluded is the gate's own function (`results/findings.guard`): a t bound, and where
a share was 0 or 1 for everybody also a test of who changed, for a few changes have hardly any
spread.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from judges.card import JudgeCard
from results.findings import Finding, guard
from results.paired import (
    FloatArray,
    Incomparable,
    Paired,
    missing_on_one_side,
    pair,
    pair_shared,
    worst_case,
)
from results.records import SHARE, Measure, RunRecord
from results.stats import (
    Bound,
    holm,
    missing_p,
    paired_bound,
    paired_p,
    people_needed,
    score_excludes,
)
from selfevo.check_config import CheckConfig, Harm, default_checks, essential
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
MOST_TIMES: Final = 100
"""How many times as many people are worth a thought."""


class Tested(NamedTuple):
    """One metric; harm counts upwards, and what is tolerated is taken off."""

    rule: Harm
    paired: Paired
    harm: Bound
    n_missing: int
    is_excluded: bool
    """Whether harm of the margin or more is excluded, also if each sample without a score were the
    worst possible."""
    is_excluded_observed: bool
    """The same of the samples that have a score."""

    @property
    def is_bounded(self) -> bool:
        """Whether the t bound alone would exclude it."""
        return self.harm.upper < self.rule.margin - self.rule.tolerated


class Counted(NamedTuple):
    """The rules that decide, and what is to be said of the others."""

    rules: list[Harm]
    not_counted: list[str]
    warnings: list[str]
    """Metrics without which a PASS says little, and which nobody measured."""


def counted(
    baseline: RunRecord, candidate: RunRecord, config: CheckConfig, cards: Sequence[JudgeCard]
) -> Counted:
    """The rules that decide.

    Raises:
        Incomparable: none is left, or one that the configuration names was not measured.
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
    if absent and config.checks:
        raise Incomparable(_unmeasured(absent, baseline, candidate))
    warnings = [
        f"'{metric}' was measured on neither side: this check says nothing about it"
        for metric in essential(candidate.benchmark)
        if metric in absent
    ]
    if absent:
        not_counted.append(f"measured on neither side: {', '.join(dict.fromkeys(absent))}")
    if not counted:
        raise Incomparable(f"nothing is left to check; {'; '.join(not_counted)}")
    return Counted(counted, not_counted, warnings)


def _unmeasured(absent: Sequence[str], baseline: RunRecord, candidate: RunRecord) -> str:
    """What the configuration asks for and nobody measured, with what may have been meant."""
    measured = sorted(baseline.measures.keys() | candidate.measures.keys())
    names = []
    for metric in dict.fromkeys(absent):
        near = difflib.get_close_matches(metric, measured, n=1)
        names.append(f"'{metric}'" + (f" (did you mean '{near[0]}'?)" if near else ""))
    return (
        f"the configuration names {', '.join(names)}, which neither side measured; "
        "measure it on both, or leave it out of the --config"
    )


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
    pair_up = pair_shared if spent else pair
    paired = pair_up(candidate, baseline, rule.metric)
    n_missing = sum(ours.missing.values()) + sum(theirs.missing.values())
    worst = None
    if n_missing and not spent:  # of those who were not asked, nothing is known at all
        worst = worst_case(ours, theirs, rule.metric, rule.worse)
    is_share = (ours.scale or theirs.scale) == SHARE
    return Tested(
        rule,
        paired,
        paired_bound(_harm(paired, rule).tolist(), config.alpha),
        n_missing,
        _is_excluded(rule, paired, worst, config.alpha, is_share=is_share),
        _is_excluded(rule, paired, None, config.alpha, is_share=is_share),
    )


def _is_excluded(
    rule: Harm, paired: Paired, worst: Paired | None, alpha: float, *, is_share: bool
) -> bool:
    found = guard(
        paired.differences,
        margin=rule.margin,
        worse=rule.worse,
        alpha=alpha,
        worst_d=None if worst is None else worst.differences,
        is_share=is_share,
    )
    return bool(found.finding == Finding.PASSED)


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
            f"samples; the check needs {100 * min_coverage:g}%"
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
            paired = pair_shared(candidate, baseline, rule.metric)
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
    if tested.is_excluded_observed:
        return (
            f"{shown}: {change} or more not excluded, if the {found.n_missing} samples without a "
            "score were the worst possible"
        )
    if tested.is_bounded:
        return f"{shown}: {change} or more not excluded; {_few_changed(tested, alpha)}"
    return f"{shown}: {change} or more not excluded; {_advice(tested, alpha)}"


def _few_changed(tested: Tested, alpha: float) -> str:
    """What too few people say about a share, and how many would be enough if all went on alike."""
    harm_N = _harm(tested.paired, tested.rule) + tested.rule.tolerated
    n_worse, n_better = int((harm_N > 0).sum()), int((harm_N < 0).sum())
    n = tested.harm.n
    start = f"{n_worse} became worse and {n_better} better, which may be chance among {n} people"
    n_N = np.arange(n + 1, MOST_TIMES * n)
    enough_N = score_excludes(n_worse * n_N / n, n_better * n_N / n, n_N, tested.rule.margin, alpha)
    if not enough_N.any():
        return f"{start}; more people would hardly settle it"
    return f"{start}; about {int(enough_N.argmax()) + 1} more people would settle it"


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
