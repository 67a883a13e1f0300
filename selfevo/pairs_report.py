"""Why candidates are dropped, and what a round's filters did, as records and as a table.

The reasons stand here and not with the checks (`selfevo/filters.py`), so that whoever reads a
report needs none of the machinery.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from statistics import fmean
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from judges.automatic import copy_rate
from selfevo.pairs import PreferencePair

EXAMPLES: Final = 3
"""Sample ids shown for each reason."""


class FilterReason(StrEnum):
    """Why a candidate is dropped, in the order of the checks."""

    TOO_SHORT = "too_short"
    """Either reply has fewer than `min_tokens` tokens."""

    IDENTICAL = "identical"
    """The replies are the same but for white space."""

    NEAR_IDENTICAL = "near_identical"
    """The replies share most of their words: DPO then lowers both (likelihood displacement)."""

    UNFINISHED = "unfinished"
    """Either reply was cut off."""

    META_TEXT = "meta_text"
    """The chosen reply speaks about itself ("Here is the revised reply")."""

    ROLE_CONFUSION = "role_confusion"
    """The chosen reply labels a speaker."""

    LEAKAGE = "leakage"
    """Template markers on either side; instructions, reflection or profile in the chosen one."""

    UNSAFE = "unsafe"
    """The chosen reply holds a sentence from the list in `judges/unsafe.py`."""

    DISMISSAL = "dismissal"
    """The chosen reply belittles the person, blames them or sends them away."""

    LENGTH_RATIO = "length_ratio"
    """The chosen reply is much longer or shorter, which is what DPO would then learn."""

    REPETITION = "repetition"
    """The chosen reply loops."""

    STOCK_REPLY = "stock_reply"
    """The chosen reply is nothing but stock phrases."""

    PARROTING = "parroting"
    """The chosen reply copies the dialogue, or copies it much more than the rejected one does."""

    NO_GAIN = "no_gain"
    """The chosen reply is not more specific by `min_gain_bits`."""

    DUPLICATE = "duplicate"
    """The same reply to the same messages was kept before, or this reply too often."""


class PairDrop(BaseModel):
    """A candidate that was dropped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair_id: str
    sample_id: str
    reason: FilterReason
    also: tuple[FilterReason, ...]
    """Later checks that would have dropped it too (`duplicate` is not tried)."""


class ReasonCount(BaseModel):
    """How often one check fired."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: FilterReason
    n_dropped: int
    """Candidates of which this is the reason; over all reasons they add up to the drops."""

    n_fired: int
    """Candidates that this check would drop, whatever came before."""

    examples: tuple[str, ...]
    """Sample ids of the first few of which this is the reason."""


class PairMean(BaseModel):
    """A mean over the kept pairs and how many of them it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    n_scored: int
    n_total: int


class ReportRow(NamedTuple):
    """One line of the printed table."""

    what: str
    value: str
    note: str


class PairsReport(BaseModel):
    """What the filters did to a round's candidates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_candidates: int
    n_kept: int
    dropped: tuple[ReasonCount, ...]
    """One for every reason in the order of the checks, those that never fired too."""

    chosen_tokens: PairMean
    rejected_tokens: PairMean
    chosen_copy_rate: PairMean
    rejected_copy_rate: PairMean
    gain_bits: PairMean

    def rows(self) -> list[ReportRow]:
        """Lines for a table: candidates, each reason that fired, kept, means."""
        reasons = [
            ReportRow(f"- {c.reason}", str(c.n_dropped), _reason_note(c))
            for c in self.dropped
            if c.n_fired
        ]
        means = [
            _mean_row("tokens, chosen", self.chosen_tokens, 1),
            _mean_row("tokens, rejected", self.rejected_tokens, 1),
            _mean_row("copy rate, chosen", self.chosen_copy_rate, 3),
            _mean_row("copy rate, rejected", self.rejected_copy_rate, 3),
            _mean_row("gain, bits", self.gain_bits, 1),
        ]
        return [
            ReportRow("candidates", str(self.n_candidates), ""),
            *reasons,
            ReportRow("kept", str(self.n_kept), ""),
            *means,
        ]


def report_of(kept: Sequence[PreferencePair], drops: Sequence[PairDrop]) -> PairsReport:
    """Count the drops by reason and describe the pairs that are left."""
    rates = [copy_rates(pair) for pair in kept]
    return PairsReport(
        n_candidates=len(kept) + len(drops),
        n_kept=len(kept),
        dropped=tuple(_count(reason, drops) for reason in FilterReason),
        chosen_tokens=_mean(pair.chosen_tokens for pair in kept),
        rejected_tokens=_mean(pair.rejected_tokens for pair in kept),
        chosen_copy_rate=_mean(chosen for chosen, _ in rates),
        rejected_copy_rate=_mean(rejected for _, rejected in rates),
        gain_bits=_mean(pair.gain_bits for pair in kept),
    )


def copy_rates(pair: PreferencePair) -> tuple[float | None, float | None]:
    """Copy rates of chosen and rejected; None where a reply has no word."""
    history = pair.history()
    return (
        copy_rate(pair.chosen, history, language=pair.language),
        copy_rate(pair.rejected, history, language=pair.language),
    )


def _count(reason: FilterReason, drops: Sequence[PairDrop]) -> ReasonCount:
    own = [drop.sample_id for drop in drops if drop.reason is reason]
    return ReasonCount(
        reason=reason,
        n_dropped=len(own),
        n_fired=len(own) + sum(reason in drop.also for drop in drops),
        examples=tuple(own[:EXAMPLES]),
    )


def _mean(values: Iterable[float | None]) -> PairMean:
    every = list(values)
    scored = [value for value in every if value is not None]
    return PairMean(
        value=fmean(scored) if scored else None, n_scored=len(scored), n_total=len(every)
    )


def _reason_note(count: ReasonCount) -> str:
    others = count.n_fired - count.n_dropped
    parts = [f"fired on {others} more"] if others else []
    parts += [f"e.g. {', '.join(count.examples)}"] if count.examples else []
    return "; ".join(parts)


def _mean_row(what: str, mean: PairMean, decimals: int) -> ReportRow:
    value = "-" if mean.value is None else f"{mean.value:.{decimals}f}"
    note = "" if mean.n_scored == mean.n_total else f"{mean.n_scored} of {mean.n_total} pairs"
    return ReportRow(what, value, note)
