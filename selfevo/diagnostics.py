"""What a round of DPO did to the model, measured on its own pairs: early signs of known failures.

A falling chosen log-probability is likelihood displacement (arXiv 2410.08847); an accuracy near 1
is over-training; a KL to M0 that grows from round to round is drift.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict

from selfevo.checkpoint import content_hash
from selfevo.config import RunConfig
from selfevo.dpo import dpo_rows
from selfevo.engine import Engine
from selfevo.pairs import PreferencePair
from selfevo.provider import load_engine
from selfevo.tokens import ChatDict, conversation_ids, prompt_ids

DECIMALS = 4


class RoundDiagnostics(BaseModel):
    """Means over the round's pairs; log-probabilities in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    n_pairs: int
    """Pairs that were trained on: those that fit the trainer's length limit."""
    chosen_logp_change: float
    """Of the chosen replies, a token, candidate minus M_t; below 0 it forgets what it was shown."""
    rejected_logp_change: float
    margin: float
    """beta * (chosen - rejected) log-ratio against M_t, a pair."""
    accuracy: float
    """Share of pairs whose margin is positive."""
    kl_to_initial: float
    """KL(candidate || M0) a token, exact over the vocabulary, along chosen and rejected replies."""
    chosen_tokens: float
    rejected_tokens: float


def diagnose(
    pairs: Sequence[PreferencePair],
    candidate: Path,
    previous: Path,
    initial: Path,
    config: RunConfig,
) -> RoundDiagnostics:
    """Compare candidate, M_t and M0 on what the candidate was trained on."""
    models = _Models(*(_engine(path, config) for path in (candidate, previous, initial)))
    rows = dpo_rows(models.candidate.tokenizer, pairs, config).rows
    chosen = [_teacher_forced(row["prompt"], row["chosen"], models) for row in rows]
    rejected = [_teacher_forced(row["prompt"], row["rejected"], models) for row in rows]
    margins = [
        config.dpo.beta * (c.change - r.change) for c, r in zip(chosen, rejected, strict=True)
    ]
    return RoundDiagnostics(
        n_pairs=len(rows),
        chosen_logp_change=_mean([c.change / c.n_tokens for c in chosen]),
        rejected_logp_change=_mean([r.change / r.n_tokens for r in rejected]),
        margin=_mean(margins),
        accuracy=_mean([float(margin > 0) for margin in margins]),
        kl_to_initial=_mean([x.kl for x in (*chosen, *rejected)]),
        chosen_tokens=_mean([float(c.n_tokens) for c in chosen]),
        rejected_tokens=_mean([float(r.n_tokens) for r in rejected]),
    )


class _Models(NamedTuple):
    """The three models that are compared."""

    candidate: Engine
    previous: Engine
    initial: Engine


class _Forced(NamedTuple):
    """One reply under the three models."""

    change: float
    """log p(reply | candidate) - log p(reply | M_t)."""
    kl: float
    n_tokens: int


def _teacher_forced(prompt: list[ChatDict], reply: list[ChatDict], models: _Models) -> _Forced:
    new, old, first = (_reply_logps(prompt, reply, engine) for engine in models)
    kl_K = (new.logps_KV.exp() * (new.logps_KV - first.logps_KV)).sum(-1)
    return _Forced(
        change=float(new.own_K.sum() - old.own_K.sum()),
        kl=float(kl_K.mean()),
        n_tokens=len(new.own_K),
    )


class _Logps(NamedTuple):
    """Log-probabilities along a reply: of all tokens (K, V) and of its own tokens (K,)."""

    logps_KV: torch.Tensor
    own_K: torch.Tensor


@torch.inference_mode()
def _reply_logps(prompt: list[ChatDict], reply: list[ChatDict], engine: Engine) -> _Logps:
    n_prompt = len(prompt_ids(engine.tokenizer, prompt))
    ids = conversation_ids(engine.tokenizer, [*prompt, *reply])
    ids_1T = torch.tensor([ids], device=engine.device)
    logits: Any = engine.model(input_ids=ids_1T, logits_to_keep=len(ids) - n_prompt + 1).logits
    logps_KV = torch.log_softmax(logits[0, :-1].float(), -1)
    own_K = logps_KV.gather(-1, ids_1T[0, n_prompt:, None]).squeeze(-1)
    return _Logps(logps_KV, own_K)


def _engine(path: Path, config: RunConfig) -> Engine:
    return load_engine(path, content_hash(path), dtype=config.model.dtype)


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), DECIMALS)
