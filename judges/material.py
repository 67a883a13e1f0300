"""What a judge reads: a conversation, and what is known of the person; never a private mood.

The texts come from models and from people, and may hold anything: instructions to the judge, a
forged verdict, something that looks like the end of the conversation. They are shown between marks
that are derived from the texts themselves, so no text can hold its own closing mark.
"""

import hashlib
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from judges.words import Language

Speaker = Literal["person", "supporter"]

MARK_LENGTH: Final = 12
"""Hexadecimal digits of a mark."""

_ABOUT: Final[dict[Language, str]] = {
    "en": "About the person (no supporter was told this):",
    "zh": "关于这个人（支持者事先不知道）：",
}
_CARD: Final[dict[Language, tuple[str, str, str, str, str, str]]] = {
    "en": (
        "Profile",
        "Emotion",
        "Situation, in their own words",
        "What they came for, without saying so",
        "What helps",
        "What hurts",
    ),
    "zh": ("个人情况", "情绪", "处境（本人的话）", "没有说出口的需要", "有帮助的", "伤人的"),
}


class Turn(BaseModel):
    """One message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    speaker: Speaker
    text: str


class Wish(BaseModel):
    """Something that helps this person, or that they cannot stand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """An identifier, unique on the card: `helps_1`."""
    text: str
    is_wanted: bool


class PersonCard(BaseModel):
    """What is known of the person, in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str
    """Id of the persona; not shown to the judge."""
    profile: str
    emotion: str
    situation: str
    need: str
    wishes: tuple[Wish, ...]

    def shown(self, language: Language) -> str:
        """The card as a judge reads it, a line an entry; what is not known is left out."""
        helps = "; ".join(wish.text for wish in self.wishes if wish.is_wanted)
        hurts = "; ".join(wish.text for wish in self.wishes if not wish.is_wanted)
        values = (self.profile, self.emotion, self.situation, self.need, helps, hurts)
        named = zip(_CARD[language], values, strict=True)
        # one line an entry: a value with line breaks could pose as another entry
        return "\n".join(f"{name}: {' '.join(value.split())}" for name, value in named if value)


class Material(BaseModel):
    """One conversation to judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    language: Language
    turns: tuple[Turn, ...]
    card: PersonCard | None = None

    def replies(self, *, last_only: bool = False) -> tuple[str, ...]:
        """The supporter's texts, which are what is judged."""
        said = tuple(turn.text for turn in self.turns if turn.speaker == "supporter")
        return said[-1:] if last_only else said

    def shown(self) -> str:
        """The conversation as a judge reads it: each message between marks of its own.

        All marks are one digest of the whole conversation, so that no message can end itself and
        go on as the other side.
        """
        texts = [f"{turn.speaker}\0{turn.text}" for turn in self.turns]
        mark = digest("\0".join(texts))
        return "\n".join(_marked(turn.speaker, turn.text, mark) for turn in self.turns)


SPECIMEN: Final = Material(
    language="en",
    turns=(Turn(speaker="person", text="..."), Turn(speaker="supporter", text="...")),
    card=PersonCard(
        person="-",
        profile="...",
        emotion="...",
        situation="...",
        need="...",
        wishes=(Wish(name="helps_1", text="...", is_wanted=True),),
    ),
)
"""What a request is made of for its hash: all words that a judge is told, and none of anybody's."""


def introduced(card: PersonCard | None, language: Language) -> str:
    """The card as it stands in a request; nothing where there is none."""
    if card is None:
        return ""
    return f"{_ABOUT[language]}\n{fenced('person', card.shown(language))}\n\n"


def fenced(name: str, text: str) -> str:
    """A text between marks that it cannot close.

    The mark is a digest of the text: a text that held its own digest would have to be found by
    trial. The same text gets the same mark, so that a cache of judgements works.
    """
    return _marked(name, text, digest(text))


def digest(text: str) -> str:
    """A few digits that stand for a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:MARK_LENGTH]


def _marked(name: str, text: str, mark: str) -> str:
    return f"<{name}-{mark}>\n{text}\n</{name}-{mark}>"
