"""What a round of DPO did to the model, measured on its own pairs: the early signs of the known failures.

A falling chosen log-probability is likelihood displacement (arXiv 2410.08847); an accuracy near 1 is over-training; a KL to M0 that
grows from round to round is drift.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from selfevo.checkpoint import content_hash
from selfevo.config import RunConfig
from selfevo.pairs import PreferencePair
from selfevo.provider import load_engine
from selfevo.tokens import conversation_ids, prompt_ids

DECIMALS = 4


class RoundDiagnostics(BaseModel):
    """Means over the round's pairs; log-probabilities in nats."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    n_pairs: int
    chosen_logp_change: float
    """Of the chosen replies, a token, candidate minus M_t; below 0 the model forgets what it was shown."""
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
    """Compare candidate, M_t and M0 on the pairs they came from."""
    chosen = [_teacher_forced(p, p.chosen, candidate, previous, initial, config) for p in pairs]
    rejected = [_teacher_forced(p, p.rejected, candidate, previous, initial, config) for p in pairs]
    margins = [
        config.dpo.beta * (c.change - r.change) for c, r in zip(chosen, rejected, strict=True)
    ]
    return RoundDiagnostics(
        n_pairs=len(pairs),
        chosen_logp_change=_mean([c.change / c.n_tokens for c in chosen]),
        rejected_logp_change=_mean([r.change / r.n_tokens for r in rejected]),
        margin=_mean(margins),
        accuracy=_mean([float(margin > 0) for margin in margins]),
        kl_to_initial=_mean([x.kl for x in (*chosen, *rejected)]),
        chosen_tokens=_mean([float(c.n_tokens) for c in chosen]),
        rejected_tokens=_mean([float(r.n_tokens) for r in rejected]),
    )


class _Forced(BaseModel):
    """One reply under two models."""

    change: float
    """log p(reply | candidate) - log p(reply | M_t)."""
    kl: float
    n_tokens: int


def _teacher_forced(
    pair: PreferencePair,
    reply: str,
    candidate: Path,
    previous: Path,
    initial: Path,
    config: RunConfig,
) -> _Forced:
    new = _reply_logps(pair, reply, candidate, config)
    old = _reply_logps(pair, reply, previous, config)
    first = _reply_logps(pair, reply, initial, config)
    kl_K = (new.logps_KV.exp() * (new.logps_KV - first.logps_KV)).sum(-1)
    return _Forced(
        change=float(new.own_K.sum() - old.own_K.sum()),
        kl=float(kl_K.mean()),
        n_tokens=len(new.own_K),
    )


class _Logps:
    """Log-probabilities along a reply: of all tokens (K, V) and of its own tokens (K,)."""

    def __init__(self, logps_KV: torch.Tensor, own_K: torch.Tensor) -> None:
        self.logps_KV = logps_KV
        self.own_K = own_K


@torch.inference_mode()
def _reply_logps(pair: PreferencePair, reply: str, path: Path, config: RunConfig) -> _Logps:
    engine = load_engine(path, content_hash(path), dtype=config.model.dtype)
    prompt: list[dict[str, str]] = [{"role": m.role, "content": m.content} for m in pair.messages]
    if config.data.task_prompt:
        prompt.insert(0, {"role": "system", "content": config.data.task_prompt})
    n_prompt = len(prompt_ids(engine.tokenizer, prompt))
    ids = conversation_ids(engine.tokenizer, [*prompt, {"role": "assistant", "content": reply}])
    ids_1T = torch.tensor([ids], device=engine.device)
    logits: Any = engine.model(input_ids=ids_1T, logits_to_keep=len(ids) - n_prompt + 1).logits
    logps_KV = torch.log_softmax(logits[0, :-1].float(), -1)
    own_K = logps_KV.gather(-1, ids_1T[0, n_prompt:, None]).squeeze(-1)
    return _Logps(logps_KV, own_K)


def _mean(values: Sequence[float]) -> float:
    return round(statistics.fmean(values), DECIMALS)
