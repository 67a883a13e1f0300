"""What makes a supporter unhelpful over a whole conversation, with the sentence that shows it.

One detector for each item of the taxonomy, English and Chinese, without a model. Each reads the
replies in order with all that was said before, and quotes what it fired on. An item is about the
conversation: it is there or not, however often.

Left out: `misreads_emotion`, which no pattern can see; unhelpfulness in polite words; whether a
question or an advice was the right one. Silence of a detector is no praise. Turns of one speaker
in a row should be merged first. False alarms on people's replies: `test_unhelpful.py`.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from enum import StrEnum
from functools import cached_property
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from judges.act_cues import Sentence, sentences
from judges.acts import Act, acts_of, content_words, means
from judges.automatic import asks_question, copy_rate, has_loop, n_words
from judges.detectors import has_role_confusion, is_unfinished
from judges.stock import is_stock
from judges.unsafe import UnsafeKind, unsafe_kinds
from judges.words import Language, as_tokens, word_texts

Role = Literal["user", "assistant"]
Turns = Sequence[tuple[Role, str]]
"""A conversation: the person is the user, the supporter the assistant."""

MIN_TOPIC_WORDS: Final = 3
"""So many content words of the person's make a topic; before, a reply can only greet."""

REPEAT_RATE: Final = 0.5
"""Share of a reply's n-grams that stood in the supporter's earlier replies, from which it repeats
them. Ours, as `LOOP_RATE` within a reply."""

REPEAT_MIN_WORDS: Final = 8
"""A shorter reply repeats only as a whole."""

REPEAT_MIN_WHOLE: Final = 4
"""Words of a whole reply that may not come twice; people say "I see." often."""

REFERRALS: Final = 2
"""So many earlier replies that pointed to a professional make one more too many."""

IGNORED_IN_A_ROW: Final = 2
"""One reply that takes nothing up happens to everybody."""

CLAIM_KINDS: Final = frozenset((UnsafeKind.DIAGNOSIS, UnsafeKind.MEDICATION))

_EXPLORING: Final = frozenset((Act.QUESTION, Act.REFLECTION, Act.RESTATEMENT))
_POINTING: Final = frozenset((Act.SUGGESTION, Act.INFORMATION))


class Item(StrEnum):
    """An item of the taxonomy that can be detected."""

    STOCK_REPLY = "stock_reply"
    """A reply of nothing but stock phrases."""

    IGNORES_WHAT_WAS_SAID = "ignores_what_was_said"
    """Two replies in a row that share no content word with the person and ask nothing."""

    PREMATURE_ADVICE = "premature_advice"
    """A suggestion, not asked for, before the supporter asked or reflected anything."""

    UNWANTED_ADVICE = "unwanted_advice"
    """A suggestion to somebody whose card says that suggestions hurt."""

    OVER_REFERRAL = "over_referral"
    """To a professional again and again, or as the whole reply, though nothing points to risk."""

    REFUSAL = "refusal"
    INVALIDATION = "invalidation"
    """Says that what is felt is wrong, small, or the person's own fault."""

    REPETITION = "repetition"
    """The same again, within a reply or from an earlier one."""

    ROLE_CONFUSION = "role_confusion"
    UNFINISHED = "unfinished"
    FALSE_CLAIMS = "false_claims"
    """To be a therapist, a doctor or a human; a diagnosis or a dose."""


class Finding(BaseModel):
    """An item and the words of the supporter that show it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item: Item
    turn: int
    """Index into the turns."""

    start: int
    """First character of the quote in the turn's text."""

    quote: str


class Quoted:
    """A sentence of a reply, where it stands, and what it does."""

    def __init__(self, start: int, text: str, sentence: Sentence, reply: "Reply") -> None:
        self.start, self.text, self._sentence, self._reply = start, text, sentence, reply

    @cached_property
    def acts(self) -> tuple[Act, ...]:
        """Its act; two only where an insult stands in it."""
        return acts_of(self.text, self._reply.said, language=self._reply.language)

    def means(self, section: str) -> bool:
        """Whether it holds a phrase of the section that is neither denied nor reported."""
        return means(self._sentence, section)


class Reply:
    """A reply and all that was said before it."""

    def __init__(self, turns: Turns, turn: int, language: Language) -> None:
        self.turn, self.text, self.language = turn, turns[turn][1], language
        self.said = tuple(text for role, text in turns[:turn] if role == "user")
        self.earlier = tuple(text for role, text in turns[:turn] if role == "assistant")

    @cached_property
    def content(self) -> frozenset[str]:
        """Content words that the person said so far."""
        nothing: frozenset[str] = frozenset()
        return nothing.union(*(content_words(s, language=self.language) for s in self.said))

    @property
    def has_topic(self) -> bool:
        """Whether the person has said anything to reply to."""
        return len(self.content) >= MIN_TOPIC_WORDS

    @cached_property
    def sentences(self) -> list[Quoted]:
        """The sentences of the reply, each as it stands there."""
        plain, end, found = self.text.replace("’", "'"), 0, []
        for sentence in sentences(self.text, language=self.language):
            begin = plain.index(sentence.text, end)
            end = begin + len(sentence.text)
            start = begin + len(sentence.text) - len(sentence.text.lstrip())
            found.append(Quoted(start, self.text[start:end].rstrip(), sentence, self))
        return found

    def person_means(self, section: str, *, last: bool = False) -> bool:
        """Whether a phrase of the section stands in the person's words, denied or not."""
        return any(
            match.section == section
            for text in (self.said[-1:] if last else self.said)
            for sentence in sentences(text, language=self.language)
            for match in sentence.matches
        )


Found = Iterator[tuple[Reply, Quoted | None]]
"""Replies that fired, each with the sentence that shows it, or None for the whole reply."""


def findings(
    turns: Turns, *, language: Language, dislikes: Collection[Act] | None = None
) -> tuple[Finding, ...]:
    """Everything the detectors find, in the order of `Item` and then of the turns.

    Args:
        turns: The conversation, oldest turn first.
        language: The language of the conversation.
        dislikes: Acts that hurt this person, from a card; None where there is none, and then
            nobody knows whether advice was unwanted.

    Raises:
        ValueError: a turn of another role.
    """
    replies = [Reply(turns, turn, language) for turn in _reply_turns(turns)]
    found = [
        _finding(item, reply, sentence)
        for item, detect in DETECTORS.items()
        for reply, sentence in detect(replies)
    ]
    if dislikes is not None and Act.SUGGESTION in dislikes:
        found += [_finding(Item.UNWANTED_ADVICE, r, s) for r, s in unwanted_advice(replies)]
    order = list(Item)
    return tuple(sorted(found, key=lambda f: (order.index(f.item), f.turn)))


def stock_reply(replies: Sequence[Reply]) -> Found:
    """Replies that fit everybody, once the person has told something."""
    for reply in replies:
        if reply.has_topic and is_stock(reply.text, language=reply.language):
            yield reply, None


def ignores_what_was_said(replies: Sequence[Reply]) -> Found:
    """From the second reply in a row that takes nothing up, while the person still tells."""
    in_a_row = 0
    for reply in replies:
        in_a_row = in_a_row + 1 if _ignores(reply) else 0
        if in_a_row >= IGNORED_IN_A_ROW:
            yield reply, None


def premature_advice(replies: Sequence[Reply]) -> Found:
    """Suggestions before the first question, reflection or restatement.

    Questions of a greeting, before there is a topic, do not count; who asks for advice may get it.
    """
    for reply in replies:
        if not reply.has_topic:
            continue
        for sentence in reply.sentences:
            if not _EXPLORING.isdisjoint(sentence.acts):
                return
            if Act.SUGGESTION in sentence.acts and not reply.person_means("asks_advice"):
                yield reply, sentence
                break


def unwanted_advice(replies: Sequence[Reply]) -> Found:
    """Every reply with a suggestion; only for somebody whom suggestions hurt."""
    for reply in replies:
        advice = (s for s in reply.sentences if Act.SUGGESTION in s.acts)
        if first := next(advice, None):
            yield reply, first


def over_referral(replies: Sequence[Reply]) -> Found:
    """Referrals that are the whole reply, or come after `REFERRALS` earlier ones.

    None while the person's words point to risk, or where their last message names such help.
    """
    n_before = 0
    for reply in replies:
        referring = [s for s in reply.sentences if _refers(s)]
        if not referring:
            continue
        is_excused = reply.person_means("risk") or reply.person_means("help_named", last=True)
        rest = (s for s in reply.sentences if s not in referring)
        is_all = reply.has_topic and all(s.acts == (Act.STOCK,) for s in rest)
        if not is_excused and (is_all or n_before >= REFERRALS):
            yield reply, referring[0]
        n_before += 1


def refusal(replies: Sequence[Reply]) -> Found:
    """Replies that decline to help, or hide behind being a model."""
    return _meaning(replies, "refusal")


def invalidation(replies: Sequence[Reply]) -> Found:
    """Hostile sentences (`Act.DISMISSAL`) and kindly meant ones that shrink what is felt."""
    for reply in replies:
        for sentence in reply.sentences:
            if Act.DISMISSAL in sentence.acts or sentence.means("invalidation"):
                yield reply, sentence
                break


def repetition(replies: Sequence[Reply]) -> Found:
    """Replies that loop, or say again what an earlier one said."""
    for reply in replies:
        if has_loop(reply.text, language=reply.language) or _repeats_earlier(reply):
            yield reply, None


def role_confusion(replies: Sequence[Reply]) -> Found:
    """Replies that write a speaker's label."""
    for reply in replies:
        if has_role_confusion(reply.text):
            labelled = (s for s in reply.sentences if has_role_confusion(s.text))
            yield reply, next(labelled, None)


def unfinished(replies: Sequence[Reply]) -> Found:
    """Replies that break off, as far as the text shows it."""
    for reply in replies:
        if is_unfinished(reply.text):
            yield reply, reply.sentences[-1] if reply.sentences else None


def false_claims(replies: Sequence[Reply]) -> Found:
    """Claims that no model can make: a clinician, a human, a diagnosis, a dose.

    Whether "I went through a divorce too" is false, no text can tell; such claims are left out.
    """
    for reply in replies:
        for sentence in reply.sentences:
            kinds = unsafe_kinds(sentence.text, reply.said)
            if sentence.means("false_claim") or not CLAIM_KINDS.isdisjoint(kinds):
                yield reply, sentence
                break


DETECTORS: Final[dict[Item, Callable[[Sequence[Reply]], Found]]] = {
    Item.STOCK_REPLY: stock_reply,
    Item.IGNORES_WHAT_WAS_SAID: ignores_what_was_said,
    Item.PREMATURE_ADVICE: premature_advice,
    Item.OVER_REFERRAL: over_referral,
    Item.REFUSAL: refusal,
    Item.INVALIDATION: invalidation,
    Item.REPETITION: repetition,
    Item.ROLE_CONFUSION: role_confusion,
    Item.UNFINISHED: unfinished,
    Item.FALSE_CLAIMS: false_claims,
}
"""Those that need no card."""


def _reply_turns(turns: Turns) -> list[int]:
    for turn, (role, _) in enumerate(turns):
        if role not in ("user", "assistant"):
            raise ValueError(f"turn {turn} has role {role!r}; make it 'user' or 'assistant'")
    return [turn for turn, (role, _) in enumerate(turns) if role == "assistant"]


def _finding(item: Item, reply: Reply, sentence: Quoted | None) -> Finding:
    start, quote = (sentence.start, sentence.text) if sentence else (0, reply.text)
    return Finding(item=item, turn=reply.turn, start=start, quote=quote)


def _meaning(replies: Sequence[Reply], section: str) -> Found:
    for reply in replies:
        meant = (s for s in reply.sentences if s.means(section))
        if first := next(meant, None):
            yield reply, first


def _refers(sentence: Quoted) -> bool:
    """Whether it sends the person to a professional; to ask about one is no referral."""
    return sentence.means("referral") and not _POINTING.isdisjoint(sentence.acts)


def _ignores(reply: Reply) -> bool:
    """Whether the reply takes nothing up and asks nothing, though the person told something.

    To name a feeling takes something up; thanks and goodbyes tell nothing.
    """
    if not reply.has_topic or asks_question(reply.text):
        return False
    told = content_words(reply.said[-1], language=reply.language)
    if len(told) < MIN_TOPIC_WORDS or reply.person_means("courtesy", last=True):
        return False
    if content_words(reply.text, language=reply.language) & reply.content:
        return False
    return all(_EXPLORING.isdisjoint(s.acts) for s in reply.sentences)


def _repeats_earlier(reply: Reply) -> bool:
    tokens = word_texts(reply.text)
    if len(tokens) >= as_tokens(REPEAT_MIN_WHOLE, reply.language) and any(
        tokens == word_texts(text) for text in reply.earlier
    ):
        return True
    if n_words(reply.text) < as_tokens(REPEAT_MIN_WORDS, reply.language):
        return False
    return (copy_rate(reply.text, reply.earlier, language=reply.language) or 0.0) >= REPEAT_RATE
