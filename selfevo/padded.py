"""Models that cannot be read in forests (a sliding window, a recurrent state): padded batches.

transformers' own `generate` runs a batch to its last row. Nothing is reused between calls.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from selfevo.replies import NO_ROOM, Completion, Ending, GenerateRequest
from selfevo.sampling import Draw
from selfevo.scoring import MAX_LOGITS, ScoreRequest


class _Size(NamedTuple):
    """Tokens of a request that are given, and tokens that come after them."""

    prompt: int
    new: int


class PaddedModel:
    """A model, and what a batch of it needs to know."""

    def __init__(
        self,
        model: Any,
        ending: Ending,
        *,
        eos_ids: Sequence[int],
        pad_id: int,
        max_tokens: int,
        vocabulary: int,
        device: str,
    ) -> None:
        """`max_tokens`: rows times the longest of them."""
        self._model = model
        self._ending = ending
        self._eos_ids = list(eos_ids)
        self._pad_id = pad_id
        self._max_tokens = max_tokens
        self._max_scores = MAX_LOGITS // vocabulary
        self._device = device

    def batches(self, requests: Mapping[int, GenerateRequest]) -> Iterator[list[int]]:
        """Keys of requests in batches that fit."""
        sizes = {key: _Size(len(r.prompt), self._ending.limit(r)) for key, r in requests.items()}
        return _batches(sizes, self._fits)

    def passes(self, requests: Iterable[ScoreRequest]) -> Iterator[list[ScoreRequest]]:
        """Requests in batches that fit."""
        ordered = sorted(requests)
        sizes = {i: _Size(len(r.prefix), len(r.continuation)) for i, r in enumerate(ordered)}
        for batch in _batches(sizes, self._fits_with_logits):
            yield [ordered[index] for index in batch]

    @torch.inference_mode()
    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """A reply to each, in one batch."""
        ids_BT, mask_BT = self._left_pad([r.prompt for r in requests])
        limits = [self._ending.limit(request) for request in requests]
        sequences = self._model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=1,
                max_new_tokens=max(limits),
                eos_token_id=self._eos_ids,
                pad_token_id=self._pad_id,
            ),
            logits_processor=LogitsProcessorList([_RowSampling(requests)]),
            stopping_criteria=StoppingCriteriaList(
                [_RowEnd(ids_BT.shape[1], requests, self._ending)]
            ),
        )
        rows = sequences[:, ids_BT.shape[1] :].tolist()
        pairs = zip(rows, requests, strict=True)
        return [self._ending.completion(row, request) for row, request in pairs]

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> dict[ScoreRequest, list[float]]:
        """Natural log-probabilities of each continuation's tokens, in one batch."""
        ids_BT, mask_BT = self._left_pad([r.prefix + r.continuation for r in requests])
        logits_BKV = self._model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=max(len(r.continuation) for r in requests) + 1,
            use_cache=False,
        ).logits
        rows = zip(logits_BKV, requests, strict=True)
        return {r: _gather(row[-len(r.continuation) - 1 : -1], r.continuation) for row, r in rows}

    def _left_pad(self, rows: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(row) for row in rows)
        ids = [[self._pad_id] * (width - len(row)) + list(row) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self._device), torch.tensor(mask, device=self._device)

    def _fits(self, sizes: Sequence[_Size]) -> bool:
        width = max(size.prompt for size in sizes) + max(size.new for size in sizes)
        return len(sizes) * width <= self._max_tokens

    def _fits_with_logits(self, sizes: Sequence[_Size]) -> bool:
        n_scores = len(sizes) * (max(size.new for size in sizes) + 1)
        return self._fits(sizes) and n_scores <= self._max_scores


class PaddedDecoder:
    """As `decoding.Decoder`, but what joined runs to its end in one step."""

    def __init__(self, model: PaddedModel, ending: Ending) -> None:
        self._model = model
        self._ending = ending
        self._joined: dict[int, GenerateRequest] = {}

    def n_joining(self, requests: Sequence[GenerateRequest]) -> int:
        """All of them when nothing runs."""
        return 0 if self._joined else len(requests)

    def join(self, requests: Mapping[int, GenerateRequest]) -> dict[int, Completion]:
        """Wait for the next step; those whose prompt fills the context end at once."""
        able = {key: r for key, r in requests.items() if self._ending.limit(r) > 0}
        self._joined |= able
        return dict.fromkeys(requests.keys() - able.keys(), NO_ROOM)

    def step(self) -> dict[int, Completion]:
        """Write one batch of the replies."""
        keys = next(self._model.batches(self._joined), [])
        requests = [self._joined.pop(key) for key in keys]
        return dict(zip(keys, self._model.generate(requests), strict=True)) if requests else {}

    def leave(self, keys: set[int]) -> None:
        """Drop what nobody waits for."""
        self._joined = {key: r for key, r in self._joined.items() if key not in keys}


class _RowSampling(LogitsProcessor):  # type: ignore[misc]
    """Per-row sampling inside a greedy batch: each row draws from its own generator."""

    def __init__(self, requests: Sequence[GenerateRequest]) -> None:
        self._draws = [Draw(request) for request in requests]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, draw in enumerate(self._draws):
            scores[row] = draw.noisy(scores[row]).to(scores.dtype)
        return scores


class _RowEnd(StoppingCriteria):  # type: ignore[misc]
    """Ends each row at its own limit or stop string (its end-of-turn token ends it anyway)."""

    def __init__(self, start: int, requests: Sequence[GenerateRequest], ending: Ending) -> None:
        self._start = start
        self._requests = requests
        self._ending = ending

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        new = input_ids[:, self._start :].tolist()
        pairs = zip(new, self._requests, strict=True)
        done = [self._ending.is_reached(row, request) for row, request in pairs]
        return torch.tensor(done, device=input_ids.device)


def _batches(
    sizes: Mapping[int, _Size], fits: Callable[[Sequence[_Size]], bool]
) -> Iterator[list[int]]:
    """Keys in batches that fit, of similar length; longest first, so memory peaks early."""
    batch: list[int] = []
    for key in sorted(sizes, key=lambda key: (-sum(sizes[key]), key)):
        if batch and not fits([sizes[k] for k in [*batch, key]]):
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def _gather(logits_KV: torch.Tensor, continuation: Sequence[int]) -> list[float]:
    exact = torch.float64 if logits_KV.dtype == torch.float64 else torch.float32
    logps_KV = torch.log_softmax(logits_KV.to(exact), -1)
    index_K1 = torch.tensor(continuation, device=logps_KV.device).unsqueeze(-1)
    return [float(x) for x in logps_KV.gather(-1, index_K1).squeeze(-1)]
