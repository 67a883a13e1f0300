"""Evaluations made by hand, for the regression check: people, and how they fared."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from judges.card import DimensionCard, JudgeCard, Trust
from results.records import Measure, RunRecord
from selfevo.baseline import Baseline

TODAY = date(2026, 11, 24)
SUITE = {"task": "support 3-A", "users": "a" * 64}
WAVES = (0.05, -0.05, 0.02, -0.02, 0.0)
"""How people differ from each other in a change: its mean is 0, its spread small."""

Values = Sequence[float] | Measure


def measure(values: Values, *, missing: Sequence[int] = ()) -> Measure:
    """A value a person; those of the numbers in `missing` have none."""
    if isinstance(values, Measure):
        return values
    named = {f"en-{i:03}": float(value) for i, value in enumerate(values)}
    gone = {f"en-{i:03}": 1 for i in missing}
    return Measure(
        values={p: v for p, v in named.items() if p not in gone}, missing=gone, scale=None
    )


def record(measures: Mapping[str, Values], method: str = "M1", **more: Any) -> RunRecord:
    return RunRecord(
        **{
            "method": method,
            "benchmark": "support",
            "suite": SUITE,
            "checkpoint": method,
            "measures": {name: measure(values) for name, values in measures.items()},
            **more,
        }
    )


def blessed(measures: Mapping[str, Values], day: date = TODAY, **more: Any) -> Baseline:
    return Baseline(blessed=day, record=record(measures, "M0", **more))


def changed(by: float, n: int = 40, spread: float = 1.0) -> list[float]:
    """People whose change from 0 has this mean, and a little spread."""
    return [by + spread * WAVES[i % len(WAVES)] for i in range(n)]


def trusted_card(judge_hash: str, *, rubric: str, dimension: str) -> JudgeCard:
    return JudgeCard(
        judge="openai/x",
        judge_hash=judge_hash,
        rubric=rubric,
        data="labels",
        data_hash="d",
        measured="2026-11-01",
        command="c",
        versions={},
        n_items=200,
        n_conversations=200,
        failures={},
        dimensions=(
            DimensionCard(
                name=dimension,
                trust=Trust.TRUSTED,
                reason="kappa 0.70 (0.60 to 0.80), the bar is 0.40",
                labels_needed=None,
                agreement=None,
                ceiling=None,
                judge_minus_human=None,
                length=None,
            ),
        ),
    )
