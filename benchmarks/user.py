"""What a simulated user is to a conversation: somebody who opens, is moved, and answers.

Two implementations: `scripted_user.py` (deterministic, no model) and `model_user.py` (any Inspect
model in the role `user`). Both keep a private mood; the conversation records it, and neither the
supporter nor a judge sees it.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Final, NamedTuple, Protocol

from inspect_ai.model import ChatMessage
from pydantic import BaseModel, ConfigDict, Field

from benchmarks.persona import Persona

MAX_RELIEF: Final = 0.5
"""Largest fall of the emotion's intensity (of 5) in one turn: nobody heals at once. Seekers of
ESConv fall by 2.0 in about 15 exchanges."""
MAX_HARM: Final = 0.6
MAX_TRUST_GAIN: Final = 0.15
MAX_TRUST_LOSS: Final = 0.3
START_INTENSITY: Final = 4.0
"""Where a card does not say: the median of ESConv's seekers."""


class Ending(StrEnum):
    """Why a conversation ended; the last two are failures of the infrastructure, never scored."""

    SATISFIED = "satisfied"
    GAVE_UP = "gave_up"
    TURN_LIMIT = "turn_limit"
    CRISIS_HANDOFF = "crisis_handoff"
    USER_ERROR = "user_error"
    MODEL_ERROR = "model_error"

    @property
    def is_scored(self) -> bool:
        """Whether the conversation says anything about the model under test."""
        return self not in (Ending.USER_ERROR, Ending.MODEL_ERROR)


class Mood(BaseModel):
    """How the user feels now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    intensity: Annotated[float, Field(ge=1, le=5)]
    """Of their emotion, on ESConv's scale."""
    trust: Annotated[float, Field(ge=0, le=1)]
    """In this supporter."""


class Appraisal(BaseModel):
    """What one reply did to the user: bounded, with a reason."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    emotion_change: Annotated[float, Field(ge=-MAX_RELIEF, le=MAX_HARM)]
    """Of the intensity: below 0 is relief."""
    trust_change: Annotated[float, Field(ge=-MAX_TRUST_LOSS, le=MAX_TRUST_GAIN)]
    met_need: bool
    """Whether the reply gave what the person came for."""

    def applied_to(self, mood: Mood) -> Mood:
        """The mood after the reply, kept on its scales."""
        return Mood(
            intensity=round(min(5.0, max(1.0, mood.intensity + self.emotion_change)), 3),
            trust=round(min(1.0, max(0.0, mood.trust + self.trust_change)), 3),
        )


class UserTurn(BaseModel):
    """One turn of the user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    """Empty when nothing is said: the turn limit was reached."""
    mood: Mood
    appraisal: Appraisal | None = None
    """Of the reply before; None on the opening."""
    acts: tuple[str, ...] = ()
    """What the reply before did, where it was classified."""
    disclosed: int = 0
    """Facts told so far."""
    is_disturbed: bool = False
    """Whether bad news came in with this turn."""
    ending: Ending | None = None
    """Set when this is the user's last turn."""


class UserFailed(Exception):
    """The simulator failed (role break, empty turn, refusal, invalid appraisal): not the model."""


class Cue(NamedTuple):
    """What the conversation lets the user do in a turn."""

    may_end: bool
    """It is long enough for the user to leave."""
    is_last: bool
    """No reply follows: the user only feels what the last one did."""
    bad_news: bool
    """Something new and bad comes in."""


class SimulatedUser(Protocol):
    """A person in one conversation."""

    persona: Persona

    async def open(self) -> UserTurn:
        """The first message."""
        ...

    async def answer(self, messages: Sequence[ChatMessage], cue: Cue) -> UserTurn:
        """The next message.

        Calling it again after a `UserFailed` tries the same turn once more: a failed turn leaves
        no trace in the user's state.

        Args:
            messages: The dialogue so far, ending with the supporter's reply.
            cue: What the conversation lets the user do.

        Raises:
            UserFailed: no usable turn.
        """
        ...


def start_mood(persona: Persona) -> Mood:
    """How the person comes in: their intensity, and trust by temperament."""
    trust = 0.45
    if persona.big_five is not None:
        trust += {"high": 0.05, "low": -0.05, None: 0.0}[persona.big_five.agreeableness]
        trust += {"high": -0.05, "low": 0.05, None: 0.0}[persona.big_five.neuroticism]
    return Mood(intensity=float(persona.intensity or START_INTENSITY), trust=round(trust, 3))
