"""The gate: is the candidate better than the champion? PROMOTE, REJECT, HOLD or ERROR.

A pure function of two records, which gives its reasons. The unit is the held-out person, the same
ones on both sides. PROMOTE needs all of this, each at full alpha:

* the primary metric gains: its one-sided t bound lies above 0 and its mean reaches `delta_min`;
* it also gains between replies of equal length, so that longer is not better;
* every guard is shown not to be worse by its margin (non-inferiority);
* every cap is shown to hold: rare harm comes to fewer people than that;
* all of it still holds if the samples without a score were the worst possible.

REJECT: a gain of that size is ruled out, or a guard or cap is shown broken. HOLD: neither, with the
number of people that would settle it. ERROR: the two do not compare (what differs is named), too
much is unscored or unscored on one side only, an evaluation was cut short, or a judge may not be
believed (`judge_trust.py`).

The statistics are in `results/findings.py`; their error rates are tested and stand in the README.
How often the same people were looked at before is the ledger's business (`results/ledger.py`): it
sets the `alpha` that a look is decided at.
"""

from collections.abc import Mapping, Sequence

from judges.card import JudgeCard
from results.paired import Incomparable, pair, refuse_unlike
from results.prediction_powered import Estimate
from results.records import RunRecord
from results.stats import paired_p
from selfevo.decision import Decision, Verdict
from selfevo.gate_config import GateConfig
from selfevo.gate_rules import Level, judge_cap, judge_guard, judge_primary
from selfevo.judge_trust import distrusted


def decide(
    candidate: RunRecord,
    champion: RunRecord,
    config: GateConfig,
    cards: Mapping[str, JudgeCard] | None = None,
    *,
    alpha: float | None = None,
    look: int | None = None,
    later: float | None = None,
    anchor: Estimate | None = None,
) -> Decision:
    """Compare two evaluations of the same suite.

    Args:
        candidate: The new model's.
        champion: That of the model it would replace.
        config: Primary metric, guards, caps, error rate.
        cards: The judges' cards, by the metric that they gave.
        alpha: One-sided error of each bound at this look; None: all of `config.alpha`.
        look: Its number, for the record.
        later: The error of each bound at the next look, which more people would be; None: as now.
        anchor: The primary's difference from people's labels and the judge together, at a
            two-sided error of twice alpha: it decides instead of the judge alone, which then needs
            no card.
    """
    spent = config.alpha if alpha is None else alpha

    def decision(verdict: Verdict, reasons: Sequence[str], **more: object) -> Decision:
        return Decision(
            verdict=verdict,
            reasons=tuple(reasons),
            champion=champion.checkpoint,
            candidate=candidate.checkpoint,
            alpha=spent,
            look=look,
        ).model_copy(update=more)

    try:
        _refuse_unfinished(candidate, champion)
        refuse_unlike(candidate, champion)
    except Incomparable as problem:
        return decision(Verdict.ERROR, [str(problem)])
    distrust = [
        problem
        for problem in distrusted(candidate, config, cards or {})
        if anchor is None or f"'{config.primary}'" not in problem
    ]
    if distrust and not config.allow_untrusted_judge:
        return decision(Verdict.ERROR, distrust)
    level = Level(spent, spent if later is None else later)
    try:
        judged = [
            judge_primary(candidate, champion, config, level, anchor),
            *(judge_guard(candidate, champion, rule, config, level) for rule in config.guards),
            *(judge_cap(candidate, champion, rule, config) for rule in config.caps),
        ]
    except Incomparable as problem:
        return decision(Verdict.ERROR, [str(problem)])
    comparisons = tuple(found.comparison for found in judged)
    outcomes = {comparison.outcome for comparison in comparisons}
    primary = comparisons[0]
    reasons = [found.reason for found in judged if found.reason]
    if "failed" in outcomes:
        verdict = Verdict.REJECT
    elif "open" in outcomes:
        verdict = Verdict.HOLD
    else:
        verdict = Verdict.PROMOTE
        reasons = [
            f"{primary.metric} {primary.difference:+.2f} (at least {primary.lower:+.2f}, "
            f"{primary.n} people); all {len(judged) - 1} guards hold"
        ]
    return decision(
        verdict,
        reasons,
        comparisons=comparisons,
        overrides=tuple(distrust),
        detectable=judged[0].detectable,
    )


def decide_among(
    candidates: Sequence[RunRecord],
    champion: RunRecord,
    config: GateConfig,
    cards: Mapping[str, JudgeCard] | None = None,
    *,
    alpha: float | None = None,
    look: int | None = None,
    later: float | None = None,
) -> list[Decision]:
    """The decisions on several candidates for one place: any may win, so Holm shares out alpha.

    The most convincing candidate is decided at alpha over their number, the next at alpha over one
    less, and so on: only a gain that was shown in all that the goal asks, at equal length too,
    leaves more of alpha to the rest.
    """
    spent = config.alpha if alpha is None else alpha
    chances = [_chance(candidate, champion, config) for candidate in candidates]
    order = sorted(range(len(candidates)), key=chances.__getitem__)
    decisions: dict[int, Decision] = {}
    share = spent / max(1, len(candidates))
    for place, index in enumerate(order):
        decisions[index] = decide(
            candidates[index],
            champion,
            config,
            cards,
            alpha=share,
            look=look,
            later=None if later is None else later * share / spent,
        )
        left = len(candidates) - place - 1
        if left and _gained(decisions[index]):
            share = spent / left
    return [decisions[index] for index in range(len(candidates))]


def _gained(decision: Decision) -> bool:
    """Whether all of the goal was shown, at equal length too; a guard may stand against it."""
    return bool(decision.comparisons) and decision.comparisons[0].outcome == "passed"


def _chance(candidate: RunRecord, champion: RunRecord, config: GateConfig) -> float:
    """How likely the gain in the primary is by chance; 1 where the two do not compare."""
    try:
        return float(paired_p(pair(candidate, champion, config.primary).differences))
    except Incomparable:
        return 1.0


def _refuse_unfinished(candidate: RunRecord, champion: RunRecord) -> None:
    for side, record in (("candidate", candidate), ("champion", champion)):
        if record.exhausted:
            raise Incomparable(
                f"the evaluation of the {side} was cut short ({record.exhausted}); "
                "run it with a larger budget"
            )
