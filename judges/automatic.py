"""Automatic measures of a reply: text in, numbers out, no model and no torch.

They are controls, not quality: each shows one way in which a reply can win elsewhere without
helping (copying the dialogue, looping, saying what fits everyone, growing longer). A measure is
None where it is undefined, never 0. Thresholds are named constants; all are ours, set so that few
replies of people are flagged (ESConv train, turns merged, 9,281 supporter turns after the first
three turns of a dialogue; `tests/judges/test_calibration.py` measures the rates again).
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from judges.acts import dismisses
from judges.detectors import has_meta_text, has_role_confusion, is_unfinished
from judges.stock import is_stock
from judges.words import (
    GRAM_WORDS,
    Language,
    Word,
    as_tokens,
    count_words,
    ngram_set,
    ngrams,
    word_texts,
    words,
)

LOOP_RATE: Final = 0.5
"""Half of a reply's n-grams stand in it more than once: said (nearly) all over again."""

LOOP_TIMES: Final = 3
"""The same run of words this often without a break is a loop, however long the rest is."""

LOOP_UNIT_WORDS: Final = 3
"""Shorter runs may repeat: people write "no no no" and "好的好的好的"."""

PARROT_RATE: Final = 0.3
"""Share of copied n-grams from which a reply parrots the dialogue."""

PARROT_MIN_WORDS: Final = 8
"""A shorter reply is not called parroting: "You're welcome" is copied as a whole and harmless."""

_QUESTION_PARTICLE = re.compile(r"[吗呢]\s*[。.!！~～…]*\s*$", re.MULTILINE)
_QUESTION_OPENER = re.compile(
    r"(?:^|[.!,;\n]\s*)(?:and |so |but |or |well |oh )?"
    r"(?:(?:what|how|why|when|where|who)(?:'s| (?:is|are|was|were|do|does|did|would|can|could|has"
    r"|have|about|if|kind|makes?|made|happened))"
    r"|(?:do|did|have|are|were|would|could|can|will) (?:you|they|there)"
    r"|(?:is|was|does|has) (?:there|it|he|she|this|that|your))\b",
    re.IGNORECASE,
)


Gram = tuple[str, ...]
"""A run of words."""


class Span(NamedTuple):
    """A half-open range of characters."""

    start: int
    end: int


class UnhelpfulReason(StrEnum):
    """Why a reply is called unhelpful without asking a judge."""

    EMPTY = "empty"
    UNFINISHED = "unfinished"
    ROLE_CONFUSION = "role_confusion"
    META_TEXT = "meta_text"
    REPETITION = "repetition"
    PARROTING = "parroting"
    STOCK_REPLY = "stock_reply"
    DISMISSAL = "dismissal"


def n_words(text: str) -> int:
    """Length of a text: words, and characters where it is Chinese."""
    return count_words(text)


def asks_question(reply: str) -> bool:
    """Whether the reply asks something: a question mark, or, without it, words that open one."""
    return (
        "?" in reply
        or "？" in reply
        or _QUESTION_PARTICLE.search(reply) is not None
        or _QUESTION_OPENER.search(reply.replace("’", "'")) is not None
    )


def copy_rate(
    reply: str, history: Iterable[str], *, language: Language, n: int | None = None
) -> float | None:
    """Share of the reply's n-grams that occur in the dialogue so far.

    An n-gram is found within one message, never across two. A reply shorter than `n` words is
    one n-gram of its own length. None when the reply has no word.

    Args:
        reply: The reply to measure.
        history: Texts of the dialogue so far, of both speakers.
        language: Sets the default of `n`: four words, six characters in Chinese.
        n: Length of the n-grams in words.
    """
    tokens = word_texts(reply)
    size = min(n or as_tokens(GRAM_WORDS, language), len(tokens))
    if size == 0:
        return None
    copied = _in_history(ngram_set(reply, size), history, size)
    grams = ngrams(tokens, size) if copied else ()  # most replies copy nothing
    return sum(gram in copied for gram in grams) / (len(tokens) - size + 1)


def copied_spans(
    reply: str, history: Iterable[str], *, language: Language, n: int | None = None
) -> list[Span]:
    """The stretches of the reply that stand in the dialogue so far.

    A word is copied when it lies inside at least one n-gram found in the history (so all `n`
    words of such an n-gram are, the first ones too: a reader of the dialogue could have guessed
    the whole run). Neighbouring copied words make one span, from the first letter of the first to
    the last letter of the last with the punctuation between. Bits counted outside these spans are
    bits that copying did not earn.
    """
    tokens = words(reply)
    size = min(n or as_tokens(GRAM_WORDS, language), len(tokens))
    if size == 0:
        return []
    copied = _in_history(ngram_set(reply, size), history, size)
    is_copied = [False] * len(tokens)
    for start, gram in enumerate(ngrams(word_texts(reply), size)):
        if gram in copied:
            is_copied[start : start + size] = [True] * size
    return _joined(tokens, is_copied)


def repetition_rate(reply: str, *, language: Language, n: int | None = None) -> float | None:
    """Share of the reply's n-grams that stand in it more than once.

    A sentence said eight times gives 1, a text without a repeated run of `n` words 0. None when
    the reply is shorter than `n` words.
    """
    grams = ngrams(word_texts(reply), n or as_tokens(GRAM_WORDS, language))
    counts = Counter(grams)
    return sum(counts[gram] > 1 for gram in grams) / len(grams) if grams else None


def has_loop(reply: str, *, language: Language) -> bool:
    """Whether the reply says itself over again, as a whole or in a stretch of it."""
    size = as_tokens(GRAM_WORDS, language)
    if len(ngram_set(reply, size)) > count_words(reply) - size:
        return False  # every run of words stands there once, so nothing is said over
    rate = repetition_rate(reply, language=language)
    if rate is not None and rate >= LOOP_RATE:
        return True
    tokens, shortest = word_texts(reply), as_tokens(LOOP_UNIT_WORDS, language)
    # whatever is said so often, its first words are: few replies need a closer look
    if max(Counter(ngrams(tokens, shortest)).values(), default=0) < LOOP_TIMES:
        return False
    sizes = range(shortest, len(tokens) // LOOP_TIMES + 1)
    return any(_repeats_at(tokens, size) for size in sizes)


def distinct_n(replies: Iterable[str], n: int) -> float | None:
    """Distinct n-grams of all replies over the number of them; None when there is no n-gram.

    It falls as replies are added, so compare sets of the same number and about the same length.
    """
    grams = [gram for reply in replies for gram in ngrams(word_texts(reply), n)]
    return len(set(grams)) / len(grams) if grams else None


def is_parroting(reply: str, history: Iterable[str], *, language: Language) -> bool:
    """Whether much of a reply that is long enough to tell is copied from the dialogue."""
    if n_words(reply) < as_tokens(PARROT_MIN_WORDS, language):
        return False
    rate = copy_rate(reply, history, language=language)
    return rate is not None and rate >= PARROT_RATE


def unhelpful_reasons(
    reply: str, history: Sequence[str], *, language: Language, stop_reason: str | None = None
) -> tuple[UnhelpfulReason, ...]:
    """Every reason that the detectors give for calling the reply unhelpful; empty when none does.

    Silence is no praise: what needs reading (misread emotion, unwanted advice, contempt in polite
    words) is left to a judge.
    """
    if not n_words(reply):
        return (UnhelpfulReason.EMPTY,)
    found = {
        UnhelpfulReason.UNFINISHED: is_unfinished(reply, stop_reason),
        UnhelpfulReason.ROLE_CONFUSION: has_role_confusion(reply),
        UnhelpfulReason.META_TEXT: has_meta_text(reply),
        UnhelpfulReason.REPETITION: has_loop(reply, language=language),
        UnhelpfulReason.PARROTING: is_parroting(reply, history, language=language),
        UnhelpfulReason.STOCK_REPLY: is_stock(reply, language=language),
        UnhelpfulReason.DISMISSAL: dismisses(reply, language=language),
    }
    return tuple(reason for reason, is_found in found.items() if is_found)


def _in_history(grams: frozenset[Gram], history: Iterable[str], n: int) -> frozenset[Gram]:
    """Those n-grams that stand in a text of the history."""
    found: frozenset[Gram] = frozenset()
    for text in history:
        theirs = ngram_set(text, n)
        if not grams.isdisjoint(theirs):
            found |= grams & theirs
    return found


def _joined(tokens: Sequence[Word], is_copied: Sequence[bool]) -> list[Span]:
    """One span for each run of copied words."""
    spans: list[Span] = []
    previous = False
    for token, copied in zip(tokens, is_copied, strict=True):
        if copied and previous:
            spans[-1] = Span(spans[-1].start, token.end)
        elif copied:
            spans.append(Span(token.start, token.end))
        previous = copied
    return spans


def _repeats_at(tokens: Sequence[str], size: int) -> bool:
    """Whether some run of `size` tokens stands `LOOP_TIMES` times in a row."""
    run = 0
    for token, later in zip(tokens, tokens[size:], strict=False):
        run = run + 1 if token == later else 0
        if run >= (LOOP_TIMES - 1) * size:
            return True
    return False
