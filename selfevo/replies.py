"""What a reply is asked to be, and why it ended: the same for every way of decoding."""

from collections.abc import Collection, Sequence
from typing import Any, Literal, NamedTuple

StopReason = Literal["stop", "max_tokens", "model_length"]

TOKENS_A_CHARACTER = 4
"""At most so many tokens carry one character: the bytes of its UTF-8."""


class GenerateRequest(NamedTuple):
    """One reply to write. `temperature` 0 is greedy; `seed` belongs to this row alone."""

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...] = ()


class Completion(NamedTuple):
    """One written reply."""

    text: str
    n_tokens: int
    """Generated tokens, the end-of-turn token included."""
    stop_reason: StopReason


NO_ROOM = Completion("", 0, "model_length")


class Ending:
    """When a reply ends: at an end-of-turn token, at its limit, or once it holds a stop string."""

    def __init__(self, tokenizer: Any, eos_ids: Collection[int], context_length: int) -> None:
        self._tokenizer = tokenizer
        self._eos_ids = frozenset(eos_ids)
        self._context_length = context_length

    def limit(self, request: GenerateRequest) -> int:
        """Tokens that may be written; below 1 where the prompt fills the context."""
        return min(request.max_tokens, self._context_length - len(request.prompt))

    def is_reached(self, row: Sequence[int], request: GenerateRequest) -> bool:
        """Whether the token just appended to `row` ends the reply."""
        return (
            row[-1] in self._eos_ids
            or len(row) >= self.limit(request)
            or self._has_new_stop(row, request.stop)
        )

    def completion(self, row: Sequence[int], request: GenerateRequest) -> Completion:
        """The reply that the new tokens `row` are; what follows its end is left out."""
        row = row[: self.limit(request)]
        end = next((i for i, token in enumerate(row) if token in self._eos_ids), None)
        stopped = self._tokens_until_stop(row[:end], request.stop)
        if stopped is not None:
            text = self._tokenizer.decode(row[:stopped], skip_special_tokens=True)
            cut = min((text.index(stop) for stop in request.stop if stop in text), default=None)
            return Completion(text[:cut], stopped, "stop")
        text = self._tokenizer.decode(row[:end], skip_special_tokens=True)
        if end is not None:
            return Completion(text, end + 1, "stop")
        reason: StopReason = "max_tokens" if len(row) == request.max_tokens else "model_length"
        return Completion(text, len(row), reason)

    def has_stop(self, row: Sequence[int], stops: Sequence[str]) -> bool:
        """Whether the text of `row` holds one of the stop strings, special tokens shown."""
        text = self._tokenizer.decode(row)
        return any(stop in text for stop in stops)

    def _has_new_stop(self, row: Sequence[int], stops: Sequence[str]) -> bool:
        """As `has_stop`, for a row that held none before its last token: decodes its end only."""
        if not stops:
            return False
        reach = TOKENS_A_CHARACTER * (max(map(len, stops)) + 2)
        # the end alone may decode otherwise (a word's space at its beginning): then ask the whole
        return self.has_stop(row[-reach:], stops) and self.has_stop(row, stops)

    def _tokens_until_stop(self, row: Sequence[int], stops: Sequence[str]) -> int | None:
        if not stops or not self.has_stop(row, stops):
            return None
        return next(n for n in range(1, len(row) + 1) if self.has_stop(row[:n], stops))
