"""The regression check: did a change harm anybody? PASS, REGRESSION, INCONCLUSIVE, CANNOT DECIDE.

A harm test: the gate asks whether a candidate is better, the check whether it is worse. The unit is
the person, the same ones on both sides.

* REGRESSION: in some metric harm is shown. Its one-sided lower bound lies above what is tolerated,
  after Holm over the metrics, so that an unchanged candidate fails with chance `alpha` at most.
* PASS: in every metric harm of the margin or more is excluded, also if each sample without a score
  were the worst possible. All are needed, so each is at full `alpha` (Berger, 1982).
* INCONCLUSIVE: neither. `strict` makes that a REGRESSION, which says "not excluded", not "shown".
* CANNOT DECIDE: the two were not measured alike, or not completely.

An evaluation that a budget cut short is INCONCLUSIVE, also where harm is shown to those who were
asked: long conversations spend more, so who was asked depends on the candidate.

The very same checkpoint with the same value for everybody in every metric is a PASS at once,
however few the people are.

Left out: equal length (a harm test needs none: length is a metric of its own), and repeated looks
(a change that is pushed ten times is tested ten times). Where all people change alike in a graded
metric there is no spread, and a t bound then takes harm to the others as excluded; `sight` says how
rare a harm these people may not show at all. Shares that are 0 or 1 a person are held to more.
"""

import re
from collections.abc import Sequence
from datetime import date
from typing import Final

from judges.card import JudgeCard
from results.paired import Incomparable, refuse_unlike
from results.records import RunRecord
from selfevo.baseline import Baseline
from selfevo.check_config import CheckConfig, Limits
from selfevo.check_metrics import CHANGE, POWER, beside, counted, judged, tested
from selfevo.check_result import CheckResult, MetricCheck, Side, Verdict

MAX_AGE_DAYS: Final = 90
"""Above this age a baseline is old."""
NO_LIMITS: Final = Limits()
CONTENT_HASH: Final = re.compile(r"[0-9a-f]{64}\b")
"""How the checkpoint of a local model begins; a served one has only a name, which may move on."""


def check(
    baseline: Baseline,
    candidate: RunRecord,
    config: CheckConfig,
    *,
    today: date,
    strict: bool = False,
    inconclusive_ok: bool = False,
    max_age_days: int = MAX_AGE_DAYS,
    limits: Limits = NO_LIMITS,
    cards: Sequence[JudgeCard] = (),
) -> CheckResult:
    """Hold a candidate against the baseline.

    Args:
        baseline: What was blessed.
        candidate: The new evaluation.
        config: What is checked.
        today: For the age of the baseline.
        strict: Harm that cannot be excluded fails.
        inconclusive_ok: INCONCLUSIVE has exit code 0.
        max_age_days: Above this age the baseline warns.
        limits: What the candidate's evaluation may have cost.
        cards: Of the judges; a judge without a good one does not decide.
    """
    told = _about(baseline, candidate, today, max_age_days).model_copy(
        update={"strict": strict, "inconclusive_ok": inconclusive_ok, "alpha": config.alpha}
    )
    spent = overspent(candidate, limits)
    try:
        _refuse_unborn(baseline, today)
        refuse_unlike(candidate, baseline.record)
        _refuse_cut(baseline.record)
        rules, not_counted, warnings = counted(baseline.record, candidate, config, cards)
        told = told.model_copy(
            update={"not_counted": tuple(not_counted), "warnings": (*warnings, *told.warnings)}
        )
    except Incomparable as problem:
        return _decided(told, Verdict.CANNOT_DECIDE, [str(problem)])
    try:
        found = [tested(baseline.record, candidate, rule, config, spent) for rule in rules]
    except Incomparable as problem:  # of the few who were asked, perhaps nobody was scored
        verdict = Verdict.INCONCLUSIVE if spent else Verdict.CANNOT_DECIDE
        return _decided(told, verdict, [*spent, str(problem)])
    metrics = judged(found, config.alpha)
    same = not spent and is_unchanged(baseline.record, candidate)
    if same:
        metrics = [_unchanged(metric) for metric in metrics]
    others = beside(baseline.record, candidate, config, [rule.metric for rule in rules])
    told = told.model_copy(update={"metrics": (*metrics, *others), "sight": _sight(metrics)})
    if spent:
        harm = [f"{m.reason}, among those who were asked" for m in metrics if m.outcome == "shown"]
        return _decided(told, Verdict.INCONCLUSIVE, [*spent, *harm])
    if same:
        words = "the same checkpoint, the same values of everybody in every metric"
        return _decided(told, Verdict.PASS, [f"{words} ({min(m.n for m in metrics)} people)"])
    return _decided(told, *_verdict(metrics, strict))


def is_unchanged(one: RunRecord, other: RunRecord) -> bool:
    """Whether both are of the very same weights, and everybody fared alike with them."""
    is_hash = CONTENT_HASH.match(one.checkpoint) is not None
    return is_hash and one.checkpoint == other.checkpoint and one.measures == other.measures


def _unchanged(found: MetricCheck) -> MetricCheck:
    reason = f"{found.metric}: the same checkpoint, the same values"
    return found.model_copy(update={"outcome": "excluded", "reason": reason})


def overspent(record: RunRecord, limits: Limits) -> list[str]:
    """Why an evaluation is not whole, or cost more than it may; empty when all is well."""
    found = []
    if record.exhausted is not None:
        found.append(
            f"the budget was spent ({record.exhausted}), perhaps before everybody was asked"
        )
    cost = record.provenance.cost
    tokens = [n for n in (cost.input_tokens, cost.output_tokens) if n is not None]
    took = {"calls": cost.calls, "tokens": sum(tokens) if tokens else None, "minutes": cost.minutes}
    for name, limit in limits._asdict().items():
        used = took[name]
        if limit is not None and used is None:
            found.append(f"the candidate's record does not say how many {name} it took")
        elif limit is not None and used is not None and used > limit:
            found.append(f"the budget was exceeded: {used:g} {name}, at most {limit:g}")
    return found


def _about(baseline: Baseline, candidate: RunRecord, today: date, max_age_days: int) -> CheckResult:
    """What is known before the comparison."""
    age = (today - baseline.blessed).days
    old = f"the baseline is {age} days old (more than {max_age_days}); bless a newer evaluation"
    return CheckResult(
        verdict=Verdict.CANNOT_DECIDE,
        reasons=(),
        benchmark=candidate.benchmark,
        warnings=(old,) if age > max_age_days else (),
        baseline=_side(baseline.record),
        blessed=baseline.blessed.isoformat(),
        age_days=age,
        candidate=_side(candidate),
        judges={**baseline.record.judges, **candidate.judges},
    )


def _side(record: RunRecord) -> Side:
    made = record.provenance
    return Side(
        method=record.method,
        checkpoint=record.checkpoint,
        hash=record.hash,
        created=made.created,
        commit=made.commit,
        cost=made.cost,
    )


def _decided(told: CheckResult, verdict: Verdict, reasons: Sequence[str]) -> CheckResult:
    return told.model_copy(update={"verdict": verdict, "reasons": tuple(reasons)})


def _refuse_unborn(baseline: Baseline, today: date) -> None:
    if baseline.blessed > today:
        raise Incomparable(
            f"the baseline was blessed on {baseline.blessed}, which is in the future; "
            "set the clock right, or bless again"
        )


def _refuse_cut(baseline: RunRecord) -> None:
    if baseline.exhausted is not None:
        raise Incomparable(
            f"the baseline was cut short ({baseline.exhausted}); bless a whole evaluation"
        )


def _verdict(metrics: Sequence[MetricCheck], strict: bool) -> tuple[Verdict, list[str]]:
    shown = [m.reason for m in metrics if m.outcome == "shown"]
    open_ = [m.reason for m in metrics if m.outcome == "open"]
    if shown:
        return Verdict.REGRESSION, [*shown, *open_]
    if open_:
        return (Verdict.REGRESSION if strict else Verdict.INCONCLUSIVE), open_
    people = min(m.n for m in metrics)
    return Verdict.PASS, [
        f"in all {len(metrics)} metrics harm of the margin or more is excluded ({people} people)"
    ]


def _sight(metrics: Sequence[MetricCheck]) -> tuple[str, ...]:
    """What these people can show, told by the first metric that has a spread."""
    n = min(m.n for m in metrics)
    rare = 1 - (1 - POWER) ** (1 / n)
    lines = [f"{n} people: harm that comes to fewer than {rare:.0%} of people may not come up"]
    for found in metrics:
        if found.detectable is not None:
            change = f"a {CHANGE[found.worse]} in {found.metric}"
            lines.append(
                f"{found.n} people: sees {change} of {found.detectable:.2g} or more in 4 of 5 "
                f"cases; PASS excludes {found.margin:g}; smaller harm passes unseen"
            )
            break
    else:
        lines.append(f"{n} people: nobody changed unlike the others, so nothing more can be said")
    return tuple(lines)
