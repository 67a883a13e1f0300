"""The gate: is the candidate better than the champion? PROMOTE, REJECT, HOLD or ERROR, with reasons. A pure function.

The unit is the held-out person, the same ones on both sides. The primary metric must gain: its one-sided t bound lies
above 0 and its mean reaches `delta_min`. Every guard must be shown not to be worse by its margin (non-inferiority). All of
them at full alpha: requiring all is an intersection-union test (Berger, 1982) and needs no correction.

Left out, for a later version: length-controlled primary, alpha spent over repeated looks, worst-case for missing scores.
"""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from results.records import Measure, RunRecord
from results.stats import Bound, paired_bound, people_needed
from selfevo.config import GateConfig, Guard


class Verdict(StrEnum):
    """What happens to a candidate."""

    PROMOTE = "PROMOTE"
    REJECT = "REJECT"
    HOLD = "HOLD"
    ERROR = "ERROR"


class Comparison(BaseModel):
    """Candidate minus champion in one metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    champion: float
    candidate: float
    difference: float
    lower: float
    upper: float
    n: int
    """People compared."""
    outcome: str
    """`passed`, `failed` or `open`."""


class Decision(BaseModel):
    """The gate's answer and everything it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    verdict: Verdict
    reasons: tuple[str, ...]
    champion: str | None = None
    """Content hash of the checkpoint that was compared with."""
    candidate: str | None = None
    comparisons: tuple[Comparison, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.verdict is Verdict.PROMOTE


class _Incomparable(ValueError):
    """The two records cannot be compared in a metric."""


def decide(candidate: RunRecord, champion: RunRecord, config: GateConfig) -> Decision:
    """Compare two evaluations of the same suite."""
    if candidate.suite != champion.suite:
        reason = f"different suites ({candidate.suite[:12]} and {champion.suite[:12]})"
        return _decision(
            Verdict.ERROR, [f"{reason}; evaluate both on the same one"], candidate, champion
        )
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
    return _decision(verdict, reasons, candidate, champion, comparisons)


def hold(reason: str) -> Decision:
    """A round that ends before there is a candidate to compare."""
    return Decision(verdict=Verdict.HOLD, reasons=(reason,))


def _judge_primary(
    candidate: RunRecord, champion: RunRecord, config: GateConfig
) -> tuple[Comparison, str | None]:
    name = config.primary
    bound = _bound(candidate, champion, name, config)
    if bound.lower > 0 and bound.mean >= config.delta_min:
        return _comparison(candidate, champion, name, bound, "passed"), None
    shown = f"{name} {bound.mean:+.2f} ({bound.lower:+.2f} to {bound.upper:+.2f}, {bound.n} people)"
    if bound.upper < config.delta_min or bound.upper <= 0:
        reason = f"{shown}: a gain of {config.delta_min:g} is ruled out"
        return _comparison(candidate, champion, name, bound, "failed"), reason
    effect = max(bound.mean, config.delta_min)
    needed = people_needed(bound.sd, effect, config.alpha) if effect > 0 else bound.n
    more = max(1, needed - bound.n)
    reason = f"{shown}: not shown; about {more} more people would settle a gain of {effect:.2f}"
    return _comparison(candidate, champion, name, bound, "open"), reason


def _judge_guard(
    candidate: RunRecord, champion: RunRecord, guard: Guard, config: GateConfig
) -> tuple[Comparison, str | None]:
    bound = _bound(candidate, champion, guard.metric, config)
    worse = (
        bound
        if guard.worse == "up"
        else Bound(-bound.mean, -bound.upper, -bound.lower, bound.sd, bound.n)
    )
    if worse.upper < guard.margin:
        return _comparison(candidate, champion, guard.metric, bound, "passed"), None
    shown = f"{guard.metric} {bound.mean:+.3g} ({bound.lower:+.3g} to {bound.upper:+.3g})"
    if worse.lower >= guard.margin:
        reason = f"{shown}: worse by more than {guard.margin:g}"
        return _comparison(candidate, champion, guard.metric, bound, "failed"), reason
    room = guard.margin - max(worse.mean, 0.0)
    more = max(1, people_needed(worse.sd, room, config.alpha) - bound.n) if room > 0 else None
    advice = f"; about {more} more people would settle it" if more else ""
    reason = f"{shown}: harm of {guard.margin:g} not ruled out{advice}"
    return _comparison(candidate, champion, guard.metric, bound, "open"), reason


def _bound(candidate: RunRecord, champion: RunRecord, name: str, config: GateConfig) -> Bound:
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
    return paired_bound([ours[p] - theirs[p] for p in people], config.alpha)


def _check_coverage(measure: Measure, name: str, side: str, config: GateConfig) -> None:
    if measure.n_scored < config.min_coverage * measure.n_total:
        raise _Incomparable(
            f"'{name}' of the {side} is scored on {measure.n_scored} of {measure.n_total} samples; "
            f"the gate needs {config.min_coverage:.0%}"
        )


def _comparison(
    candidate: RunRecord, champion: RunRecord, name: str, bound: Bound, outcome: str
) -> Comparison:
    return Comparison(
        metric=name,
        champion=round(champion.measures[name].mean, 4),
        candidate=round(candidate.measures[name].mean, 4),
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
) -> Decision:
    return Decision(
        verdict=verdict,
        reasons=tuple(reasons),
        champion=champion.checkpoint,
        candidate=candidate.checkpoint,
        comparisons=tuple(comparisons or ()),
    )
