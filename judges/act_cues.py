"""Cues: short phrases that mark what a sentence does, and the one pass that finds them.

The phrases stand in `phrases/acts.<language>.txt` and, for what no act is (`unhelpful.py`), in
`phrases/unhelpful.<language>.txt`, sorted into sections. They are matched as whole
words (characters in Chinese), in lower case, with contractions written out and adverbs such as
"really" left out, in one walk along the words that keeps every phrase that may have begun in view;
so a thousand phrases cost about as much as ten, and each word is looked up once.

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
from itertools import chain
from typing import Final, NamedTuple

from judges.words import Language, split_words

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

_CLAUSE_END = re.compile(r"[,;:，；：、()（）]")
_DASHES = "-–—"
_DASH = re.compile(r" [-–—]+ |[–—]+")
_ASKED = re.compile(r"吗\W*$")
_CONTINUED = re.compile(r"\|\n\s*")
_GROUP = re.compile(r"\(([^()]*)\)")
_WORD_LISTS = (FILLERS, ADVERBS, FUNCTION_WORDS)
_ENDS = frozenset((QUESTION_END, STATEMENT_END))
_SIGNS = _ENDS | {ANY_WORD, CLAUSE_START}

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
    """Every cue in it, in the order of where it ends."""


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


class _Place(NamedTuple):
    """How far a cue has come that may have begun so many words ago."""

    node: _Node
    length: int


class _State(dict[str, "_State"]):
    """Every place in the tree that the words so far have led to, and the state after one more word.

    It is the automaton of Aho and Corasick (1975), whose states are made when a text first leads
    to them. A word that begins a clause stands with `CLAUSE_START` in front.
    """

    def __init__(self, places: tuple[_Place, ...], tree: "_Tree") -> None:
        self._places = places
        self._tree = tree
        self.found = tuple((s, place.length) for place in places for s in place.node.sections)
        """Section and length of each cue that ends here."""

    def __missing__(self, sign: str) -> "_State":
        places = list(self._places)
        if sign not in _ENDS:
            places.append(_Place(self._tree.anywhere, 0))
        if sign.startswith(CLAUSE_START):
            places.append(_Place(self._tree.at_start, 0))
        word = sign.removeprefix(CLAUSE_START)
        self[sign] = self._tree.state(
            tuple(
                _Place(node, length + 1)
                for origin, length in places
                for branch in (word, ANY_WORD)
                for node in origin.following.get(branch, ())
            )
        )
        return self[sign]


class _Tree:
    """The cues of a language: those that may stand anywhere and those that begin a clause."""

    def __init__(self, anywhere: _Node, at_start: _Node) -> None:
        self.anywhere = anywhere
        self.at_start = at_start
        self._states: dict[tuple[_Place, ...], _State] = {}

    def state(self, places: tuple[_Place, ...]) -> _State:
        """The one state of these places."""
        if places not in self._states:
            self._states[places] = _State(places, self)
        return self._states[places]


class Cues(NamedTuple):
    """The cues of a language."""

    start: _State
    """Before the first word of a sentence."""
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
    """Every cue in the words of a sentence, in the order of where it ends."""
    signs = [word if word in known.words else OTHER_WORD for word in words]
    for start in clause_starts:
        if start < len(signs):
            signs[start] = CLAUSE_START + signs[start]
    signs.append(QUESTION_END if is_asked else STATEMENT_END)
    state = known.start
    found: list[Match] = []
    for end, sign in enumerate(signs, 1):
        state = state[sign]
        if state.found:
            found += [Match(section, end - length, end) for section, length in state.found]
    return tuple(found)


@lru_cache
def cues(language: Language) -> Cues:
    """The cues of a language as they stand in its files."""
    tree = _Tree(anywhere=_Node(), at_start=_Node())
    words_of: dict[str, set[str]] = {name: set() for name in _WORD_LISTS}
    lines = list(_lines(language))
    for section, line in lines:
        if section in words_of:
            words_of[section].update(line.split())
    for section, line in lines:
        if section not in words_of:
            root = tree.at_start if line.startswith(CLAUSE_START) else tree.anywhere
            _add(root, line.removeprefix(CLAUSE_START).strip(), section, words_of[ADVERBS])
    return Cues(
        tree.state(()),
        frozenset(_words_below((tree.anywhere, tree.at_start))),
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
        for token in ([piece] if piece in _SIGNS else split_words(piece))
    ]
    return _without_adverbs(tokens, adverbs)


@lru_cache(maxsize=8192)
def _sentence(text: str, language: Language) -> Sentence:
    """Kept, because a reply that loops says the same sentence hundreds of times."""
    known = cues(language)
    tokens: list[str] = []
    starts: set[int] = set()
    parted = _DASH.sub(",", text) if any(map(text.__contains__, _DASHES)) else text
    for clause in _CLAUSE_END.split(parted):
        spelled = list(chain.from_iterable(map(_spelled_out, split_words(clause))))
        start = len(tokens)
        tokens += _without_adverbs(spelled, known.adverbs)
        starts.add(start)
        while start < len(tokens) and tokens[start] in known.fillers:
            start += 1
            starts.add(start)
    is_asked = "?" in text or "？" in text or _ASKED.search(text) is not None
    found = _matches(tokens, starts, is_asked, known)
    return Sentence(text, tuple(tokens), frozenset(starts), is_asked, found)


def _without_adverbs(tokens: list[str], adverbs: Set[str]) -> list[str]:
    """A "so" in front is no adverb: "so you left" restates, "you are so tired" does not."""
    if adverbs.isdisjoint(tokens):
        return tokens
    return [t for i, t in enumerate(tokens) if t not in adverbs or (t == "so" and i == 0)]


@lru_cache(maxsize=8192)
def _spelled_out(word: str) -> tuple[str, ...]:
    """A word without contraction: "isn't" is two words, "mother's" is "mother"."""
    if word in _IRREGULAR:
        return tuple(_IRREGULAR[word].split())
    if "'" not in word:
        return (word,)
    for ending, full in _ENDINGS:
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending), full
    if word.endswith("'s"):
        stem = word.removesuffix("'s")
        return (stem, "is") if stem in _IS_AFTER else (stem,)
    return (word,)
