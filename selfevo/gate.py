"""The gate: is the candidate better than the champion? PROMOTE, REJECT, HOLD or ERROR.

A pure function, which gives its reasons. The unit is the held-out person, the same ones on both
sides. The primary metric must gain: its one-sided t bound lies above 0 and its mean reaches
`delta_min`. Every guard must be shown not to be worse by its margin (non-inferiority). All of them
at full alpha: requiring all is an intersection-union test (Berger, 1982) and needs no correction.

A metric that a judge gave counts only if the judge's card says TRUSTED; `allow_untrusted_judge`
overrides that, and the decision says so.

Left out, for a later version: length-controlled primary, alpha spent over repeated looks,
worst-case for missing scores.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from judges.card import JudgeCard, Trust
from results.records import Measure, RunRecord
from results.stats import Bound, paired_bound, people_needed
from selfevo.config import JUDGE_PREFIX, GateConfig, Guard

Finding = Literal["passed", "failed", "open"]
"""Of one comparison: shown to be right, shown to be wrong, or neither."""

INSTRUCTION_METRICS = ("retention",)
"""Measured on instructions; every other metric is measured on people."""

CARD_DIMENSION = {"judge.unhelpfulness": "any"}
"""Dimension of its card that a judge's metric rests on, where it is not `score`. The gap of
personalization rests on the score under the person's own card; people rate no shuffled ones."""


class Verdict(StrEnum):
    """What happens to a candidate."""

    PROMOTE = "PROMOTE"
    REJECT = "REJECT"
    HOLD = "HOLD"
    ERROR = "ERROR"


class Comparison(BaseModel):
    """Candidate minus champion in one metric, over the people scored on both sides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    champion: float
    candidate: float
    difference: float
    lower: float
    upper: float
    n: int
    """People compared."""
    outcome: Finding


class Decision(BaseModel):
    """The gate's answer and everything it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    verdict: Verdict
    reasons: tuple[str, ...]
    champion: str | None = None
    """Content hash of the checkpoint that was compared with."""
    candidate: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    overrides: tuple[str, ...] = ()
    """What the gate would have refused, had the recipe not told it to go on."""

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.verdict is Verdict.PROMOTE


class _Incomparable(ValueError):
    """The two records cannot be compared in a metric."""


class _Paired(NamedTuple):
    """One metric of the people scored on both sides."""

    metric: str
    champion: float
    candidate: float
    bound: Bound


def decide(
    candidate: RunRecord,
    champion: RunRecord,
    config: GateConfig,
    cards: Mapping[str, JudgeCard] | None = None,
) -> Decision:
    """Compare two evaluations of the same suite.

    Args:
        candidate: The new model's.
        champion: That of the model it would replace.
        config: Primary metric, guards, error rate.
        cards: The judges' cards, by the metric that they gave.
    """
    if candidate.suite != champion.suite:
        reason = f"different suites ({candidate.suite[:12]} and {champion.suite[:12]})"
        return _decision(
            Verdict.ERROR, [f"{reason}; evaluate both on the same one"], candidate, champion
        )
    distrust = distrusted(candidate, config, cards or {})
    if distrust and not config.allow_untrusted_judge:
        return _decision(Verdict.ERROR, distrust, candidate, champion)
    try:
        primary, primary_reason = _judge_primary(candidate, champion, config)
        judged = [_judge_guard(candidate, champion, guard, config) for guard in config.guards]
    except _Incomparable as problem:
        return _decision(Verdict.ERROR, [str(problem)], candidate, champion)
    comparisons = [primary, *(comparison for comparison, _ in judged)]
    reasons = [reason for reason in (primary_reason, *(reason for _, reason in judged)) if reason]
    outcomes = {comparison.outcome for comparison in comparisons}
    if "failed" in outcomes:
        verdict = Verdict.REJECT
    elif "open" in outcomes:
        verdict = Verdict.HOLD
    else:
        verdict = Verdict.PROMOTE
        reasons = [
            f"{primary.metric} {primary.difference:+.2f} (at least {primary.lower:+.2f}, "
            f"{primary.n} people); all {len(judged)} guards hold"
        ]
    return _decision(verdict, reasons, candidate, champion, comparisons, distrust)


def hold(reason: str) -> Decision:
    """A round that ends before there is a candidate to compare."""
    return Decision(verdict=Verdict.HOLD, reasons=(reason,))


def distrusted(
    candidate: RunRecord, config: GateConfig, cards: Mapping[str, JudgeCard]
) -> list[str]:
    """Why the judges behind the gate's metrics may not be believed; empty when they may."""
    used = dict.fromkeys((config.primary, *(guard.metric for guard in config.guards)))
    complaints = (
        _complaint(metric, candidate.judges.get(metric), cards.get(metric))
        for metric in used
        if metric.startswith(JUDGE_PREFIX)
    )
    return [f"judge untrusted: {complaint}" for complaint in complaints if complaint]


def _complaint(metric: str, judge: str | None, card: JudgeCard | None) -> str | None:
    """What is wrong with the judge of one metric."""
    if card is None:
        return f"'{metric}' has no judge card; make one with selfevo calibrate"
    if card.judge_hash != judge:
        return (
            f"'{metric}': the card is of another judge ({card.judge}, {card.judge_hash[:12]}); "
            "calibrate this one"
        )
    found = card.trust_in(CARD_DIMENSION.get(metric, "score"))
    if found.trust is Trust.TRUSTED:
        return None
    more = f"; {found.labels_needed} labels would decide" if found.labels_needed else ""
    return f"'{metric}' is {found.trust} by its card ({found.reason}{more})"


def _judge_primary(
    candidate: RunRecord, champion: RunRecord, config: GateConfig
) -> tuple[Comparison, str | None]:
    paired = _pair(candidate, champion, config.primary, config)
    bound, wanted = paired.bound, config.delta_min
    if bound.lower > 0 and bound.mean >= wanted:
        return _comparison(paired, "passed"), None
    shown = (
        f"{paired.metric} {bound.mean:+.2f} "
        f"({bound.lower:+.2f} to {bound.upper:+.2f}, {bound.n} people)"
    )
    if bound.upper < wanted or bound.upper <= 0:
        gain = f"a gain of {wanted:g}" if wanted else "a gain"
        return _comparison(paired, "failed"), f"{shown}: {gain} is ruled out"
    if bound.lower > 0:
        state, effect = f"a gain, but less than {wanted:g}", wanted - bound.mean
    else:  # whichever of "above 0" and "below delta_min" the data are nearer to showing
        state, effect = "no gain shown", max(bound.mean, wanted - bound.mean)
    return _comparison(paired, "open"), f"{shown}: {state}; {_advice(paired, effect, config)}"


def _judge_guard(
    candidate: RunRecord, champion: RunRecord, guard: Guard, config: GateConfig
) -> tuple[Comparison, str | None]:
    paired = _pair(candidate, champion, guard.metric, config)
    bound = paired.bound
    worse = (
        bound
        if guard.worse == "up"
        else Bound(-bound.mean, -bound.upper, -bound.lower, bound.sd, bound.n)
    )
    if worse.upper < guard.margin:
        return _comparison(paired, "passed"), None
    shown = f"{guard.metric} {bound.mean:+.3g} ({bound.lower:+.3g} to {bound.upper:+.3g})"
    if worse.lower >= guard.margin:
        return _comparison(paired, "failed"), f"{shown}: worse by {guard.margin:g} or more"
    advice = _advice(paired, abs(guard.margin - worse.mean), config)
    return _comparison(paired, "open"), f"{shown}: harm of {guard.margin:g} not ruled out; {advice}"


def _advice(paired: _Paired, effect: float, config: GateConfig) -> str:
    """How many more units an open question needs if the mean stays where it is."""
    units = "instructions" if paired.metric in INSTRUCTION_METRICS else "people"
    if effect <= 0:
        return f"no number of {units} would settle it"
    needed = people_needed(paired.bound.sd, effect, config.alpha)
    return f"about {max(1, needed - paired.bound.n)} more {units} would settle it"


def _pair(candidate: RunRecord, champion: RunRecord, name: str, config: GateConfig) -> _Paired:
    for side, record in (("candidate", candidate), ("champion", champion)):
        if name not in record.measures:
            raise _Incomparable(
                f"the {side} has no measure '{name}'; evaluate it or change the gate"
            )
        _check_coverage(record.measures[name], name, side, config)
    ours, theirs = candidate.measures[name].values, champion.measures[name].values
    people = sorted(ours.keys() & theirs.keys())
    if len(people) < 2:
        raise _Incomparable(
            f"'{name}' has {len(people)} people scored on both sides; at least 2 are needed"
        )
    return _Paired(
        metric=name,
        champion=math.fsum(theirs[p] for p in people) / len(people),
        candidate=math.fsum(ours[p] for p in people) / len(people),
        bound=paired_bound([ours[p] - theirs[p] for p in people], config.alpha),
    )


def _check_coverage(measure: Measure, name: str, side: str, config: GateConfig) -> None:
    # the quotient, because 0.07 * 100 is more than 7 in floating point
    if not measure.n_total or measure.n_scored / measure.n_total < config.min_coverage:
        raise _Incomparable(
            f"'{name}' of the {side} is scored on {measure.n_scored} of {measure.n_total} samples; "
            f"the gate needs {config.min_coverage:.0%}"
        )


def _comparison(paired: _Paired, outcome: Finding) -> Comparison:
    bound = paired.bound
    return Comparison(
        metric=paired.metric,
        champion=round(paired.champion, 4),
        candidate=round(paired.candidate, 4),
        difference=round(bound.mean, 4),
        lower=round(bound.lower, 4),
        upper=round(bound.upper, 4),
        n=bound.n,
        outcome=outcome,
    )


def _decision(
    verdict: Verdict,
    reasons: list[str],
    candidate: RunRecord,
    champion: RunRecord,
    comparisons: list[Comparison] | None = None,
    overrides: Sequence[str] = (),
) -> Decision:
    return Decision(
        verdict=verdict,
        reasons=tuple(reasons),
        champion=champion.checkpoint,
        candidate=candidate.checkpoint,
        comparisons=tuple(comparisons or ()),
        overrides=tuple(overrides),
    )
