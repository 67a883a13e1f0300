"""A conversation: the supporter and a simulated user take turns until exactly one `Ending`.

A turn is one reply of the supporter. After each the user is moved, and answers or leaves. What
went on inside the user is in the sample's store under `conversation` (viewer: Store), not in the
messages; as JSON text, since Inspect walks through what is stored value by value, several times a
sample. A failed turn of either side is tried once more; then the conversation ends in `user_error`
or `model_error`, which is never scored and always counted.
"""

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Literal, NamedTuple, TypeVar

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import LimitExceededError
from pydantic import BaseModel, ConfigDict

from benchmarks.errors import DataError
from benchmarks.persona import Persona
from benchmarks.user import Cue, Ending, SimulatedUser, UserFailed, UserTurn

Result = TypeVar("Result")
STORE_KEY: Final = "conversation"
CUT_OFF: Final = "cut off by a limit of the eval"
"""Why a conversation that nobody ended is unscored."""
ATTEMPTS: Final = 2
"""Of a turn that fails for reasons of infrastructure."""

OpenUser = Callable[[str, int], SimulatedUser]
"""Makes the user of one conversation from the id of the persona and the epoch."""


class Conversation(BaseModel):
    """What went on in the user, and how it ended; the words are the sample's messages."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    persona: str
    ending: Ending
    failure: str | None
    """Why, when the ending is an error."""
    emotion: tuple[float, ...]
    """Intensity (1 to 5) at the start and after each reply."""
    trust: tuple[float, ...]
    """0 to 1, likewise."""
    turns: tuple[UserTurn, ...]
    """The opening, then one entry a reply."""

    @property
    def relief(self) -> float:
        """Fall of the emotion's intensity over the conversation; below 0 it grew."""
        return self.emotion[0] - self.emotion[-1]


class ModelFailed(Exception):
    """The model under test gave no usable reply."""


class Length(NamedTuple):
    """How long a conversation may be, in replies."""

    turns: int
    """At most."""
    min_turns: int
    """Nobody leaves before."""

    def check(self) -> None:
        """Refuse lengths that make no conversation.

        Raises:
            DataError: fewer than one turn, or a minimum above the maximum.
        """
        if not 1 <= self.min_turns <= self.turns:
            raise DataError(
                f"turns={self.turns}, min_turns={self.min_turns}",
                "is no length of a conversation",
                "choose 1 <= min_turns <= turns",
            )


@solver
def converse(
    open_user: OpenUser,
    *,
    length: Length,
    disturb_at: int | None = None,
    task_prompt: str | None = None,
    seed: int = 7,
) -> Solver:
    """Let the model under test talk with the persona that the sample names.

    Args:
        open_user: Makes the user of a conversation. It looks up the persona: Inspect would write
            the cards into the header of the log, which is sent and read again and again.
        length: In replies.
        disturb_at: The reply after which bad news comes in; None: never.
        task_prompt: System message of the supporter.
        seed: Of the supporter's sampling, together with person, epoch and turn.
    """
    length.check()
    if disturb_at is not None and not 1 <= disturb_at <= length.turns:
        raise DataError(
            f"disturb_at={disturb_at}",
            f"is no reply of a conversation of {length.turns}",
            f"choose 1 to {length.turns}",
        )

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        user = open_user(str(state.metadata["persona"]), state.epoch)
        talk = _Talk(state, user.persona, task_prompt, seed)
        state.store.set(STORE_KEY, "")  # it stays so where a limit of the sample ends the talk
        held = await talk.run(user, length, disturb_at)
        state.store.set(STORE_KEY, held.model_dump_json(exclude_defaults=True))
        return state

    return solve


def conversation_of(store: dict[str, object]) -> Conversation | None:
    """The record in a sample's store; None where there was no conversation, or no end of one."""
    stored = store.get(STORE_KEY)
    if not stored:
        return None
    if isinstance(stored, str):
        return Conversation.model_validate_json(stored)
    return Conversation.model_validate(stored)  # of a log that was made before it was text


def was_cut_off(store: dict[str, object]) -> bool:
    """Whether a conversation began and was ended by a limit of time or tokens, not by anybody."""
    return store.get(STORE_KEY) == ""


class _Talk:
    """One conversation under way."""

    def __init__(
        self, state: TaskState, persona: Persona, task_prompt: str | None, seed: int
    ) -> None:
        self._state = state
        self._persona = persona
        self._seed = seed
        self._turns: list[UserTurn] = []
        state.messages = []
        if task_prompt:
            self._add("system", task_prompt)

    async def run(
        self, user: SimulatedUser, length: Length, disturb_at: int | None
    ) -> Conversation:
        """Take turns until somebody leaves, fails, or the limit is reached."""
        try:
            self._hear(await _twice(user.open, UserFailed))
            for number in range(1, length.turns + 1):
                await _twice(self._reply, ModelFailed)
                cue = Cue(
                    may_end=number >= length.min_turns,
                    is_last=number == length.turns,
                    bad_news=number == disturb_at,
                )
                turn = await _twice(partial(user.answer, self._dialogue(), cue), UserFailed)
                self._hear(turn)
                if turn.ending is not None:
                    return self._ended(turn.ending)
            return self._ended(Ending.TURN_LIMIT)
        except UserFailed as failure:
            return self._ended(Ending.USER_ERROR, str(failure))
        except ModelFailed as failure:
            return self._ended(Ending.MODEL_ERROR, str(failure))

    async def _reply(self) -> None:
        """One reply of the model under test."""
        number = len(self._turns)
        config = GenerateConfig(seed=_seed(self._seed, self._persona.id, self._state.epoch, number))
        output = await _generated(self._state.messages, config)
        if output.stop_reason == "content_filter":
            raise ModelFailed("refused by the provider's content filter")
        if not output.completion.strip():
            raise ModelFailed(f"an empty reply in turn {number} (stop reason {output.stop_reason})")
        self._state.output = output
        self._add("assistant", output.completion.strip())

    def _hear(self, turn: UserTurn) -> None:
        self._turns.append(turn)
        if turn.text:
            self._add("user", turn.text)

    def _dialogue(self) -> list[ChatMessage]:
        return [m for m in self._state.messages if m.role != "system"]

    def _add(self, role: Literal["system", "user", "assistant"], text: str) -> None:
        """Append a message; its id is reproducible, unlike Inspect's random ones."""
        kinds = {
            "system": ChatMessageSystem,
            "user": ChatMessageUser,
            "assistant": ChatMessageAssistant,
        }
        place = len(self._state.messages)
        name = f"{self._persona.id}-{self._state.epoch}-{place}"
        self._state.messages.append(kinds[role](content=text, id=name))

    def _ended(self, ending: Ending, failure: str | None = None) -> Conversation:
        return Conversation(
            persona=self._persona.id,
            ending=ending,
            failure=failure,
            emotion=tuple(turn.mood.intensity for turn in self._turns),
            trust=tuple(turn.mood.trust for turn in self._turns),
            turns=tuple(self._turns),
        )


async def _generated(messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
    try:
        return await get_model().generate(messages, config=config)
    except LimitExceededError:
        raise
    except Exception as error:  # providers raise what they like; it is counted
        raise ModelFailed(f"{type(error).__name__}: {error}") from error


async def _twice(attempt: Callable[[], Awaitable[Result]], failure: type[Exception]) -> Result:
    """Try a turn again when it fails for a reason of infrastructure."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await attempt()
        except failure:
            continue
    return await attempt()


def _seed(seed: int, persona: str, epoch: int, turn: int) -> int:
    digest = hashlib.sha256(f"{seed}\n{persona}\n{epoch}\n{turn}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1
