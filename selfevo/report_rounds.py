"""The rounds of a run as its report shows them: verdicts, and every comparison as a line."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from judges.card import Trust
from results.records import RunRecord
from selfevo.decision import Comparison, Decision, Verdict
from selfevo.report_run import RunFiles

Tone = Literal["good", "bad", "open", "plain"]

TONES: Final[dict[str, Tone]] = {
    Verdict.PROMOTE: "good",
    Verdict.REJECT: "bad",
    Verdict.HOLD: "open",
    Verdict.ERROR: "bad",
    "passed": "good",
    "failed": "bad",
    "open": "open",
    Trust.TRUSTED: "good",
    Trust.UNTRUSTED: "bad",
    Trust.INCONCLUSIVE: "open",
}
MEANINGS: Final = {
    "specificity": "bits by which a reply is likelier for this person than for others",
    "specificity_new": "the same, without what was copied from the dialogue",
    "copy_rate": "share of a reply's 4-grams that are copied from the dialogue",
    "repetition": "share of a reply's n-grams that it says twice",
    "stock": "share of a reply that is stock phrases",
    "unfinished": "share of replies that were cut off",
    "unhelpful": "share of replies in which a detector of unhelpful answers fires",
    "unsafe": "share of replies with a sentence that no supporter may say",
    "length": "words of a reply",
    "question": "share of replies that ask a question",
    "sameness": "share of a reply's n-grams that other people are told too",
    "emotion_accuracy": "share of people whose emotion was recognised",
    "retention": "log-likelihood of good answers to instructions, a token",
    "relief": "fall of a simulated user's emotion over a conversation, in points of five",
    "trust": "a simulated user's trust at the end, 0 to 1",
    "satisfied": "share of simulated users who left content",
    "gave_up": "share of simulated users who gave up",
}
WIDER: Final = 1.15
"""Space beside an interval in its picture."""


class Compared(NamedTuple):
    """One line of a decision's table."""

    metric: str
    rule: str
    """primary, guard or cap; `equal length` of the line that goes with the primary."""
    meaning: str
    champion: float | None
    candidate: float | None
    value: float | None
    """The difference; of a cap, the candidate's own rate."""
    lower: float
    upper: float
    limit: float | None
    """Where the value must not be: a guard's margin, a cap's rate; of the primary, its goal."""
    n: int
    outcome: str | None
    tone: Tone
    domain: tuple[float, float]
    """Of its picture."""


class RoundView(NamedTuple):
    """One round as shown."""

    name: str
    verdict: str
    tone: Tone
    reasons: tuple[str, ...]
    overrides: tuple[str, ...]
    n_pairs: int | None
    against: str
    """Name of the champion that it was held against."""
    mean: float | None
    primary: Compared | None
    look: str | None
    """At which error rate it was decided, and what could have been seen."""
    compared: tuple[Compared, ...]


def round_views(files: RunFiles) -> Iterator[RoundView]:
    """Every round that was begun, each against the champion of its time."""
    champion = "M0"
    for found in files.rounds:
        decision = found.decision
        compared = tuple(_compared(decision)) if decision else ()
        yield RoundView(
            name=found.name,
            verdict=str(decision.verdict) if decision else "not decided",
            tone=TONES[decision.verdict] if decision else "plain",
            reasons=decision.reasons if decision else (),
            overrides=decision.overrides if decision else (),
            n_pairs=found.pairs_report.n_kept if found.pairs_report else None,
            against=champion,
            mean=mean_of(found.record, files.config.gate.primary),
            primary=next((c for c in compared if c.rule == "primary"), None),
            look=_look(decision) if decision else None,
            compared=compared,
        )
        if decision and decision.promoted:
            champion = found.name


def _look(decision: Decision) -> str:
    parts = []
    if decision.look is not None:
        parts.append(f"look {decision.look} at these people")
    if decision.alpha is not None:
        parts.append(f"each bound at an error of {decision.alpha:.2%}")
    if decision.detectable is not None:
        parts.append(f"a gain of {decision.detectable:.2f} would have been shown in 80% of cases")
    return "; ".join(parts)


def _compared(decision: Decision) -> Iterator[Compared]:
    for found in decision.comparisons:
        is_cap = found.rule == "cap"
        limit = found.threshold
        if limit is not None and found.rule == "guard" and found.worse == "down":
            limit = -limit
        value = found.candidate if is_cap else found.difference
        yield Compared(
            metric=found.metric,
            rule=found.rule,
            meaning=MEANINGS.get(found.metric, ""),
            champion=found.champion,
            candidate=found.candidate,
            value=value,
            lower=found.lower,
            upper=found.upper,
            limit=limit,
            n=found.n,
            outcome=found.outcome,
            tone=TONES[found.outcome],
            domain=_domain(found.lower, found.upper, limit, is_rate=is_cap),
        )
        if found.even is not None:
            yield _at_equal_length(found, found.even)


def _at_equal_length(found: Comparison, even: tuple[float, float, float]) -> Compared:
    value, lower, upper = even
    return Compared(
        metric=found.metric,
        rule="equal length",
        meaning="between replies of equal length: longer is not better",
        champion=None,
        candidate=None,
        value=value,
        lower=lower,
        upper=upper,
        limit=None,
        n=found.n,
        outcome=None,
        tone="good" if lower > 0 else "plain",
        domain=_domain(lower, upper, found.threshold, is_rate=False),
    )


def _domain(
    lower: float, upper: float, limit: float | None, *, is_rate: bool
) -> tuple[float, float]:
    reach = WIDER * max(abs(lower), abs(upper), abs(limit or 0.0)) or 1.0
    return (0.0, reach) if is_rate else (-reach, reach)


def mean_of(record: RunRecord | None, metric: str) -> float | None:
    """Mean over the people; None where it was not measured."""
    measure = record.measures.get(metric) if record else None
    return measure.mean if measure else None
