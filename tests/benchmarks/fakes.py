"""Models that answer as told, and people to answer."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai import Task, eval
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    get_model,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from benchmarks.contexts import Context, Message
from judges.specificity import TokenLogprobs

Likelihood = Callable[[str, str], float]
"""Log-probability of one word of the continuation after a prefix."""


class FakeAPI(ModelAPI):
    """Scores each word of a continuation by a function of the prefix and the word."""

    likelihood: Likelihood = staticmethod(lambda prefix, word: -1.0)

    def __init__(
        self,
        model_name: str = "fake",
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (the signature that Inspect calls)
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        self.asked: list[tuple[str, str]] = []

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        return output("", "stop")

    async def loglikelihood(
        self, prefix: Sequence[ChatMessage], continuation: str
    ) -> TokenLogprobs:
        text = "\n".join(message.text for message in prefix)
        self.asked.append((text, continuation))
        words = re.findall(r"\s*\S+", continuation)
        return TokenLogprobs(
            tuple(words), tuple(self.likelihood(text, word.strip()) for word in words)
        )


@modelapi(name="fake")
def fake_api() -> type[ModelAPI]:
    return FakeAPI


class Fake(NamedTuple):
    """The fake as Inspect knows it, and as it is."""

    model: Model
    api: FakeAPI


def fake(likelihood: Likelihood) -> Fake:
    model = get_model("fake/model", memoize=False)
    api = model.api
    assert isinstance(api, FakeAPI)
    api.likelihood = likelihood
    return Fake(model, api)


def output(text: str, stop_reason: StopReason) -> ModelOutput:
    """An answer with its usage; without one, mockllm wants to download a tokenizer."""
    made = ModelOutput.from_content("mockllm/model", text, stop_reason)
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made


def answering(reply: Callable[[list[ChatMessage]], ModelOutput]) -> Model:
    """A model without log-likelihoods that answers by a function of the messages."""
    return get_model(
        "mockllm/model",
        custom_outputs=lambda input, tools, tool_choice, config: reply(input),
        memoize=False,
    )


def run(task: Task, model: Model, log_dir: Path, **roles: Model) -> EvalLog:
    [log] = eval(task, model=model, model_roles=dict(roles), log_dir=str(log_dir), display="none")
    return log


def make_context(person: str, *said: str, turn: int = 3, emotion: str | None = "fear") -> Context:
    """A context in which the person said these things, with "Mm." between."""
    messages = [Message(role="user", content=said[0])]
    for words in said[1:]:
        messages += [
            Message(role="assistant", content="Mm."),
            Message(role="user", content=words),
        ]
    return Context(
        id=f"{person}-{turn}",
        dialogue_id=person,
        turn=turn,
        language="en",
        emotion=emotion,
        problem=None,
        situation=None,
        messages=tuple(messages),
        human_reply="I see.",
        human_strategies=(),
    )
