"""How text becomes words: the one tokenisation that every automatic measure counts with.

A run of letters and digits is a word; a Chinese character is a word of its own, because Chinese
does not mark where words end and a segmenter would add a dependency and its mistakes. The rule
looks at the script, not at a language flag, so an English name inside a Chinese reply is one
word, and a reply in the wrong language is still counted sensibly. Punctuation and emoji are no
words. Japanese kana and Korean are treated as letters; nothing here was checked on them.
"""

import math
import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

Language = Literal["en", "zh"]

GRAM_WORDS: Final = 4
"""Length of the n-grams of copying and repetition, as in the pilot."""

CHARACTERS_PER_WORD: Final = 1.5
"""A Chinese word is about this long. So four words are six characters, and are as rare: replies of
people copy 1.4% of their 4-grams from the dialogue (ESConv train), counsellors' Chinese replies
1.9% of their 6-grams, but 5.5% of their 4-grams (CPsyCoun)."""

_HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+(?:['’][^\W_{_HAN}]+)*")
_CLAUSE_END = re.compile(r"[.!?;:,…。！？；：，、\n]+")


class Word(NamedTuple):
    """A word in lower case and where it stands in the text."""

    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """The words of a text in order; spans index the text as given."""
    return [
        Word(m.group().lower().replace("’", "'"), m.start(), m.end()) for m in _WORD.finditer(text)
    ]


def word_texts(text: str) -> list[str]:
    """The words of a text without their places."""
    return [word.text for word in words(text)]


def as_tokens(n_words: int, language: Language) -> int:
    """How many tokens of this module a length given in English words is in a language."""
    return n_words if language == "en" else math.ceil(n_words * CHARACTERS_PER_WORD)


def clauses(text: str) -> list[str]:
    """The pieces between punctuation marks that hold at least one word."""
    return [piece for piece in _CLAUSE_END.split(text) if _WORD.search(piece)]


def ngrams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of `n` tokens, in order; empty when there are fewer than `n`."""
    if n < 1:
        raise ValueError(f"n is {n}; an n-gram has at least one token")
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
