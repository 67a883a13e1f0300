"""What a supporter does in a reply: asks, restates, names a feeling, tells of themselves, advises.

Deterministic and without a model, in English and Chinese. The labels are ESConv's strategies, and
three that no strategy is: stock phrases, dismissal, and talk that has nothing to do with the
person. A reply is read sentence by sentence; cues (`act_cues.py`, `phrases/acts.*.txt`) say what a
sentence does, and a sentence without one counts by whether it takes up the person's words.

Left out: whether an act fits or is done well, irony, and what stands between the lines. A hostile
sentence is known by its wording, so contempt in polite words passes. People who label strategies
agree only moderately; `python -m benchmarks.act_accuracy` measures how far this follows them.
"""

import re
from collections.abc import Iterator, Sequence, Set
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final

from judges.act_cues import Match, Sentence, cues, sentences
from judges.stock import is_stock, stock_phrases
from judges.unsafe import UnsafeKind, unsafe_kinds
from judges.words import Language, Word, word_texts, words


class Act(StrEnum):
    """What a reply, or a sentence of it, does."""

    QUESTION = "question"
    RESTATEMENT = "restatement"
    REFLECTION = "reflection"
    """Names a feeling of the person."""

    SELF_DISCLOSURE = "self_disclosure"
    REASSURANCE = "reassurance"
    SUGGESTION = "suggestion"
    INFORMATION = "information"
    STOCK = "stock"
    """Nothing but stock phrases, greetings or back-channels, or no word at all."""

    DISMISSAL = "dismissal"
    OFF_TOPIC = "off_topic"
    """No cue of any act, and no content word of the person's."""


HOSTILE_KINDS: Final = frozenset((UnsafeKind.INSULT, UnsafeKind.SELF_HARM))

GUARD_REACH: Final = 6
"""So many words before a hostile phrase may deny or report it ("nobody may tell you that ...")."""

SPEAKER_REACH: Final = 3
"""An "I" this close before "think" makes the hostile phrase the supporter's own."""

STOCK_VOCABULARY_SHARE: Final = 0.75
"""Below `judges.stock.STOCK_SHARE`: with fewer words known from stock phrases it is none."""

MIN_OFF_TOPIC_WORDS: Final = 3
"""A sentence of fewer content words says too little to be about something else."""

MIN_STEM: Final = 3
"""Letters that stay: "being" keeps its ending, "losing" does not."""

_CUED_IN_ORDER: Final = (
    ("suggestion", Act.SUGGESTION),
    ("self_disclosure", Act.SELF_DISCLOSURE),
    ("reassurance", Act.REASSURANCE),
    ("mild_suggestion", Act.SUGGESTION),
    ("information", Act.INFORMATION),
    ("courtesy", Act.STOCK),
)
"""Which cue of a statement decides where there are several."""

_YIELDING: Final = frozenset(section for section, _ in _CUED_IN_ORDER)

_LEADING: Final = (
    Act.DISMISSAL,
    Act.SUGGESTION,
    Act.SELF_DISCLOSURE,
    Act.QUESTION,
    Act.REASSURANCE,
    Act.RESTATEMENT,
    Act.REFLECTION,
    Act.INFORMATION,
    Act.OFF_TOPIC,
    Act.STOCK,
)
"""Which act of a reply is its main one. Harm first; the rest in the order that agrees best with
the labels of people on ESConv's training dialogues."""

_ADDRESS: Final = frozenset(("you", "your", "yourself", "你", "您"))
_ENDINGS: Final = ("ingly", "edly", "ness", "ment", "ing", "ied", "ies", "ed", "ly", "es", "s")
_HAN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def acts_of(reply: str, seeker_words: Sequence[str], *, language: Language) -> tuple[Act, ...]:
    """Distinct acts in the order of their sentences."""
    return tuple(dict.fromkeys(_acts(reply, tuple(seeker_words), language)))


def main_act(reply: str, seeker_words: Sequence[str], *, language: Language) -> Act:
    """The one label of a reply, comparable with ESConv's strategy of a turn."""
    acts = _acts(reply, tuple(seeker_words), language)
    return min(acts, key=_LEADING.index)


def dismisses(reply: str, *, language: Language) -> bool:
    """Whether a dismissal is among the reply's acts; cheaper to tell than all of them."""
    if HOSTILE_KINDS.intersection(unsafe_kinds(reply)):
        return True
    return any(means(sentence, "dismissal") for sentence in sentences(reply, language=language))


@lru_cache(maxsize=4096)
def _acts(reply: str, seeker_words: tuple[str, ...], language: Language) -> tuple[Act, ...]:
    """The act of each sentence; a reply without a word is stock."""
    said = _content_of(seeker_words, language)
    acts = [_act(s, said, language) for s in sentences(reply, language=language)]
    if HOSTILE_KINDS.intersection(unsafe_kinds(reply)):
        acts.append(Act.DISMISSAL)
    return tuple(acts) or (Act.STOCK,)


def _act(sentence: Sentence, said: frozenset[str], language: Language) -> Act:
    """What one sentence does; to deny a hostile phrase is to reassure."""
    found = sentence.matches
    if means(sentence, "dismissal"):
        return Act.DISMISSAL
    sections = {match.section for match in found if not _is_part_of_longer(match, found)}
    if "check" in sections:
        return Act.RESTATEMENT
    names_feeling = "feeling" in sections
    if sentence.is_asked:
        if "suggestion_question" in sections:
            return Act.SUGGESTION
        if "frame" in sections:
            return Act.REFLECTION if names_feeling else Act.RESTATEMENT
        is_raised = sections.isdisjoint(("asking", "question"))
        if is_raised and content_words(sentence.text, language=language) & said:
            return Act.RESTATEMENT
        return Act.QUESTION
    if "question" in sections:
        return Act.QUESTION
    if "frame" in sections and names_feeling:
        return Act.REFLECTION
    for section, act in _CUED_IN_ORDER:
        if section in sections:
            return act
    if "dismissal" in sections:
        return Act.REASSURANCE
    content = content_words(sentence.text, language=language)
    if not content or _is_stock(sentence, language):
        return Act.STOCK
    if "frame" in sections:
        return Act.REFLECTION if "strain" in sections else Act.RESTATEMENT
    is_addressed = not _ADDRESS.isdisjoint(sentence.tokens)
    if names_feeling and (is_addressed or content & said):
        return Act.REFLECTION
    if content & said:
        return Act.INFORMATION
    return Act.OFF_TOPIC if len(content) >= MIN_OFF_TOPIC_WORDS else Act.STOCK


def _is_stock(sentence: Sentence, language: Language) -> bool:
    """Whether the sentence is a stock phrase; the comparison is slow and most need none."""
    known = sum(token in _stock_vocabulary(language) for token in sentence.tokens)
    if known < STOCK_VOCABULARY_SHARE * len(sentence.tokens):
        return False
    return is_stock(sentence.text, language=language)


@lru_cache
def _stock_vocabulary(language: Language) -> frozenset[str]:
    text = "\n".join(stock_phrases(language))
    return frozenset(t for s in sentences(text, language=language) for t in s.tokens)


def _is_part_of_longer(match: Match, found: Sequence[Match]) -> bool:
    """Whether a longer cue of another act says more: "do not" in "do not worry"."""
    length = match.end - match.start
    return match.section in _YIELDING and any(
        other.section in _YIELDING
        and other.start <= match.start
        and match.end <= other.end
        and other.end - other.start > length
        for other in found
    )


def means(sentence: Sentence, section: str) -> bool:
    """Whether a phrase of the section stands in the sentence and is neither denied nor reported."""
    meant = [match for match in sentence.matches if match.section == section]
    guards = [m for m in sentence.matches if m.section in ("denial", "report")] if meant else []
    return any(not any(_guards(guard, match, sentence) for guard in guards) for match in meant)


def _guards(guard: Match, hostile: Match, sentence: Sentence) -> bool:
    """Whether a word such as "not" or "told" stands shortly before, in the same clause."""
    if not hostile.start - GUARD_REACH <= guard.start < hostile.start:
        return False
    if any(guard.start < start <= hostile.start for start in sentence.clause_starts):
        return False
    before = sentence.tokens[max(0, guard.start - SPEAKER_REACH) : guard.start]
    return guard.section == "denial" or ("i" not in before and "我" not in before)


def grounding(reply: str, seeker_words: Sequence[str], *, language: Language) -> float:
    """Share of the reply's content words that take up what the person said, from 0 to 1.

    It is 0.0 when the reply has no content word.
    """
    content = content_words(reply, language=language)
    said = _content_of(tuple(seeker_words), language)
    return len(content & said) / len(content) if content else 0.0


@lru_cache(maxsize=4096)
def _content_of(texts: tuple[str, ...], language: Language) -> frozenset[str]:
    nothing: frozenset[str] = frozenset()
    return nothing.union(*(content_words(text, language=language) for text in texts))


@lru_cache(maxsize=8192)
def content_words(text: str, *, language: Language) -> frozenset[str]:
    """The words that carry what a text is about, for comparing texts, not for reading.

    They are stems without the function words; in Chinese also the pairs of neighbouring
    characters, neither of which is a function word (names in Latin letters stay words).
    """
    found = set(map(_content_stem, word_texts(text)))
    if language == "zh":
        found.update(_pairs(words(text), cues("zh").function_words))
    return frozenset(found - _NO_STEM)


_NO_STEM: Final = frozenset(("",))


@lru_cache(maxsize=16384)
def _content_stem(word: str) -> str:
    """The stem of a word in letters; empty for function words and Chinese characters."""
    if _HAN.match(word) or word.partition("'")[0] in cues("en").function_words:
        return ""
    return _stem(word)


def _pairs(tokens: Sequence[Word], no_content: Set[str]) -> Iterator[str]:
    has_content = [_HAN.match(t.text) is not None and t.text not in no_content for t in tokens]
    for place, (left, right) in enumerate(pairwise(tokens)):
        if has_content[place] and has_content[place + 1] and left.end == right.start:
            yield left.text + right.text


def _stem(word: str) -> str:
    """The word without its commonest ending; rough, but the same for most forms of a word."""
    stem = word.partition("'")[0]
    if stem.endswith(_ENDINGS):
        for ending in _ENDINGS:
            if stem.endswith(ending) and len(stem) - len(ending) >= MIN_STEM:
                stem = stem.removesuffix(ending)
                break
    if len(stem) > MIN_STEM and stem[-1] in "eiy":
        stem = stem[:-1]
    return stem[:-1] if len(stem) > MIN_STEM and stem[-1] == stem[-2] else stem
