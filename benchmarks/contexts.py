"""The points in a dialogue at which a model is asked to write the supporter's next turn.

A context is the conversation up to a supporter turn, as chat messages (seeker = user, supporter =
assistant), with the human's reply beside it. It has no system message: which instructions a model
gets is the business of the task that uses it. Inspect's messages are built on demand, because
importing Inspect takes seconds.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from benchmarks.dialogues import Dialogue, Language, Strategy, Turn

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage

MIN_SEEKER_TURNS = 2
"""A first seeker turn is often only a greeting; there is nobody to personalise for yet."""


class Message(BaseModel):
    """One chat message."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["user", "assistant"]
    content: str

    def chat_message(self) -> "ChatMessage":
        """Return the message as Inspect's."""
        from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

        if self.role == "user":
            return ChatMessageUser(content=self.content)
        return ChatMessageAssistant(content=self.content)


class Context(BaseModel):
    """A dialogue up to one supporter turn, and what the human said there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """`dialogue id-turn`."""

    dialogue_id: str
    turn: int
    """Index into the dialogue's turns of the supporter turn to be written."""

    language: Language
    emotion: str | None
    problem: str | None
    situation: str | None
    messages: tuple[Message, ...]
    """Begins and ends with a user message; roles alternate."""

    human_reply: str | None
    """None in a conversation with a simulated user: no human answered."""
    human_strategies: tuple[Strategy, ...]

    def chat_messages(self) -> "list[ChatMessage]":
        """Return the messages as Inspect's."""
        return [message.chat_message() for message in self.messages]

    def seeker_words(self) -> list[str]:
        """Return what the seeker said, turn by turn."""
        return [message.content for message in self.messages if message.role == "user"]


def contexts_of(
    dialogue: Dialogue,
    *,
    min_seeker_turns: int = MIN_SEEKER_TURNS,
    max_messages: int | None = None,
) -> list[Context]:
    """List the contexts of a dialogue.

    Args:
        dialogue: A cleaned dialogue.
        min_seeker_turns: How often the seeker must have spoken before.
        max_messages: Keep at most this many of the last messages (and begin with the seeker).
    """
    if max_messages is not None and max_messages < 1:
        raise ValueError(f"max_messages={max_messages} must be at least 1, or None for all")
    contexts = []
    n_seeker_turns = 0
    for index, turn in enumerate(dialogue.turns):
        if turn.speaker == "seeker":
            n_seeker_turns += 1
        elif n_seeker_turns >= max(1, min_seeker_turns):
            messages = _messages(dialogue.turns[:index], max_messages)
            contexts.append(_context(dialogue, index, messages))
    return contexts


def sample_contexts(
    dialogues: Iterable[Dialogue],
    *,
    n: int,
    per_dialogue: int,
    seed: int,
    min_seeker_turns: int = MIN_SEEKER_TURNS,
    max_messages: int | None = None,
) -> list[Context]:
    """Draw contexts, one from every dialogue before a second from any; fewer than n if there are.

    Independent of the order of the dialogues: contexts are ranked by SHA-256(seed, context id).
    """
    if n < 1 or per_dialogue < 1:
        raise ValueError(f"n={n} and per_dialogue={per_dialogue} must be at least 1")
    ranked: list[tuple[int, str, Context]] = []
    for dialogue in dialogues:
        contexts = contexts_of(
            dialogue, min_seeker_turns=min_seeker_turns, max_messages=max_messages
        )
        drawn = sorted((_rank(seed, context.id), context.id, context) for context in contexts)
        ranked.extend(
            (position, key, context)
            for position, (key, _, context) in enumerate(drawn[:per_dialogue])
        )
    return [context for _, _, context in sorted(ranked, key=lambda item: item[:2])[:n]]


def _rank(seed: int, context_id: str) -> str:
    return hashlib.sha256(f"{seed}\n{context_id}".encode()).hexdigest()


def _messages(turns: Sequence[Turn], max_messages: int | None) -> tuple[Message, ...]:
    last = turns if max_messages is None else turns[-max_messages:]
    if last[0].speaker == "supporter":
        last = last[1:]
    return tuple(
        Message(role="user" if turn.speaker == "seeker" else "assistant", content=turn.text)
        for turn in last
    )


def _context(dialogue: Dialogue, index: int, messages: tuple[Message, ...]) -> Context:
    reply = dialogue.turns[index]
    return Context(
        id=f"{dialogue.id}-{index}",
        dialogue_id=dialogue.id,
        turn=index,
        language=dialogue.language,
        emotion=dialogue.emotion,
        problem=dialogue.problem,
        situation=dialogue.situation,
        messages=messages,
        human_reply=reply.text,
        human_strategies=reply.strategies,
    )
