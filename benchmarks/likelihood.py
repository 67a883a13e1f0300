"""Ways to ask a model for log-likelihoods in a task (who offers them: `judges/specificity.py`)."""

from collections.abc import Sequence

from inspect_ai.model import ChatMessage, ChatMessageUser
from inspect_ai.util import collect

from judges.specificity import SupportsLoglikelihood, TokenLogprobs


async def score_all(
    model: SupportsLoglikelihood, prefixes: Sequence[Sequence[ChatMessage]], continuation: str
) -> list[TokenLogprobs]:
    """The same continuation after each of several prefixes, scored together."""
    return list(await collect(*[model.loglikelihood(prefix, continuation) for prefix in prefixes]))


def said(text: str) -> list[ChatMessage]:
    """A conversation of one user message."""
    return [ChatMessageUser(content=text)]
