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
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

from judges.act_cues import Match, Sentence, matches, sentences
from judges.stock import is_stock, stock_phrases
from judges.unsafe import UnsafeKind, unsafe_kinds
from judges.words import Language, words


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

STOCK_VOCABULARY_SHARE: Final = 0.75
"""A sentence with fewer words that some stock phrase has is none. Ours: below `STOCK_SHARE`."""

MIN_OFF_TOPIC_WORDS: Final = 3
"""A sentence of fewer content words says too little to be about something else."""

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
the labels of people (ESConv train): they label the rarer act that a reply is remembered for."""


def acts_of(reply: str, seeker_words: Sequence[str], *, language: Language) -> tuple[Act, ...]:
    """Distinct acts in the order of their sentences."""
    return tuple(dict.fromkeys(_acts(reply, tuple(seeker_words), language)))


def main_act(reply: str, seeker_words: Sequence[str], *, language: Language) -> Act:
    """The one label of a reply, comparable with ESConv's strategy of a turn."""
    acts = _acts(reply, tuple(seeker_words), language)
    return min(acts, key=_LEADING.index)


@lru_cache(maxsize=4096)
def _acts(reply: str, seeker_words: tuple[str, ...], language: Language) -> tuple[Act, ...]:
    """The act of each sentence; an act without a word in it is stock."""
    said: frozenset[str] = frozenset().union(
        *(content_words(text, language=language) for text in seeker_words)
    )
    acts = [_act(s, said, language) for s in sentences(reply, language=language)]
    if HOSTILE_KINDS.intersection(unsafe_kinds(reply)):
        acts.append(Act.DISMISSAL)
    return tuple(acts) or (Act.STOCK,)


def _act(sentence: Sentence, said: frozenset[str], language: Language) -> Act:
    found = matches(sentence, language=language)
    if _is_hostile(sentence, found):
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
    content = content_words(sentence.text, language=language)
    if not content or _is_stock(sentence, language):
        return Act.STOCK
    if "frame" in sections:
        return Act.REFLECTION if "strain" in sections else Act.RESTATEMENT
    if content & said:
        return Act.REFLECTION if names_feeling else Act.INFORMATION
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


def _is_hostile(sentence: Sentence, found: Sequence[Match]) -> bool:
    """Whether a hostile phrase stands in the sentence and is not denied or reported."""
    guards = [m for m in found if m.section in ("denial", "report")]
    for hostile in (m for m in found if m.section == "dismissal"):
        if not any(_shields(guard, hostile, sentence) for guard in guards):
            return True
    return False


def _shields(guard: Match, hostile: Match, sentence: Sentence) -> bool:
    if not (hostile.start - 6 <= guard.start < hostile.start):
        return False
    if any(guard.start < start <= hostile.start for start in sentence.clause_starts):
        return False
    before = sentence.tokens[max(0, guard.start - 3) : guard.start]
    return guard.section == "denial" or ("i" not in before and "我" not in before)


def grounding(reply: str, seeker_words: Sequence[str], *, language: Language) -> float:
    """Share of the reply's content words that take up what the person said, from 0 to 1.

    It is 0.0 when the reply has no content word.
    """
    content = content_words(reply, language=language)
    said: frozenset[str] = frozenset().union(
        *(content_words(text, language=language) for text in seeker_words)
    )
    return len(content & said) / len(content) if content else 0.0


_FUNCTION_WORDS: Final = frozenset(
    """
    a about after again all also am an and any anything are as at away back be because been before being
    but by can cannot come could did do does doing done down each either else ever every everything few
    for from get gets getting give go goes going gonna gone good got had has have having he hello her here
    hers hey hi him his how i if in into is it its just keep know let like little lot made make many may
    maybe me mean might mine more most much must my need never no nor not nothing now of off oh ok okay
    on once one only or other our out over own perhaps please put quite really right said same say see
    seem seems she should so some someone something sometimes somewhat soon sorry sound sounds still
    such sure take than thank thanks that the their them then there these they thing things think this
    those though through time to too try trying two under until up us use very want wanted was way we
    well went were what when where whether which while who why will with without would yeah yes yet you
    your yours yourself
    feel feeling feelings feels felt help helps hope understand
    """.split()
)
_HAN_FUNCTION: Final = frozenset(
    "的了着过是在有和与就都也还很不没这那哪么什吗呢吧啊呀哦嗯会能可以要想说觉得我你您他她它们个些"
    "太真好把被让给跟对从到为因所但而且如果或者再又才只一来去上下里时候自己样知道感"
)
_HAN_CHARACTER = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@lru_cache(maxsize=8192)
def content_words(text: str, *, language: Language) -> frozenset[str]:
    """The words that carry what a text is about: stems in English, pairs of characters in Chinese.

    Both are found in a text of either language, since replies mix them.
    """
    tokens = words(text)
    stems = {
        _stem(token.text)
        for token in tokens
        if not _is_han(token.text) and token.text.partition("'")[0] not in _FUNCTION_WORDS
    }
    pairs = {
        left.text + right.text
        for left, right in zip(tokens, tokens[1:], strict=False)
        if left.end == right.start
        and _is_han(left.text)
        and _is_han(right.text)
        and left.text not in _HAN_FUNCTION
        and right.text not in _HAN_FUNCTION
    }
    return frozenset(stems | pairs)


def _is_han(token: str) -> bool:
    return _HAN_CHARACTER.match(token) is not None


def _stem(word: str) -> str:
    """The word without the commonest endings; rough, and the same for all its forms."""
    stem = word.partition("'")[0]
    for ending in (
        "ingly",
        "edly",
        "ness",
        "ment",
        "ing",
        "ied",
        "ies",
        "ed",
        "ly",
        "es",
        "s",
        "y",
    ):
        if stem.endswith(ending) and len(stem) - len(ending) >= 3:
            stem = stem.removesuffix(ending)
            break
    if len(stem) > 3 and stem[-1] == stem[-2]:
        stem = stem[:-1]
    return stem.removesuffix("e") if len(stem) > 3 else stem
