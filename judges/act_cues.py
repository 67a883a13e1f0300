"""Cues: short phrases that mark what a sentence does, and the one pass that finds them.

The phrases stand in `phrases/acts.<language>.txt`, sorted into sections. They are matched as whole
words (characters in Chinese), in lower case, with contractions written out and adverbs such as
"really" left out, by walking a tree of words from every position; so a thousand phrases cost about
as much as ten.

Grammar of a line: words; `(a|b)` alternatives, where an empty one makes the group optional; `_`
any one word; `^` in front: only where a clause begins, fillers such as "well," apart; `?` or `.`
at the end: only where a question, or a statement, ends. Groups do not nest. Nothing here knows word classes or looks
across a sentence.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

from judges.words import Language, word_texts

ANY_WORD: Final = "_"
CLAUSE_START: Final = "^"
QUESTION_END: Final = "?"
STATEMENT_END: Final = "."
FILLERS: Final = "filler"
ADVERBS: Final = "adverb"

_SENTENCE = re.compile(r"[^.!?。！？…\n]*[.!?。！？…\n]+|[^.!?。！？…\n]+")
_CLAUSE_END = re.compile(r"[,;:，；：、()（）]| [-–—]+ |[–—]+")
_GROUP = re.compile(r"\(([^()]*)\)")
_SIGNS = frozenset((ANY_WORD, CLAUSE_START, QUESTION_END, STATEMENT_END))

_ENDINGS = (
    ("n't", "not"),
    ("'m", "am"),
    ("'re", "are"),
    ("'ve", "have"),
    ("'ll", "will"),
    ("'d", "would"),
)
_IRREGULAR = {
    "can't": "can not",
    "cannot": "can not",
    "won't": "will not",
    "let's": "let us",
    "cant": "can not",
    "im": "i am",
    "ive": "i have",
    "dont": "do not",
    "didnt": "did not",
    "doesnt": "does not",
    "isnt": "is not",
    "youre": "you are",
    "u": "you",
    "ur": "your",
    "thats": "that is",
    "its": "it is",
    "ok": "okay",
    "gonna": "going to",
    "wanna": "want to",
}
"""Spelled the way people type. "its" is read as "it is": no cue needs the possessive."""

_IS_AFTER = frozenset(
    ("it", "that", "he", "she", "what", "there", "here", "how", "who", "where", "everything")
)
"""After these "'s" is "is"; elsewhere it is taken for the possessive and left out."""


class Sentence(NamedTuple):
    """The words of a sentence, where its clauses begin, and whether it ends as a question."""

    text: str
    tokens: tuple[str, ...]
    clause_starts: frozenset[int]
    is_asked: bool


class Match(NamedTuple):
    """A cue found in a sentence: its section and the half-open range of its words."""

    section: str
    start: int
    end: int


class _Node:
    """A place in the tree of words: what may follow, and the sections of the cues that end here."""

    __slots__ = ("following", "sections")

    def __init__(self) -> None:
        self.following: dict[str, list[_Node]] = {}
        self.sections: list[str] = []

    def add_path(self, tokens: Sequence[str], end: "_Node") -> None:
        """Lead over the tokens to an end that alternatives share."""
        node = self
        for token in tokens[:-1]:
            inner = _Node()
            node.following.setdefault(token, []).append(inner)
            node = inner
        node.following.setdefault(tokens[-1], []).append(end)

    def ends(self, tokens: Sequence[str], start: int) -> Iterator[tuple[str, int]]:
        """Sections of the cues that begin at `start`, each with where the cue ends."""
        nodes = [self]
        for index in range(start, len(tokens)):
            token = tokens[index]
            nodes = [
                found
                for node in nodes
                for key in (token, ANY_WORD)
                for found in node.following.get(key, ())
            ]
            if not nodes:
                return
            for node in nodes:
                for section in node.sections:
                    yield section, index + 1


class Cues(NamedTuple):
    """The cues of a language: those that may stand anywhere and those that begin a clause."""

    anywhere: _Node
    at_start: _Node
    fillers: frozenset[str]
    adverbs: frozenset[str]


def sentences(text: str, *, language: Language) -> list[Sentence]:
    """The sentences of a text that hold a word."""
    known = cues(language)
    pieces = (m.group() for m in _SENTENCE.finditer(text.replace("’", "'")))
    found = (_sentence(piece, known) for piece in pieces)
    return [sentence for sentence in found if sentence.tokens]


def matches(sentence: Sentence, *, language: Language) -> list[Match]:
    """Every cue in a sentence, in the order of where it begins."""
    known = cues(language)
    tokens = (*sentence.tokens, QUESTION_END if sentence.is_asked else STATEMENT_END)
    found = []
    for start in range(len(sentence.tokens)):
        roots = (known.anywhere, known.at_start)
        for root in roots if start in sentence.clause_starts else roots[:1]:
            found += [Match(section, start, end) for section, end in root.ends(tokens, start)]
    return found


@lru_cache
def cues(language: Language) -> Cues:
    """The cues of a language as they stand in its file."""
    roots = {True: _Node(), False: _Node()}
    words_of: dict[str, set[str]] = {FILLERS: set(), ADVERBS: set()}
    for section, line in _lines(language):
        if section in words_of:
            words_of[section].update(line.split())
        else:
            root = roots[line.startswith(CLAUSE_START)]
            _add(root, line.removeprefix(CLAUSE_START), section)
    fillers, adverbs = (frozenset(words_of[name]) for name in (FILLERS, ADVERBS))
    return Cues(roots[False], roots[True], fillers, adverbs)


def _lines(language: Language) -> Iterator[tuple[str, str]]:
    """Each line with the section it stands in."""
    name = f"acts.{language}.txt"
    text = resources.files("judges").joinpath("phrases", name).read_text(encoding="utf-8")
    section = ""
    for line in (raw.partition("#")[0].strip() for raw in text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            yield section, line


def _add(root: _Node, line: str, section: str) -> None:
    """Add the phrases of a line; after each group the alternatives meet in one node."""
    nodes = [root]
    for index, part in enumerate(_GROUP.split(line)):
        alternatives = [_cue_tokens(a) for a in (part.split("|") if index % 2 else [part])]
        if not any(alternatives):
            continue
        end = _Node()
        for node in nodes:
            for tokens in filter(None, alternatives):
                node.add_path(tokens, end)
        nodes = [end] if all(alternatives) else [*nodes, end]
    for node in nodes:
        node.sections.append(section)


def _cue_tokens(phrase: str) -> list[str]:
    return [
        token
        for piece in phrase.split()
        for token in ([piece] if piece in _SIGNS else word_texts(piece))
    ]


def _sentence(text: str, known: Cues) -> Sentence:
    tokens: list[str] = []
    starts: set[int] = set()
    for clause in _CLAUSE_END.split(text):
        spelled = [token for word in word_texts(clause) for token in _spelled_out(word)]
        start = len(tokens)
        tokens += [t for i, t in enumerate(spelled) if t not in known.adverbs or _opens(t, i)]
        starts.add(start)
        while start < len(tokens) and tokens[start] in known.fillers:
            start += 1
            starts.add(start)
    return Sentence(text, tuple(tokens), frozenset(starts), "?" in text or "？" in text)


def _opens(token: str, index: int) -> bool:
    """ "So" in front is no adverb: "so you left" restates, "you are so tired" does not."""
    return token == "so" and index == 0


@lru_cache(maxsize=8192)
def _spelled_out(word: str) -> tuple[str, ...]:
    """A word without contraction: "isn't" is two words, "mother's" is "mother"."""
    if word in _IRREGULAR:
        return tuple(_IRREGULAR[word].split())
    for ending, full in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending), full
    if word.endswith("'s"):
        stem = word.removesuffix("'s")
        return (stem, "is") if stem in _IS_AFTER else (stem,)
    return (word,)
