"""A model that answers as a test says, and the records of what it was asked."""

import json
from collections.abc import Callable
from typing import Any

from inspect_ai.model import ChatMessage, Model, ModelOutput, ModelUsage, get_model

REFLECTION = {
    "personality": {"value": "a careful person", "evidence": "I always check twice"},
    "emotion": {"value": "fear", "evidence": "I am scared"},
    "situation": {"value": "The dog ran away.", "evidence": "it is gone"},
    "need": {"value": "comfort", "evidence": "please help"},
}
REFINED = "You must miss the sound of its paws."


def reply(text: str, stop_reason: Any = "stop", model: str = "mockllm/model") -> ModelOutput:
    """An answer with its bill: without one, Inspect wants a tokenizer from the network."""
    output = ModelOutput.from_content(model, text, stop_reason=stop_reason)
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def response(text: str) -> str:
    return json.dumps({"response": text})


class Scripted:
    """Answers with `answer(messages)`, a text or an output, and keeps what it was asked."""

    def __init__(self, answer: Callable[[list[ChatMessage]], str | ModelOutput]) -> None:
        self.asked: list[list[ChatMessage]] = []
        self._answer = answer
        self.model: Model = get_model("mockllm/model", memoize=False, custom_outputs=self._output)

    def systems(self) -> list[str]:
        """The first message of every call, where it is a system message."""
        return [asked[0].text for asked in self.asked if asked[0].role == "system"]

    def _output(self, messages: list[ChatMessage], *_: Any) -> ModelOutput:
        self.asked.append(list(messages))
        answer = self._answer(messages)
        return answer if isinstance(answer, ModelOutput) else reply(answer)


def one_after_another(*answers: str | ModelOutput) -> Scripted:
    """A model that gives these answers in order."""
    left = list(answers)
    return Scripted(lambda _: left.pop(0))


def is_reflecting(messages: list[ChatMessage]) -> bool:
    return messages[0].role == "system" and "reflect on this person" in messages[0].text


def is_refining(messages: list[ChatMessage]) -> bool:
    return messages[0].role == "system" and "You improve a supporter's reply" in messages[0].text


def capable(
    *, draft: str = "I am sorry.", reflection: str | None = None, refined: str | None = None
) -> Scripted:
    """A model that drafts, reflects and refines as asked."""

    def answer(messages: list[ChatMessage]) -> str:
        if is_reflecting(messages):
            return json.dumps(REFLECTION) if reflection is None else reflection
        if is_refining(messages):
            return response(REFINED) if refined is None else refined
        return draft

    return Scripted(answer)
