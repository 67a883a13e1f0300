"""A checkpoint in memory: batched generation and log-likelihoods for the local provider.

Everything numeric is torch and transformers; this module adds what a shared batch needs: each row has its own seed,
temperature, length limit and stop strings, and reports why it ended. Rows do not see each other, so a reply does not
depend on the company it was computed in, up to float rounding of the padded matrix products.

Left out: continuous batching and prefix caches over turns (a batch runs to its last row).
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from selfevo.checkpoint import base_of, is_adapter
from selfevo.quiet import quiet_libraries

StopReason = Literal["stop", "max_tokens", "model_length"]

MAX_PADDED_TOKENS = 16_384
"""Rows times longest row of one forward pass: bounds the memory of a batch."""

_CPU_TURN = threading.Lock()
"""Two models computing at once on the same cores slow each other down many times over (OpenMP spins)."""


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


class ScoreRequest(NamedTuple):
    """A continuation whose tokens are to be scored after a prefix."""

    prefix: tuple[int, ...]
    continuation: tuple[int, ...]


class Engine:
    """A causal language model, or a LoRA adapter on its base, ready to generate and to score."""

    def __init__(self, path: Path, *, device: str, dtype: str) -> None:
        self.device = device
        base = base_of(path) if is_adapter(path) else path
        with quiet_libraries():
            # never the adapter's own tokenizer: the template is the base's
            self.tokenizer = AutoTokenizer.from_pretrained(base)
            self.model = _load(base, path, device=device, dtype=dtype)
        self.eos_ids = _eos_ids(self.model, self.tokenizer)
        self.pad_id = int(self.tokenizer.pad_token_id or self.eos_ids[0])
        self.context_length = int(self.model.config.max_position_embeddings)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """Replies to `requests`, in order."""
        out: dict[int, Completion] = {}
        for rows in _batches([len(r.prompt) + r.max_tokens for r in requests]):
            with self._computing():
                replies = self._generate([requests[row] for row in rows])
            out.update(zip(rows, replies, strict=True))
        return [out[row] for row in range(len(requests))]

    def loglikelihood(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Natural log-probabilities of each continuation's tokens, in order.

        Requests that share a prefix (labels of one dialogue) read it once.
        """
        by_prefix: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            by_prefix[request.prefix].append(index)
        single = [rows[0] for rows in by_prefix.values() if len(rows) == 1]
        out: dict[int, list[float]] = {}
        for rows in _batches(
            [len(requests[i].prefix) + len(requests[i].continuation) for i in single]
        ):
            indices = [single[row] for row in rows]
            with self._computing():
                scores = self._score([requests[i] for i in indices])
            out.update(zip(indices, scores, strict=True))
        for prefix, shared in by_prefix.items():
            if len(shared) > 1:
                with self._computing():
                    scores = self._score_shared(prefix, [requests[i].continuation for i in shared])
                out.update(zip(shared, scores, strict=True))
        return [out[index] for index in range(len(requests))]

    def _computing(self) -> Any:
        return _CPU_TURN if self.device == "cpu" else torch.cuda.device(self.device)

    @torch.inference_mode()
    def _generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        ids_BT, mask_BT = self._left_pad([r.prompt for r in requests])
        room = [max(1, self.context_length - len(r.prompt)) for r in requests]
        limits = [min(r.max_tokens, n) for r, n in zip(requests, room, strict=True)]
        tail = _RowEnd(ids_BT.shape[1], limits, [r.stop for r in requests], self.tokenizer)
        sequences = self.model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            generation_config=GenerationConfig(
                do_sample=False,
                max_new_tokens=max(limits),
                eos_token_id=self.eos_ids,
                pad_token_id=self.pad_id,
            ),
            logits_processor=LogitsProcessorList([_RowSampling(requests, self.device)]),
            stopping_criteria=StoppingCriteriaList([tail]),
        )
        rows = sequences[:, ids_BT.shape[1] :].tolist()
        return [
            self._completion(row, limit, request, has_room=limit == request.max_tokens)
            for row, limit, request in zip(rows, limits, requests, strict=True)
        ]

    def _completion(
        self, row: list[int], limit: int, request: GenerateRequest, *, has_room: bool
    ) -> Completion:
        row = row[:limit]
        end = next((i for i, token in enumerate(row) if token in self.eos_ids), None)
        text = self.tokenizer.decode(row[:end], skip_special_tokens=True)
        cuts = [text.index(stop) for stop in request.stop if stop in text]
        if cuts:
            shown = text[: min(cuts)]
            n_tokens = _tokens_until_stop(self.tokenizer, row[:end], request.stop)
            return Completion(shown, n_tokens, "stop")
        if end is not None:
            return Completion(text, end + 1, "stop")
        return Completion(text, len(row), "max_tokens" if has_room else "model_length")

    @torch.inference_mode()
    def _score(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        ids_BT, mask_BT = self._left_pad([r.prefix + r.continuation for r in requests])
        longest = max(len(r.continuation) for r in requests)
        logits_BKV = self.model(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            position_ids=(mask_BT.cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=longest + 1,
            use_cache=False,
        ).logits
        return [
            _gather(row[-len(r.continuation) - 1 : -1], r.continuation)
            for row, r in zip(logits_BKV, requests, strict=True)
        ]

    @torch.inference_mode()
    def _score_shared(
        self, prefix: tuple[int, ...], continuations: Sequence[tuple[int, ...]]
    ) -> list[list[float]]:
        prefix_1T = torch.tensor([prefix], device=self.device)
        read = self.model(input_ids=prefix_1T, use_cache=True, logits_to_keep=1)
        cache = read.past_key_values
        cache.batch_repeat_interleave(len(continuations))
        width = max(len(c) for c in continuations)
        rows = [list(c) + [self.pad_id] * (width - len(c)) for c in continuations]
        logits_BKV = self.model(
            input_ids=torch.tensor(rows, device=self.device), past_key_values=cache, use_cache=True
        ).logits
        first_V = read.logits[0, -1:]
        return [
            _gather(torch.cat([first_V, logits_KV[: len(c) - 1]]), c)
            for logits_KV, c in zip(logits_BKV, continuations, strict=True)
        ]

    def _left_pad(self, rows: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(len(row) for row in rows)
        ids = [[self.pad_id] * (width - len(row)) + list(row) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return (
            torch.tensor(ids, device=self.device),
            torch.tensor(mask, device=self.device),
        )


class _RowSampling(LogitsProcessor):  # type: ignore[misc]
    """Per-row sampling inside a greedy batch: argmax of log-probabilities plus Gumbel noise is an exact sample.

    (Gumbel-max trick; Maddison et al., 2014.) Each row draws from its own generator, so its seed fixes its text.
    """

    def __init__(self, requests: Sequence[GenerateRequest], device: str) -> None:
        self._requests = requests
        self._rngs = [torch.Generator().manual_seed(r.seed) for r in requests]
        self._device = device

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, (request, rng) in enumerate(zip(self._requests, self._rngs, strict=True)):
            if request.temperature > 0:
                uniform_V = torch.rand(scores.shape[-1], generator=rng).clamp(min=1e-20)
                gumbel_V = -torch.log(-torch.log(uniform_V)).to(self._device)
                scaled_V = scores[row].float() / request.temperature
                scores[row] = (_nucleus(scaled_V, request.top_p) + gumbel_V).to(scores.dtype)
        return scores


class _RowEnd(StoppingCriteria):  # type: ignore[misc]
    """Ends each row at its own limit or stop string (the end-of-turn token is generate's own business)."""

    def __init__(
        self, start: int, limits: Sequence[int], stops: Sequence[tuple[str, ...]], tokenizer: Any
    ) -> None:
        self._start = start
        self._limits = limits
        self._stops = stops
        self._tokenizer = tokenizer

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        n_new = input_ids.shape[1] - self._start
        done = [n_new >= limit for limit in self._limits]
        for row, stops in enumerate(self._stops):
            if stops and not done[row]:
                text = self._tokenizer.decode(input_ids[row, self._start :])
                done[row] = any(stop in text for stop in stops)
        return torch.tensor(done, device=input_ids.device)


def _load(base: Path, path: Path, *, device: str, dtype: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    if path != base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(path))
        # exact in float32 and float64 and a third faster; in bfloat16 a merge rounds the adapter away
        if dtype in ("float32", "float64"):
            model = model.merge_and_unload()
    return model.to(device).eval()


def _eos_ids(model: Any, tokenizer: Any) -> list[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})


def _batches(lengths: Sequence[int]) -> Iterable[list[int]]:
    """Indices in batches of similar length, each within `MAX_PADDED_TOKENS` (longest first, so memory peaks early)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and lengths[batch[0]] * (len(batch) + 1) > MAX_PADDED_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _gather(logits_KV: torch.Tensor, continuation: Sequence[int]) -> list[float]:
    logps_KV = torch.log_softmax(
        logits_KV.double() if logits_KV.dtype == torch.float64 else logits_KV.float(), -1
    )
    index_K1 = torch.tensor(continuation, device=logps_KV.device).unsqueeze(-1)
    return [float(x) for x in logps_KV.gather(-1, index_K1).squeeze(-1)]


def _nucleus(scores_V: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keep the smallest set of tokens whose probability reaches `top_p` (Holtzman et al., 2020)."""
    if top_p >= 1:
        return scores_V
    ordered_V, order_V = scores_V.sort(descending=True)
    before_V = torch.softmax(ordered_V, -1).cumsum(-1) - torch.softmax(ordered_V, -1)
    return scores_V.index_fill(0, order_V[before_V >= top_p], float("-inf"))


def _tokens_until_stop(tokenizer: Any, row: Sequence[int], stops: Sequence[str]) -> int:
    for n in range(1, len(row) + 1):
        text = tokenizer.decode(row[:n], skip_special_tokens=True)
        if any(stop in text for stop in stops):
            return n
    return len(row)
