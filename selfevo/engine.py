"""A checkpoint in memory: generation and log-likelihoods for the local provider.

Everything numeric is torch and transformers; here is what is loaded, and which way of decoding and
scoring it takes. Rows do not see each other, so a reply does not depend on the company it was
computed in, up to float rounding. What a checkpoint's own `generation_config.json` says of greedy
decoding (a repetition penalty, more end tokens) applies; its sampling defaults do not.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from selfevo.batching import Batcher
from selfevo.checkpoint import base_of, is_adapter
from selfevo.computing import compute_thread
from selfevo.continuous import ContinuousBatcher, Steps
from selfevo.decoding import Decoder
from selfevo.errors import UsageError
from selfevo.forest_reading import why_not
from selfevo.kv_shape import causal_lm, kv_shape
from selfevo.packed_linear import pack_linears
from selfevo.padded import PaddedDecoder, PaddedModel
from selfevo.prefix_store import PrefixStore
from selfevo.quiet import quiet_libraries
from selfevo.reading import Reader
from selfevo.replies import Completion, Ending, GenerateRequest, StopReason
from selfevo.sampling import Processors
from selfevo.scoring import REMEMBERED, Recent, Scorer, ScoreRequest
from selfevo.tokens import end_ids

__all__ = ["Completion", "Engine", "GenerateRequest", "ScoreRequest", "StopReason"]

logger = logging.getLogger(__name__)

DTYPES = ("float64", "float32", "bfloat16", "float16")

MAX_TOKENS = 16_384
"""Rows times longest row of a running batch, and tokens of one pass: bounds the memory of both."""

MAX_STORE_BYTES = 2**30
"""Of the keys and values that a model keeps of what it read and wrote, in a computer's memory."""

STORE_SHARE = 8
"""On a GPU, one part in so many of what is free when the model is loaded."""


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
            self._run = compute_thread(device).run
            self.model = self._run(lambda: _load(base, path, device=device, dtype=dtype))
        if self.tokenizer.chat_template is None:
            raise UsageError(f"{base}: the tokenizer has no chat template; add chat_template.jinja")
        self.eos_ids = end_ids(self.model.generation_config, self.tokenizer)
        pad_id = self.tokenizer.pad_token_id
        self.pad_id = int(self.eos_ids[0] if pad_id is None else pad_id)
        config = self.model.config.get_text_config()
        self.context_length = int(config.max_position_embeddings)
        self._vocabulary = int(config.vocab_size)
        self._ending = Ending(self.tokenizer, self.eos_ids, self.context_length)
        self._new_decoder, self._scorer = self._run(self._in_forests) or self._in_padded_batches()
        self._recently_scored = Recent[ScoreRequest, list[float]](REMEMBERED)
        self._replies: dict[int, ContinuousBatcher[GenerateRequest, Completion]] = {}
        self._scores: dict[int, Batcher[ScoreRequest, list[float]]] = {}

    def replies(self, max_batch: int) -> ContinuousBatcher[GenerateRequest, Completion]:
        """Where coroutines ask for replies; those of all who ask here are written together."""
        if max_batch not in self._replies:
            self._replies[max_batch] = ContinuousBatcher(
                self._new_decoder(), compute=self._run, max_joined=max_batch
            )
        return self._replies[max_batch]

    def scores(self, max_batch: int) -> Batcher[ScoreRequest, list[float]]:
        """Where coroutines ask for log-likelihoods."""
        if max_batch not in self._scores:
            self._scores[max_batch] = Batcher(
                lambda requests: self.loglikelihood(requests), max_batch=max_batch
            )
        return self._scores[max_batch]

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """Replies to `requests`, in order; an empty one where the prompt fills the context."""
        decoder = self._new_decoder()
        waiting = dict(enumerate(requests))
        done: dict[int, Completion] = {}
        while len(done) < len(requests):
            n = decoder.n_joining(list(waiting.values()))
            joining = {key: waiting.pop(key) for key in list(waiting)[:n]}
            done |= self._run(partial(decoder.join, joining))
            done |= self._run(decoder.step)
        return [done[key] for key in range(len(requests))]

    def loglikelihood(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Natural log-probabilities of each continuation's tokens, in order.

        What requests begin with in common is read once; equal ones are scored once, also those of
        a call shortly before.
        """
        scored = self._recently_scored.of(requests)
        for batch in self._scorer.passes(set(requests) - scored.keys()):
            scored |= self._run(partial(self._scorer.score, batch))
        self._recently_scored.keep(scored)
        return [scored[request] for request in requests]

    def _in_forests(self) -> "tuple[_NewDecoder, _Scorer] | None":
        """Prefixes are read once, rows come and go; None where the model cannot."""
        inner = causal_lm(self.model)
        reason = why_not(inner)
        shape = None if reason else kv_shape(inner, self.device)
        if shape is None:
            logger.warning(
                "%s; replies are written in padded batches and nothing is reused",
                reason or f"{inner.config.model_type} keeps keys and values of several shapes",
            )
            return None
        pack_linears(inner)
        reader = Reader(inner, shape, self.device)
        store = PrefixStore(_store_bytes(self.device))
        processors = Processors(inner, self.eos_ids, self.pad_id, self.device)

        def new_decoder() -> Decoder:
            return Decoder(
                reader,
                store,
                self._ending,
                processors,
                max_tokens=MAX_TOKENS,
                device=self.device,
            )

        scorer = Scorer(reader, max_tokens=MAX_TOKENS, vocabulary=self._vocabulary)
        return new_decoder, scorer

    def _in_padded_batches(self) -> "tuple[_NewDecoder, _Scorer]":
        model = PaddedModel(
            self.model,
            self._ending,
            eos_ids=self.eos_ids,
            pad_id=self.pad_id,
            max_tokens=MAX_TOKENS,
            vocabulary=self._vocabulary,
            device=self.device,
        )
        return (lambda: PaddedDecoder(model, self._ending)), model


_NewDecoder = Callable[[], Steps[GenerateRequest, Completion]]
_Scorer = Scorer | PaddedModel


def _store_bytes(device: str) -> int:
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0]) // STORE_SHARE
    return MAX_STORE_BYTES


def _load(base: Path, path: Path, *, device: str, dtype: str) -> Any:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    if path != base:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(path))
        # exact in float32 and a third faster; in bfloat16 a merge rounds the adapter away
        if dtype in ("float32", "float64"):
            model = model.merge_and_unload()
    return model.to(device).eval()
