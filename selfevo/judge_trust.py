"""May the judges behind the gate's metrics be believed? What their cards say.

A metric that a judge gave counts only if the judge's card says TRUSTED, is of this very judge
(model, prompt, rubric, settings), and is not stale; where a date is not known, it may be stale.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final

from judges.card import JudgeCard, Trust
from results.records import RunRecord
from selfevo.gate_config import JUDGE_PREFIX, GateConfig

CARD_DIMENSION: Final = {"judge.unhelpfulness": "any", "judge.embedded.unhelpful": "any"}
"""Dimension of its card that a judge's metric rests on, where it is not `score`. The gap of
personalization rests on the score under the person's own card; people rate no shuffled ones."""


def distrusted(
    candidate: RunRecord, config: GateConfig, cards: Mapping[str, JudgeCard]
) -> list[str]:
    """Why the judges behind the gate's metrics may not be believed; empty when they may."""
    complaints = (
        complaint(metric, candidate, cards.get(metric), config.card_days)
        for metric in config.metrics
        if metric.startswith(JUDGE_PREFIX)
    )
    return [f"judge untrusted: {problem}" for problem in complaints if problem]


def complaint(metric: str, record: RunRecord, card: JudgeCard | None, card_days: int) -> str | None:
    """What is wrong with the judge of one metric; None when it may be believed."""
    judge = record.judges.get(metric)
    if card is None:
        return f"'{metric}' has no judge card; make one with selfevo calibrate"
    if card.judge_hash != judge:
        return (
            f"'{metric}': the card is of another judge ({card.judge}, {card.judge_hash[:12]}); "
            "calibrate this one"
        )
    measured, evaluated = _day(card.measured), _day(record.provenance.created)
    if measured is None:
        return f"'{metric}': it is not known when its card was measured; calibrate again"
    if evaluated is None:
        return (
            f"'{metric}': it is not known when the evaluation was made, and its judge's card may "
            "be stale; make the record again from its logs"
        )
    age = (evaluated - measured).days
    if age > card_days:
        return (
            f"'{metric}': the card is stale, {age} days older than the evaluation "
            f"(at most {card_days}); calibrate again"
        )
    found = card.trust_in(CARD_DIMENSION.get(metric, "score"))
    if found.trust is Trust.TRUSTED:
        return None
    more = f"; {found.labels_needed} labels would decide" if found.labels_needed else ""
    return f"'{metric}' is {found.trust} by its card ({found.reason}{more})"


def _day(text: str | None) -> date | None:
    """The day of an ISO date, with or without a time; None where it is not known."""
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None
