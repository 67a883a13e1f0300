"""Specificity in bits: how much more likely a reply is for this person than for others.

Under a frozen reference language model, with a reply `r`, the dialogue `d` it answers and the
dialogues `d_1 ... d_k` of other people:

    specificity(r) = log2 p(r | d) - 1/k * sum_j log2 p(r | d_j)

A phrase that fits everyone is as likely after any dialogue and scores near 0; a reply about this
person's dog is likely only after a dialogue with the dog in it. Here is the arithmetic and the
protocol of the model; the model itself, and torch, are elsewhere (`selfevo/provider.py`).

Measured with SmolLM2-135M on ESConv: replies of people mean 13.9 bits, stock phrases 1.2; AUC 0.85
for telling a person's reply from a generic one, 0.54 for telling what the seeker rated higher. So
it measures *generic or specific*, not *helpful*. Parroting inflates it (a pilot's first DPO round
won 10 bits by copying the dialogue): show it with the copy rate, and pass the spans of copied text
(`judges.automatic.copied_spans`) as `excluded`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, Model


@dataclass(frozen=True)
class TokenLogprobs:
    """The tokens of a continuation and the natural log of each one's probability."""

    texts: tuple[str, ...]
    """Pieces of text that concatenate to the continuation."""
    logprobs: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.logprobs):
            raise ValueError(
                f"{len(self.texts)} pieces of text but {len(self.logprobs)} log-probabilities; "
                "there must be one for each piece"
            )
        for text, logprob in zip(self.texts, self.logprobs, strict=True):
            if not math.isfinite(logprob):
                raise ValueError(f"log-probability of {text!r} is {logprob}; it must be finite")


@runtime_checkable
class SupportsLoglikelihood(Protocol):
    """A model that can say how likely a given continuation is."""

    async def loglikelihood(
        self, prefix: "Sequence[ChatMessage]", continuation: str
    ) -> TokenLogprobs:
        """Log-probabilities of `continuation` as the assistant's next turn after `prefix`."""
        ...


def require_loglikelihood(model: "Model") -> SupportsLoglikelihood:
    """The part of an Inspect model that scores continuations; most providers have none.

    Raises:
        TypeError: the model's provider offers no `loglikelihood`.
    """
    api: object = model.api
    if not isinstance(api, SupportsLoglikelihood):
        raise TypeError(
            f"{model} cannot score the likelihood of a given reply; use a model that can, such as "
            "selfevo/default or selfevo/PATH of a local checkpoint"
        )
    return api


def bits(tokens: TokenLogprobs, excluded: Sequence[tuple[int, int]] = ()) -> float:
    """The log2 probability of a continuation, so never above 0; negated, its length in bits.

    Args:
        tokens: The scored continuation.
        excluded: Character ranges of the continuation, half open; a token that overlaps one is
            left out. With everything left out the sum is 0.
    """
    _check_ranges(tokens, excluded)
    total, start = 0.0, 0
    for text, logprob in zip(tokens.texts, tokens.logprobs, strict=True):
        end = start + len(text)
        if not any(start < stop and first < end for first, stop in excluded):
            total += logprob
        start = end
    return total / math.log(2)


def specificity_bits(
    own: TokenLogprobs,
    others: Sequence[TokenLogprobs],
    excluded: Sequence[tuple[int, int]] = (),
) -> float:
    """Bits by which the reply is more likely after this person's dialogue than after others'.

    Args:
        own: The reply scored after the dialogue that it answers.
        others: The same reply scored after dialogues of other people.
        excluded: Character ranges of the reply that do not count, see `bits`.
    """
    if not others:
        raise ValueError("others is empty; specificity needs the dialogue of another person")
    for number, other in enumerate(others):
        if other.texts != own.texts:
            raise ValueError(
                f"others[{number}] scores the pieces {_shown(other)} but own scores "
                f"{_shown(own)}; score the same reply with the same tokenizer"
            )
    mean_others = math.fsum(bits(other, excluded) for other in others) / len(others)
    return bits(own, excluded) - mean_others


def _check_ranges(tokens: TokenLogprobs, excluded: Sequence[tuple[int, int]]) -> None:
    length = sum(len(text) for text in tokens.texts)
    for start, end in excluded:
        if not 0 <= start <= end <= length:
            raise ValueError(
                f"excluded range ({start}, {end}) is not inside the continuation of {length} "
                "characters; take the ranges from the same text"
            )


def _shown(tokens: TokenLogprobs) -> str:
    text = "".join(tokens.texts)
    return f"{len(tokens.texts)} tokens {text[:40]!r}"
