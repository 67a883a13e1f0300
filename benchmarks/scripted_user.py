"""The scripted user: a person without a model, for tests, CI and machines without a GPU.

Each turn reads the reply's acts, moves mood and trust by the person's own preferences
(`appraisal.py`), and answers from the lines that were written for this person, facts in their
order of disclosure, sooner where the supporter asks for them. The same seed gives the same words.

It does not understand language: a supporter that names the right act with the right words is
believed. Its faults are measured (`selfevo users report`).
"""

import random
import re
from collections.abc import Sequence
from typing import Final

from inspect_ai.model import ChatMessage

from benchmarks.appraisal import EMPTY_ACTS, Course, Reading, read_reply
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.persona import Fact, Lines, Persona, Topic
from benchmarks.user import Cue, Ending, UserTurn, start_mood
from judges.acts import Act, content_words
from judges.words import split_words

REACH: Final = 3
"""How far ahead in the order of disclosure a question can draw a fact."""
WELCOME: Final = -0.15
"""Change of emotion from which a person shows that a reply did them good."""
HINT_AFTER: Final = 2
"""Facts told before the person hints at what they need."""

_TOPICS: Final[dict[Topic, tuple[str, ...]]] = {
    "feeling": (" feel", "emotion", "inside", "感觉", "感受", "心情", "心里", "难受"),
    "people": (
        *(" who ", " he ", " she ", " they ", " him ", " her ", " family ", " friend "),
        *(" friends ", " partner ", " husband ", " wife ", " mother ", " mom ", " mum "),
        *(" father ", " dad ", " boss ", " kid ", " kids ", " people "),
        *("谁", "他", "她", "家人", "朋友", "同事", "父母", "孩子", "对象"),
    ),
    "history": (
        *(" how long", " when did", " when was", "since", "before", "used to", "start"),
        *("多久", "什么时候", "以前", "之前", "开始"),
    ),
    "meaning": (
        *(" why ", "afraid", "worr", "scare", "fear", "worst", "mean to you", "mean for you"),
        *("为什么", "害怕", "担心", "意味"),
    ),
    "wish": (
        *(" want", "hope", "wish", "need", "like to", "would help", "look like"),
        *("希望", "想要", "需要", "愿望"),
    ),
    "event": (
        *(" happen", "tell me", "more about", "going on", "share", "what s wrong"),
        *("what is wrong", "发生", "怎么了", "具体", "说说", "讲讲"),
    ),
}
"""What is in a question about it; a space stands where a word begins or ends."""
_PIECE: Final = re.compile(r"[^.!?。！？\n]*[.!?。！？\n]")
_ENDS: Final = re.compile(r"[.!?…。！？~～)）]\s*$")


class ScriptedUser:
    """One person in one conversation."""

    def __init__(self, persona: Persona, *, seed: int, epoch: int = 1) -> None:
        if persona.lines is None or persona.opening is None:
            field = "opening" if persona.opening is None else "lines"
            raise DataError(
                f"card '{persona.id}'",
                "is unknown, and a scripted user speaks only what is written",
                "write it, or let a model play this card (-T user=model)",
                field=field,
            )
        self.persona = persona
        self._opening = persona.opening
        self._course = Course(persona, start_mood(persona))
        self._pools = _Pools(persona.lines, random.Random(f"{seed}\n{persona.id}\n{epoch}"))
        self._last_hint = 0
        self._turn = 0

    async def open(self) -> UserTurn:
        """The opening on the card."""
        return UserTurn(text=self._opening, mood=self._course.mood)

    async def answer(self, messages: Sequence[ChatMessage], cue: Cue) -> UserTurn:
        """React, tell, or leave."""
        self._turn += 1
        said = [m.text for m in messages if m.role == "user"]
        replies = [m.text for m in messages if m.role == "assistant"]
        reading = read_reply(replies[-1], said, replies[:-1], self.persona.language)
        appraisal = self._course.appraise(reading)
        self._course.take(appraisal, reading)
        ending = self._course.ending() if cue.may_end else None
        is_disturbed = cue.bad_news and ending is None and bool(self._pools.lines.bad_news)
        if is_disturbed:
            self._course.shake()
        if ending is not None:
            parts = [self._pools.draw(_LAST_WORDS[ending])]
        elif cue.is_last:
            parts = []
        else:
            parts = self._speak(reading, appraisal.emotion_change, replies[-1])
            if is_disturbed:
                parts.append(self._pools.draw("bad_news"))
        return UserTurn(
            text=_joined(parts, self.persona.language),
            mood=self._course.mood,
            appraisal=appraisal,
            acts=tuple(act.value for act in reading.acts),
            disclosed=len(self._course.told),
            is_disturbed=is_disturbed,
            ending=ending,
        )

    def _speak(self, reading: Reading, change: float, reply: str) -> list[str]:
        """A reaction, a fact, a detail or a hint: one or two of them."""
        acts, asks = set(reading.acts), Act.QUESTION in reading.acts
        is_open = self._pole("extraversion") == "high" or self.persona.style == "talkative"
        if Act.DISMISSAL in acts:
            return [self._pools.draw("hurt")]
        hurting = [i for i, p in enumerate(self.persona.hurts) if p.act in acts]
        if change > 0 and hurting:
            pushback = self._pools.draw("pushback", hurting[0])
            return [pushback, *(self._tell(reply) if asks else [])]
        if change > 0 or acts <= EMPTY_ACTS:
            reaction = self._pools.draw("unmoved")
            # people who talk easily go on anyway, every second time
            if is_open and self._turn % 2:
                return [reaction, *self._tell(reply)]
            return [self._hint()] if self._may_hint() else [reaction]
        told = self._tell(reply)
        if not told:
            return [self._pools.draw("more" if asks else "helped")]
        if change <= WELCOME and self._turn % 2 == 0 and self.persona.style != "terse":
            return [self._pools.draw("helped"), *told]
        if change > WELCOME and self._may_hint():
            return told if self.persona.style == "terse" else [*told, self._hint()]
        return told

    def _tell(self, reply: str) -> list[str]:
        """The next fact, or the one near it that was asked for; nothing where trust is short."""
        near = self._course.tellable(REACH)
        if not near:
            return []
        facts = self.persona.disclosure
        asked = " ".join(piece for piece in _PIECE.findall(reply) if piece.endswith(("?", "？")))
        if asked:
            question = _Question(asked, self.persona.language)
            best = max(near, key=lambda i: (question.is_answered_by(facts[i]), -i))
        else:
            best = near[0]
        self._course.told.append(best)
        return [facts[best].text]

    def _may_hint(self) -> bool:
        return (
            len(self._course.told) >= HINT_AFTER
            and self._turn - self._last_hint >= 2
            and self._course.n_met < 2
        )

    def _hint(self) -> str:
        self._last_hint = self._turn
        return self._pools.draw("hints")

    def _pole(self, trait: str) -> str | None:
        return getattr(self.persona.big_five, trait) if self.persona.big_five else None


_LAST_WORDS: Final = {
    Ending.SATISFIED: "satisfied",
    Ending.GAVE_UP: "gave_up",
    Ending.CRISIS_HANDOFF: "relieved",
}


class _Pools:
    """The person's lines, shuffled once; a kind begins again only when all of it was said."""

    def __init__(self, lines: Lines, rng: random.Random) -> None:
        self.lines = lines
        self._order: dict[str, list[str]] = {}
        self._said: set[str] = set()
        for kind in Lines.model_fields:
            pool = list(getattr(lines, kind))
            rng.shuffle(pool)
            self._order[kind] = pool

    def draw(self, kind: str, fitting: int | None = None) -> str:
        """The next line of a kind; the one at `fitting` on the card first, if it was not said."""
        pool = self._order[kind]
        written = getattr(self.lines, kind)
        line = pool[0]
        if fitting is not None and fitting < len(written) and written[fitting] not in self._said:
            line = written[fitting]
        self._said.add(line)
        pool.remove(line)
        pool.append(line)  # said lines gather at the end
        return line


class _Question:
    """What a reply asks for."""

    def __init__(self, asked: str, language: Language) -> None:
        self._language = language
        self._content = content_words(asked, language=language)
        spaced = " ".join(split_words(asked)).replace("'", " ")
        self._text = f" {spaced} \n{asked}"  # as it is, too: Chinese words have no spaces

    def is_answered_by(self, fact: Fact) -> int:
        """How well a fact answers it: by its topic, and by shared words."""
        is_on_topic = fact.topic is not None and any(
            cue in self._text for cue in _TOPICS[fact.topic]
        )
        shared = content_words(fact.text, language=self._language) & self._content
        return 2 * is_on_topic + min(len(shared), 3)


def _joined(parts: Sequence[str], language: Language) -> str:
    """One message; a part that ends without a mark gets one before the next begins."""
    stop, space = ("。", "") if language == "zh" else (".", " ")
    closed = [part if _ENDS.search(part) else part.rstrip() + stop for part in parts[:-1]]
    return space.join([*closed, *parts[-1:]])
