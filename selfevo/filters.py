"""Which candidates become training pairs: every drop has one reason, and it is counted.

A candidate passes the checks in the order of `FilterReason`; the first that fires is its reason, so
the counts add up to the candidates. What else would have fired is counted beside it. All checks are
pure functions of the candidate and the config, save `duplicate`, which looks at the pairs kept
before and is therefore last.

Most checks read the chosen reply alone: that is the text the model is pushed towards. Both sides
are read where a fault of the rejected one would teach something too: a reply cut off (the trainer
appends the end of the turn to it), a template marker, a length far from the other's.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Annotated, Final

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict

from judges.acts import Act, acts_of
from judges.automatic import has_loop
from judges.detectors import has_meta_text, has_role_confusion, is_unfinished
from judges.stock import is_stock
from judges.unsafe import unsafe_kinds
from judges.words import as_tokens, word_texts
from selfevo.leaks import has_template_marker, quotes, states_profile
from selfevo.pairs import Candidate, PreferencePair
from selfevo.pairs_report import FilterReason, PairDrop, PairsReport, copy_rates, report_of


class FilterConfig(BaseModel):
    """Thresholds of the filters; None turns a check off. The paper names none: all are ours.

    Where a number comes from people's replies, it was measured on ESConv train (9,281 supporter
    turns, turns merged) and CPsyCoun (2,794 counsellor turns, reconstructed by a language model).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_tokens: Annotated[int, Ge(1)] = 5
    """Tokens that each reply must have. Source: ours; "Yes, of course." teaches nothing."""

    max_similarity: Annotated[float, Gt(0), Le(1)] | None = 0.9
    """Largest share of common words in order (difflib). Source: ours, after arXiv 2402.13228."""

    leak_run: Annotated[int, Ge(1)] | None = 8
    """Words in a row quoted from instructions or reflection; in Chinese 1.5 as many characters.
    Source: ours."""

    min_length_ratio: Annotated[float, Gt(0), Le(1)] | None = 0.67
    """Smallest tokens of chosen over rejected. Source: ours, against length exploitation."""

    max_length_ratio: Annotated[float, Ge(1)] | None = 1.5
    """Largest tokens of chosen over rejected. Source: ours, against length exploitation."""

    max_copy_rate: Annotated[float, Ge(0), Le(1)] | None = 0.15
    """Largest share of the chosen reply's n-grams copied from the dialogue. Source: ours; the 98th
    percentile of people's replies (English 0.143, Chinese 0.160; the 95th: 0.056 and 0.083)."""

    max_copy_increase: Annotated[float, Ge(0), Le(1)] | None = 0.1
    """Largest excess over the rejected reply's copy rate. Source: ours; the difference is what DPO
    learns, and one copied 4-gram in a reply of 13 words stays below it."""

    min_gain_bits: float | None = 2.0
    """Smallest gain in specificity, where it was measured. Source: ours, from the pilot."""

    max_same_chosen: Annotated[int, Ge(1)] | None = 2
    """Pairs that may share one chosen text. Source: ours, against collapse of diversity."""


class FilterResult(BaseModel):
    """The kept pairs in the order of the candidates, the others with reasons, and the counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pairs: tuple[PreferencePair, ...]
    drops: tuple[PairDrop, ...]
    report: PairsReport


def filter_pairs(candidates: Sequence[Candidate], config: FilterConfig) -> FilterResult:
    """Keep the candidates that pass every check."""
    kept: list[PreferencePair] = []
    drops: list[PairDrop] = []
    seen = _Seen()
    for candidate in candidates:
        fired = fired_reasons(candidate, config)
        if not fired and seen.has(candidate.pair, config):
            fired = (FilterReason.DUPLICATE,)
        if fired:
            drops.append(_drop(candidate.pair, fired))
        else:
            kept.append(candidate.pair)
            seen.add(candidate.pair)
    return FilterResult(pairs=tuple(kept), drops=tuple(drops), report=report_of(kept, drops))


def fired_reasons(candidate: Candidate, config: FilterConfig) -> tuple[FilterReason, ...]:
    """Every check that drops the candidate for itself, in order; duplicates are not looked for."""
    return tuple(reason for reason, check in _CHECKS.items() if check(candidate, config))


def _too_short(candidate: Candidate, config: FilterConfig) -> bool:
    pair = candidate.pair
    return min(pair.chosen_tokens, pair.rejected_tokens) < config.min_tokens


def _identical(candidate: Candidate, config: FilterConfig) -> bool:
    return candidate.pair.chosen.split() == candidate.pair.rejected.split()


def _near_identical(candidate: Candidate, config: FilterConfig) -> bool:
    if config.max_similarity is None:
        return False
    return similarity(candidate.pair.chosen, candidate.pair.rejected) > config.max_similarity


def similarity(first: str, second: str) -> float:
    """Share of words that two texts have in common in order, from 0 to 1 (`2 M / T` of difflib)."""
    # difflib depends on the order of its arguments; sorting makes the measure symmetric.
    one, other = sorted((word_texts(first), word_texts(second)))
    return SequenceMatcher(None, one, other, autojunk=False).ratio()


def _unfinished(candidate: Candidate, config: FilterConfig) -> bool:
    pair = candidate.pair
    return is_unfinished(pair.chosen, candidate.chosen_stop_reason) or is_unfinished(
        pair.rejected, candidate.rejected_stop_reason
    )


def _meta_text(candidate: Candidate, config: FilterConfig) -> bool:
    return has_meta_text(candidate.pair.chosen)


def _role_confusion(candidate: Candidate, config: FilterConfig) -> bool:
    return has_role_confusion(candidate.pair.chosen)


def _leakage(candidate: Candidate, config: FilterConfig) -> bool:
    pair = candidate.pair
    if has_template_marker(pair.chosen) or has_template_marker(pair.rejected):
        return True
    if states_profile(pair.chosen, pair.seeker_words()):
        return True
    if config.leak_run is None:
        return False
    sources = (*candidate.instructions, candidate.profile, pair.reflection)
    run = as_tokens(config.leak_run, pair.language)
    return quotes(pair.chosen, sources, pair.history(), run=run)


def _unsafe(candidate: Candidate, config: FilterConfig) -> bool:
    return bool(unsafe_kinds(candidate.pair.chosen, candidate.pair.seeker_words()))


def _dismissal(candidate: Candidate, config: FilterConfig) -> bool:
    pair = candidate.pair
    return Act.DISMISSAL in acts_of(pair.chosen, pair.seeker_words(), language=pair.language)


def _length_ratio(candidate: Candidate, config: FilterConfig) -> bool:
    chosen, rejected = candidate.pair.chosen_tokens, candidate.pair.rejected_tokens
    low, high = config.min_length_ratio, config.max_length_ratio
    # Products, not a quotient: a reply of no token has no ratio, and is too short anyway.
    return (low is not None and chosen < low * rejected) or (
        high is not None and chosen > high * rejected
    )


def _repetition(candidate: Candidate, config: FilterConfig) -> bool:
    return has_loop(candidate.pair.chosen, language=candidate.pair.language)


def _stock_reply(candidate: Candidate, config: FilterConfig) -> bool:
    return is_stock(candidate.pair.chosen, language=candidate.pair.language)


def _parroting(candidate: Candidate, config: FilterConfig) -> bool:
    chosen, rejected = copy_rates(candidate.pair)
    if chosen is None:
        return False
    most, increase = config.max_copy_rate, config.max_copy_increase
    return (most is not None and chosen > most) or (
        increase is not None and chosen > (rejected or 0.0) + increase
    )


def _no_gain(candidate: Candidate, config: FilterConfig) -> bool:
    gain = candidate.pair.gain_bits
    return gain is not None and config.min_gain_bits is not None and gain < config.min_gain_bits


_Check = Callable[[Candidate, FilterConfig], bool]
_CHECKS: Final[dict[FilterReason, _Check]] = {
    FilterReason.TOO_SHORT: _too_short,
    FilterReason.IDENTICAL: _identical,
    FilterReason.NEAR_IDENTICAL: _near_identical,
    FilterReason.UNFINISHED: _unfinished,
    FilterReason.META_TEXT: _meta_text,
    FilterReason.ROLE_CONFUSION: _role_confusion,
    FilterReason.LEAKAGE: _leakage,
    FilterReason.UNSAFE: _unsafe,
    FilterReason.DISMISSAL: _dismissal,
    FilterReason.LENGTH_RATIO: _length_ratio,
    FilterReason.REPETITION: _repetition,
    FilterReason.STOCK_REPLY: _stock_reply,
    FilterReason.PARROTING: _parroting,
    FilterReason.NO_GAIN: _no_gain,
}


class _Seen:
    """What was kept so far, as far as duplicates are concerned."""

    def __init__(self) -> None:
        self._replies: set[tuple[str, str]] = set()
        self._times_chosen: Counter[str] = Counter()

    def add(self, pair: PreferencePair) -> None:
        self._replies.add(_reply_key(pair))
        self._times_chosen[_normalised(pair.chosen)] += 1

    def has(self, pair: PreferencePair, config: FilterConfig) -> bool:
        if _reply_key(pair) in self._replies:
            return True
        times = self._times_chosen[_normalised(pair.chosen)]
        return config.max_same_chosen is not None and times >= config.max_same_chosen


def _reply_key(pair: PreferencePair) -> tuple[str, str]:
    text = "\n".join(message.model_dump_json() for message in pair.messages)
    return hashlib.sha256(text.encode("utf-8")).hexdigest(), _normalised(pair.chosen)


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def _drop(pair: PreferencePair, fired: tuple[FilterReason, ...]) -> PairDrop:
    return PairDrop(
        pair_id=pair.id, sample_id=pair.provenance.sample_id, reason=fired[0], also=fired[1:]
    )
