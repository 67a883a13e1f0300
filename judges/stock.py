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
from typing import Final

from judges.words import GRAM_WORDS, Language, as_tokens, clauses, word_texts

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


def stock_share(reply: str, *, language: Language) -> float | None:
    """Share of the reply's words that belong to stock phrases; None when it has no word."""
    masks = [_clause_mask(clause, language) for clause in clauses(reply)]
    n_forms = sum(len(mask) for mask in masks)
    if n_forms == 0:
        return None
    return sum(sum(mask) for mask in masks) / n_forms


def is_stock(reply: str, *, language: Language) -> bool:
    """Whether the reply is nothing but stock phrases, or nearly so; a wordless reply is not."""
    share = stock_share(reply, language=language)
    return share is not None and share >= STOCK_SHARE


def _forms(text: str) -> tuple[str, ...]:
    """Words with contractions written out and intensifiers left out, unless there is no other."""
    spelled = tuple(w for word in word_texts(text) for w in _spell_out(word).split())
    return tuple(w for w in spelled if w not in _INTENSIFIERS) or spelled


def _spell_out(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    for ending, full in _ENDINGS:
        if word.endswith(ending):
            return word.removesuffix(ending) + full
    return word


@lru_cache
def _phrase_forms(language: Language) -> frozenset[tuple[str, ...]]:
    return frozenset(_forms(phrase) for phrase in stock_phrases(language))


@lru_cache(maxsize=4096)
def _clause_mask(clause: str, language: Language) -> tuple[bool, ...]:
    """Which forms of a clause belong to stock phrases."""
    forms = _forms(clause)
    phrases = _phrase_forms(language)
    long_phrases = [p for p in phrases if len(p) >= as_tokens(GRAM_WORDS, language)]
    if forms in phrases or any(_is_near(forms, phrase) for phrase in long_phrases):
        return (True,) * len(forms)
    mask = [False] * len(forms)
    for phrase in long_phrases:
        for start in range(len(forms) - len(phrase) + 1):
            if forms[start : start + len(phrase)] == phrase:
                mask[start : start + len(phrase)] = [True] * len(phrase)
    return tuple(mask)


def _is_near(forms: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    """Whether two form sequences are alike; the cheap upper bounds come first."""
    matcher = SequenceMatcher(None, forms, phrase, autojunk=False)
    return (
        matcher.real_quick_ratio() >= STOCK_SIMILARITY
        and matcher.quick_ratio() >= STOCK_SIMILARITY
        and matcher.ratio() >= STOCK_SIMILARITY
    )
