"""A checkpoint in memory: batched generation and log-likelihoods for the local provider.

Everything numeric is torch and transformers; this module adds what a shared batch needs: each row
has its own seed, temperature, length limit and stop strings, and reports why it ended. Rows do not
see each other, so a reply does not depend on the company it was computed in, up to float rounding
of the padded matrix products. What a checkpoint's own `generation_config.json` says of greedy
decoding (a repetition penalty, more end tokens) applies; its sampling defaults do not.

Left out: continuous batching and prefix caches over turns (a batch runs to its last row).
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from selfevo.errors import UsageError
from selfevo.quiet import quiet_libraries

StopReason = Literal["stop", "max_tokens", "model_length"]

DTYPES = ("float64", "float32", "bfloat16", "float16")

MAX_PADDED_TOKENS = 16_384
"""Rows times longest row of one forward pass: bounds the memory of a batch."""

MAX_LOGITS = 2**27
"""Scores of a vocabulary kept by one forward pass: half a gigabyte in float32."""

NUCLEUS_GUESS = 1024
"""Tokens among which a nucleus is looked for before the whole vocabulary is sorted (slow)."""

_CPU_TURN = threading.Lock()
"""Two models computing on the same cores slow each other down many times over (OpenMP spins)."""


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


class _Size(NamedTuple):
    """Tokens of a request that are given, and tokens that come after them."""

    prompt: int
    new: int


_NO_ROOM = Completion("", 0, "model_length")


class Engine:
    """A causal language model, or a LoRA adapter on its base, ready to generate and to score."""

    def __init__(self, path: Path, *, device: str, dtype: str) -> None:
        if dtype not in DTYPES:
            raise UsageError(f"dtype: {dtype!r} is not one of {', '.join(DTYPES)}")
        self.device = device
        self.dtype = dtype
        base = base_of(path) if is_adapter(path) else path
        with quiet_libraries():
            # never the adapter's own tokenizer: the template is the base's
            self.tokenizer = AutoTokenizer.from_pretrained(base)
            self.model = _load(base, path, device=device, dtype=dtype)
        if self.tokenizer.chat_template is None:
            raise UsageError(f"{base}: the tokenizer has no chat template; add chat_template.jinja")
        self.eos_ids = _eos_ids(self.model, self.tokenizer)
        pad_id = self.tokenizer.pad_token_id
        self.pad_id = int(self.eos_ids[0] if pad_id is None else pad_id)
        config = self.model.config.get_text_config()
        self.context_length = int(config.max_position_embeddings)
        self._vocabulary = int(config.vocab_size)

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """Replies to `requests`, in order; an empty one where the prompt fills the context."""
        out: dict[int, Completion] = {}
        sizes = [_Size(len(r.prompt), self._limit(r)) for r in requests]
        out |= {i: _NO_ROOM for i, size in enumerate(sizes) if size.new < 1}
        able = [i for i in range(len(requests)) if i not in out]
        for rows in _batches(able, sizes, self._fits):
            with self._computing():
                replies = self._generate([requests[row] for row in rows])
            out.update(zip(rows, replies, strict=True))
        return [out[row] for row in range(len(requests))]

    def loglikelihood(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Natural log-probabilities of each continuation's tokens, in order.

        Requests that share a prefix (labels of one dialogue) read it once; equal ones are scored
        once.
        """
        distinct = list(dict.fromkeys(requests))
        scored = dict(zip(distinct, self._loglikelihood(distinct), strict=True))
        return [scored[request] for request in requests]

    def _loglikelihood(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        by_prefix: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            by_prefix[request.prefix].append(index)
        sizes = [_Size(len(r.prefix), len(r.continuation)) for r in requests]
        out: dict[int, list[float]] = {}
        single = [rows[0] for rows in by_prefix.values() if len(rows) == 1]
        for rows in _batches(single, sizes, self._fits_with_logits):
            with self._computing():
                scores = self._score([requests[i] for i in rows])
            out.update(zip(rows, scores, strict=True))
        for prefix, shared in by_prefix.items():
            if len(shared) == 1:
                continue
            for rows in _batches(shared, sizes, self._fits_with_logits):
                with self._computing():
                    scores = self._score_shared(prefix, [requests[i].continuation for i in rows])
                out.update(zip(rows, scores, strict=True))
        return [out[index] for index in range(len(requests))]

    def _limit(self, request: GenerateRequest) -> int:
        return min(request.max_tokens, self.context_length - len(request.prompt))

    def _fits(self, sizes: Sequence[_Size]) -> bool:
        width = max(size.prompt for size in sizes) + max(size.new for size in sizes)
        return len(sizes) * width <= MAX_PADDED_TOKENS

    def _fits_with_logits(self, sizes: Sequence[_Size]) -> bool:
        n_logits = len(sizes) * (max(size.new for size in sizes) + 1) * self._vocabulary
        return self._fits(sizes) and n_logits <= MAX_LOGITS

    def _computing(self) -> AbstractContextManager[Any]:
        if self.device.startswith("cuda"):
            return torch.cuda.device(self.device)
        return _CPU_TURN if self.device == "cpu" else nullcontext()

    @torch.inference_mode()
    def _generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        ids_BT, mask_BT = self._left_pad([r.prompt for r in requests])
        limits = [self._limit(request) for request in requests]
        tail = _RowEnd(ids_BT.shape[1], limits, [r.stop for r in requests], self.tokenizer)
        sequences = self.model.generate(
            input_ids=ids_BT,
            attention_mask=mask_BT,
            past_key_values=self._read_once([r.prompt for r in requests]),
            generation_config=GenerationConfig(
                do_sample=False,
                num_beams=1,
                max_new_tokens=max(limits),
                eos_token_id=self.eos_ids,
                pad_token_id=self.pad_id,
            ),
            logits_processor=LogitsProcessorList([_RowSampling(requests, self.device)]),
            stopping_criteria=StoppingCriteriaList([tail]),
        )
        rows = sequences[:, ids_BT.shape[1] :].tolist()
        return [
            self._completion(row[:limit], request)
            for row, limit, request in zip(rows, limits, requests, strict=True)
        ]

    def _read_once(self, prompts: Sequence[tuple[int, ...]]) -> Any:
        """The cache of prompts of which some are equal (choices of one call), each read once.

        None when all differ: then there is nothing to share.
        """
        distinct = list(dict.fromkeys(prompts))
        if len(distinct) == len(prompts):
            return None
        ids_BT, mask_BT = self._left_pad(distinct)
        read = self.model(
            input_ids=ids_BT[:, :-1],
            attention_mask=mask_BT[:, :-1],
            position_ids=(mask_BT[:, :-1].cumsum(-1) - 1).clamp(min=0),
            logits_to_keep=1,
            use_cache=True,
        )
        rows = torch.tensor([distinct.index(prompt) for prompt in prompts], device=self.device)
        read.past_key_values.batch_select_indices(rows)
        return read.past_key_values

    def _completion(self, row: list[int], request: GenerateRequest) -> Completion:
        end = next((i for i, token in enumerate(row) if token in self.eos_ids), None)
        stopped = _tokens_until_stop(self.tokenizer, row[:end], request.stop)
        if stopped is not None:
            text = self.tokenizer.decode(row[:stopped], skip_special_tokens=True)
            cut = min((text.index(stop) for stop in request.stop if stop in text), default=None)
            return Completion(text[:cut], stopped, "stop")
        text = self.tokenizer.decode(row[:end], skip_special_tokens=True)
        if end is not None:
            return Completion(text, end + 1, "stop")
        reason: StopReason = "max_tokens" if len(row) == request.max_tokens else "model_length"
        return Completion(text, len(row), reason)

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
    """Per-row sampling inside a greedy batch: each row draws from its own generator.

    The argmax of log-probabilities plus Gumbel noise is an exact sample (Gumbel-max trick; Maddison
    et al., 2014), and unlike a walk along the cumulated probabilities it hardly ever changes when
    float rounding moves the logits a little, as another batch company does.
    """

    def __init__(self, requests: Sequence[GenerateRequest], device: str) -> None:
        self._requests = requests
        self._rngs = [torch.Generator().manual_seed(r.seed) for r in requests]
        self._device = device

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, (request, rng) in enumerate(zip(self._requests, self._rngs, strict=True)):
            if request.temperature > 0:
                # float64: in float32 the steps near 1 are coarse, where the winner's draw lies
                uniform_V = torch.rand(scores.shape[-1], generator=rng, dtype=torch.float64)
                gumbel_V = -torch.log(-torch.log(uniform_V)).float().to(self._device)
                scaled_V = scores[row].float() / request.temperature
                scores[row] = (_nucleus(scaled_V, request.top_p) + gumbel_V).to(scores.dtype)
        return scores


class _RowEnd(StoppingCriteria):  # type: ignore[misc]
    """Ends each row at its own limit or stop string (its end-of-turn token ends it anyway)."""

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
                done[row] = _has_stop(self._tokenizer, input_ids[row, self._start :], stops)
        return torch.tensor(done, device=input_ids.device)


def _load(base: Path, path: Path, *, device: str, dtype: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    if path != base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(path))
        # exact in float32 and a third faster; in bfloat16 a merge rounds the adapter away
        if dtype in ("float32", "float64"):
            model = model.merge_and_unload()
    return model.to(device).eval()


def _eos_ids(model: Any, tokenizer: Any) -> list[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = configured if isinstance(configured, list) else [configured]
    return sorted({int(i) for i in [*ids, tokenizer.eos_token_id] if i is not None})


def _batches(
    indices: Sequence[int], sizes: Sequence[_Size], fits: Callable[[Sequence[_Size]], bool]
) -> Iterator[list[int]]:
    """`indices` in batches that fit, of similar length; longest first, so memory peaks early."""
    batch: list[int] = []
    for index in sorted(indices, key=lambda i: (-sum(sizes[i]), i)):
        if batch and not fits([sizes[i] for i in [*batch, index]]):
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
    probability_V = torch.softmax(scores_V.double(), -1)
    for size in (min(NUCLEUS_GUESS, len(scores_V)), len(scores_V)):
        likeliest_K, order_K = probability_V.topk(size)
        before_K = likeliest_K.cumsum(-1) - likeliest_K
        if size == len(scores_V) or before_K[-1] >= top_p:
            break
    kept_K = order_K[before_K < max(top_p, torch.finfo(torch.float64).tiny)]  # the likeliest stays
    nucleus_V = torch.full_like(scores_V, float("-inf"))
    nucleus_V[kept_K] = scores_V[kept_K]
    return nucleus_V


def _has_stop(tokenizer: Any, row: Any, stops: Sequence[str]) -> bool:
    text = tokenizer.decode(row)
    return any(stop in text for stop in stops)


def _tokens_until_stop(tokenizer: Any, row: Sequence[int], stops: Sequence[str]) -> int | None:
    if not stops or not _has_stop(tokenizer, row, stops):
        return None
    return next(n for n in range(1, len(row) + 1) if _has_stop(tokenizer, row[:n], stops))
