"""Stock phrases: how much of a reply could have been said to anybody about anything.

The phrases are our own, one a line in `phrases/stock.<language>.txt`, and are compared after
folding case, contractions ("I'm" = "I am") and intensifiers ("really", "so"). A phrase shorter
than the n-gram length counts only as a whole clause ("I see." but not "I see him every day"); a
longer one counts wherever it stands; and a clause that is nearly such a phrase counts whole.

What this cannot see: a generic reply in words of its own. Specificity in bits is for that
(`judges/specificity.py`).
"""

from difflib import SequenceMatcher
from functools import lru_cache
from importlib import resources
from itertools import chain
from typing import Final, NamedTuple

from judges.words import GRAM_WORDS, Language, as_tokens, clauses, ngrams, split_words

Forms = tuple[str, ...]
"""Words as they are compared."""

STOCK_SIMILARITY: Final = 0.83
"""A clause this like a phrase counts as the phrase. Ours: one word of six may differ ("I am sorry
to hear this"), one of five may not."""

STOCK_SHARE: Final = 0.8
"""A reply covered this far by stock phrases is nothing else. Ours: leaves room for a name or an
"oh", not for a clause about the person."""

_INTENSIFIERS = frozenset(("so", "very", "really", "truly", "just", "quite", "extremely", "too"))
_ENDINGS = (
    ("n't", " not"),
    ("'m", " am"),
    ("'re", " are"),
    ("'ve", " have"),
    ("'ll", " will"),
    ("'d", " would"),
    ("'s", " is"),
)
_IRREGULAR = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "im": "i am",
    "ive": "i have",
    "dont": "do not",
    "youre": "you are",
    "thats": "that is",
    "ok": "okay",
}


@lru_cache
def stock_phrases(language: Language) -> tuple[str, ...]:
    """The phrases of a language as they stand in the file, comments and blank lines left out."""
    name = f"stock.{language}.txt"
    text = resources.files("judges").joinpath("phrases", name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))


class _Phrases(NamedTuple):
    """The forms of a language's phrases, laid out for comparison."""

    whole: frozenset[Forms]
    long: dict[int, tuple[tuple[Forms, frozenset[str]], ...]]
    """Those not below the n-gram length, by their length, each with its distinct forms."""
    by_start: dict[Forms, tuple[Forms, ...]]
    """The same, by their first n-gram."""
    vocabulary: frozenset[str]
    """Forms of the long ones."""


def stock_share(reply: str, *, language: Language) -> float | None:
    """Share of the reply's words that belong to stock phrases; None when it has no word."""
    return _share(reply, language)


@lru_cache(maxsize=4096)
def _share(reply: str, language: Language) -> float | None:
    masks = [_clause_mask(clause, language) for clause in clauses(reply)]
    n_forms = sum(len(mask) for mask in masks)
    if n_forms == 0:
        return None
    return sum(sum(mask) for mask in masks) / n_forms


def is_stock(reply: str, *, language: Language) -> bool:
    """Whether the reply is nothing but stock phrases, or nearly so; a wordless reply is not."""
    share = stock_share(reply, language=language)
    return share is not None and share >= STOCK_SHARE


def _forms(text: str) -> Forms:
    """Words with contractions written out and intensifiers left out, unless there is no other."""
    spelled = tuple(chain.from_iterable(map(_spell_out, split_words(text))))
    if _INTENSIFIERS.isdisjoint(spelled):
        return spelled
    return tuple(w for w in spelled if w not in _INTENSIFIERS) or spelled


@lru_cache(maxsize=8192)
def _spell_out(word: str) -> Forms:
    if word in _IRREGULAR:
        return tuple(_IRREGULAR[word].split())
    if "'" in word:
        for ending, full in _ENDINGS:
            if word.endswith(ending):
                return tuple((word.removesuffix(ending) + full).split())
    return (word,)


@lru_cache
def _phrases(language: Language) -> _Phrases:
    size = as_tokens(GRAM_WORDS, language)
    whole = frozenset(_forms(phrase) for phrase in stock_phrases(language))
    by_length: dict[int, list[tuple[Forms, frozenset[str]]]] = {}
    by_start: dict[Forms, list[Forms]] = {}
    for phrase in whole:
        if len(phrase) >= size:
            by_length.setdefault(len(phrase), []).append((phrase, frozenset(phrase)))
            by_start.setdefault(phrase[:size], []).append(phrase)
    return _Phrases(
        whole,
        {length: tuple(phrases) for length, phrases in by_length.items()},
        {start: tuple(phrases) for start, phrases in by_start.items()},
        frozenset(form for phrase in whole if len(phrase) >= size for form in phrase),
    )


@lru_cache(maxsize=4096)
def _clause_mask(clause: str, language: Language) -> tuple[bool, ...]:
    """Which forms of a clause belong to stock phrases."""
    forms, phrases = _forms(clause), _phrases(language)
    if forms in phrases.whole or _is_near_any(forms, phrases):
        return (True,) * len(forms)
    mask = [False] * len(forms)
    starts = ngrams(forms, as_tokens(GRAM_WORDS, language))
    if phrases.by_start.keys().isdisjoint(starts):
        return tuple(mask)
    for place, start in enumerate(starts):
        for phrase in phrases.by_start.get(start, ()):
            if forms[place : place + len(phrase)] == phrase:
                mask[place : place + len(phrase)] = [True] * len(phrase)
    return tuple(mask)


def _is_near_any(forms: Forms, phrases: _Phrases) -> bool:
    """Whether the forms are like a long phrase; what can be like none is told without comparing."""
    n_known = sum(map(phrases.vocabulary.__contains__, forms))
    if not _is_alike(n_known, len(forms) + n_known):  # not even a phrase of the known ones alone
        return False
    distinct = frozenset(forms)
    for length, candidates in phrases.long.items():
        if not _is_alike(min(n_known, length), len(forms) + length):
            continue
        for phrase, own in candidates:
            n_strange = len(distinct - own)
            if _is_alike(len(forms) - n_strange, len(forms) + length) and _is_near(forms, phrase):
                return True
    return False


def _is_alike(n_matching: int, n_both: int) -> bool:
    """The ratio of `difflib`, from the forms that match and the forms of both sides."""
    return 2.0 * n_matching / n_both >= STOCK_SIMILARITY


def _is_near(forms: Forms, phrase: Forms) -> bool:
    """Whether two form sequences are alike; the cheap upper bound comes first."""
    matcher = SequenceMatcher(None, forms, phrase, autojunk=False)
    return matcher.quick_ratio() >= STOCK_SIMILARITY and matcher.ratio() >= STOCK_SIMILARITY
