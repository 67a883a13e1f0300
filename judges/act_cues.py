"""Cues: short phrases that mark what a sentence does, and the one pass that finds them.

The phrases stand in `phrases/acts.<language>.txt` and, for what no act is (`unhelpful.py`), in
`phrases/unhelpful.<language>.txt`, sorted into sections. They are matched as whole
words (characters in Chinese), in lower case, with contractions written out and adverbs such as
"really" left out, by walking a tree of words from every position; so a thousand phrases cost about
as much as ten. Where a word leads from a place is worked out once and kept.

Grammar of a line: words; `(a|b)` alternatives, where an empty one makes the group optional; `_`
any one word; `^` in front: only where a clause begins, fillers such as "well," apart; `?` or `.`
at the end: only where a question, or a statement, ends. Groups do not nest; a line that ends in `|`
goes on. The sections `adverb`, `filler` and `function` are lists of words.

Nothing here knows word classes or looks across a sentence.
"""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import lru_cache
from importlib import resources
from typing import Final, NamedTuple

from judges.words import Language, word_texts

PHRASE_FILES: Final = ("acts", "unhelpful")
ANY_WORD: Final = "_"
OTHER_WORD: Final = ""
"""Stands for every word that no cue has."""
CLAUSE_START: Final = "^"
QUESTION_END: Final = "?"
STATEMENT_END: Final = "."
FILLERS: Final = "filler"
ADVERBS: Final = "adverb"
FUNCTION_WORDS: Final = "function"

_SENTENCE = re.compile(r"[^.!?。！？…\n]{0,600}[.!?。！？…\n]+|[^.!?。！？…\n]{1,600}")
"""A sentence that does not end is cut, so that a loop of a model takes no more time than a text."""

_CLAUSE_END = re.compile(r"[,;:，；：、()（）]| [-–—]+ |[–—]+")
_ASKED = re.compile(r"[?？]|吗\W*$")
_CONTINUED = re.compile(r"\|\n\s*")
_GROUP = re.compile(r"\(([^()]*)\)")
_WORD_LISTS = (FILLERS, ADVERBS, FUNCTION_WORDS)
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


class Match(NamedTuple):
    """A cue found in a sentence: its section and the half-open range of its words."""

    section: str
    start: int
    end: int


class Sentence(NamedTuple):
    """The words of a sentence and what they say of it."""

    text: str
    tokens: tuple[str, ...]
    clause_starts: frozenset[int]
    is_asked: bool
    """Whether it ends as a question."""
    matches: tuple[Match, ...]
    """Every cue in it, in the order of where it begins."""


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


class _State:
    """The places in the tree that the words so far have led to."""

    __slots__ = ("_known", "_nodes", "following", "sections")

    def __init__(self, nodes: Sequence[_Node], known: "dict[tuple[_Node, ...], _State]") -> None:
        self._nodes = nodes
        self._known = known
        self.sections = tuple(section for node in nodes for section in node.sections)
        self.following: dict[str, _State | None] = {}

    def after(self, token: str) -> "_State | None":
        """The state after one more word; None where no cue goes on with it."""
        branches = [node.following for node in self._nodes]
        nodes = [node for branch in branches if token in branch for node in branch[token]]
        for branch in branches:
            nodes += branch.get(ANY_WORD, ())
        places = tuple(nodes)
        if places and places not in self._known:
            self._known[places] = _State(places, self._known)
        self.following[token] = self._known.get(places)
        return self.following[token]


class Cues(NamedTuple):
    """The cues of a language: those that may stand anywhere and those that begin a clause."""

    anywhere: _State
    at_start: _State
    words: frozenset[str]
    """Of all cues; any other word is like any other."""
    fillers: frozenset[str]
    adverbs: frozenset[str]
    function_words: frozenset[str]
    """Words that say nothing of what a text is about."""


def sentences(text: str, *, language: Language) -> list[Sentence]:
    """The sentences of a text that hold a word."""
    return list(_sentences(text, language))


@lru_cache(maxsize=4096)
def _sentences(text: str, language: Language) -> tuple[Sentence, ...]:
    pieces = _SENTENCE.findall(text.replace("’", "'"))
    return tuple(s for piece in pieces if (s := _sentence(piece, language)).tokens)


def _matches(
    words: Sequence[str], clause_starts: Set[int], is_asked: bool, known: Cues
) -> tuple[Match, ...]:
    """Every cue in the words of a sentence, in the order of where it begins."""
    tokens = [word if word in known.words else OTHER_WORD for word in words]
    tokens.append(QUESTION_END if is_asked else STATEMENT_END)
    found: list[Match] = []
    for start in range(len(words)):
        _match_at(start, tokens, known.anywhere, found)
        if start in clause_starts:
            _match_at(start, tokens, known.at_start, found)
    return tuple(found)


def _match_at(start: int, tokens: Sequence[str], state: _State, found: list[Match]) -> None:
    """Add the cues that begin at `start`, in the order of where they end."""
    place: _State | None = state
    end = start
    while place is not None and end < len(tokens):
        token = tokens[end]
        following = place.following
        place = following[token] if token in following else place.after(token)
        end += 1
        if place is not None and place.sections:
            found.extend(Match(section, start, end) for section in place.sections)


@lru_cache
def cues(language: Language) -> Cues:
    """The cues of a language as they stand in its files."""
    roots = {True: _Node(), False: _Node()}
    words_of: dict[str, set[str]] = {name: set() for name in _WORD_LISTS}
    lines = list(_lines(language))
    for section, line in lines:
        if section in words_of:
            words_of[section].update(line.split())
    for section, line in lines:
        if section not in words_of:
            root = roots[line.startswith(CLAUSE_START)]
            _add(root, line.removeprefix(CLAUSE_START).strip(), section, words_of[ADVERBS])
    states: dict[tuple[_Node, ...], _State] = {}
    return Cues(
        _State((roots[False],), states),
        _State((roots[True],), states),
        frozenset(_words_below(roots.values())),
        *(frozenset(words_of[n]) for n in _WORD_LISTS),
    )


def _words_below(roots: Iterable[_Node]) -> set[str]:
    """Every word that a branch of the tree is marked with."""
    found: set[str] = set()
    seen: set[_Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            found.update(node.following)
            waiting += [inner for nodes in node.following.values() for inner in nodes]
    return found


def cue_words(sections: Set[str], language: Language) -> list[str]:
    """The lines of some sections without the signs of the grammar: words, in no useful order."""
    return [
        re.sub(r"[()|^_]", " ", line) for section, line in _lines(language) if section in sections
    ]


def _lines(language: Language) -> Iterator[tuple[str, str]]:
    """Each line with the section it stands in."""
    folder = resources.files("judges").joinpath("phrases")
    texts = [
        folder.joinpath(f"{f}.{language}.txt").read_text(encoding="utf-8") for f in PHRASE_FILES
    ]
    text = "\n".join(texts)
    section = ""
    for line in (raw.partition("#")[0].strip() for raw in _CONTINUED.sub("|", text).splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif line:
            yield section, line


def _add(root: _Node, line: str, section: str, adverbs: Set[str]) -> None:
    """Add the phrases of a line; after each group the alternatives meet in one node."""
    nodes = [root]
    for index, part in enumerate(_GROUP.split(line)):
        phrases = part.split("|") if index % 2 else [part]
        alternatives = [_cue_tokens(phrase, adverbs) for phrase in phrases]
        if not any(alternatives):
            continue
        end = _Node()
        for node in nodes:
            for tokens in filter(None, alternatives):
                node.add_path(tokens, end)
        nodes = [end] if all(alternatives) else [*nodes, end]
    for node in nodes:
        node.sections.append(section)


def _cue_tokens(phrase: str, adverbs: Set[str]) -> list[str]:
    tokens = [
        token
        for piece in phrase.split()
        for token in ([piece] if piece in _SIGNS else word_texts(piece))
    ]
    return _without_adverbs(tokens, adverbs)


@lru_cache(maxsize=8192)
def _sentence(text: str, language: Language) -> Sentence:
    """Kept, because a reply that loops says the same sentence hundreds of times."""
    known = cues(language)
    tokens: list[str] = []
    starts: set[int] = set()
    for clause in _CLAUSE_END.split(text):
        spelled = [token for word in word_texts(clause) for token in _spelled_out(word)]
        start = len(tokens)
        tokens += _without_adverbs(spelled, known.adverbs)
        starts.add(start)
        while start < len(tokens) and tokens[start] in known.fillers:
            start += 1
            starts.add(start)
    is_asked = bool(_ASKED.search(text))
    found = _matches(tokens, starts, is_asked, known)
    return Sentence(text, tuple(tokens), frozenset(starts), is_asked, found)


def _without_adverbs(tokens: Sequence[str], adverbs: Set[str]) -> list[str]:
    """A "so" in front is no adverb: "so you left" restates, "you are so tired" does not."""
    return [t for i, t in enumerate(tokens) if t not in adverbs or (t == "so" and i == 0)]


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
