"""Which token comes next: each row by its own seed, temperature and nucleus.

A sample is the argmax of log-probabilities plus Gumbel noise: exact (Gumbel-max trick; Maddison
et al., 2014), and unlike a walk along the cumulated probabilities it hardly ever changes when float
rounding moves the logits a little, as another batch company does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from selfevo.replies import GenerateRequest

NUCLEUS_GUESS = 1024
"""Tokens among which a nucleus is looked for before the whole vocabulary is sorted (slow)."""


class Draw:
    """The draws of one row, in order: its generator, and what its request says of sampling."""

    def __init__(self, request: GenerateRequest) -> None:
        self.temperature = request.temperature
        self.top_p = request.top_p
        self._rng = torch.Generator().manual_seed(request.seed)

    def noisy(self, scores_V: torch.Tensor) -> torch.Tensor:
        """Scores whose argmax is a draw; the scores themselves where the row is greedy."""
        if self.temperature <= 0:
            return scores_V
        # float64: in float32 the steps near 1 are coarse, where the winner's draw lies
        uniform_V = torch.rand(scores_V.shape[-1], generator=self._rng, dtype=torch.float64)
        scaled_V = scores_V.float() / self.temperature
        if self.top_p >= 1:
            return scaled_V + _gumbel(uniform_V).to(scaled_V.device)
        kept_K = nucleus(scaled_V, self.top_p)
        noisy_V = torch.full_like(scaled_V, float("-inf"))
        gumbel_K = _gumbel(uniform_V[kept_K.cpu()]).to(scaled_V.device)
        noisy_V[kept_K] = scaled_V[kept_K] + gumbel_K
        return noisy_V


def choose(logits_BV: torch.Tensor, draws: Sequence[Draw]) -> list[int]:
    """The next token of each row. Greedy rows share one pass over the scores."""
    scores_BV = logits_BV.float()
    tokens_B = scores_BV.argmax(-1)
    for row, draw in enumerate(draws):
        if draw.temperature > 0:
            tokens_B[row] = draw.noisy(scores_BV[row]).argmax()
    return [int(token) for token in tokens_B.tolist()]


def nucleus(scores_V: torch.Tensor, top_p: float) -> torch.Tensor:
    """Indices of the smallest set of tokens that reaches `top_p` (Holtzman et al., 2020)."""
    probability_V = torch.softmax(scores_V.double(), -1)
    for size in (min(NUCLEUS_GUESS, len(scores_V)), len(scores_V)):
        likeliest_K, order_K = probability_V.topk(size)
        before_K = likeliest_K.cumsum(-1) - likeliest_K
        if size == len(scores_V) or before_K[-1] >= top_p:
            break
    # the likeliest stays, whatever top_p
    return order_K[before_K < max(top_p, torch.finfo(torch.float64).tiny)]


def _gumbel(uniform: torch.Tensor) -> torch.Tensor:
    return -torch.log(-torch.log(uniform)).float()


class Processors:
    """What a checkpoint's own `generation_config.json` does to the scores of greedy decoding.

    transformers makes the processors (a repetition penalty, tokens that are suppressed, a least
    length). Each row has its own, since some count from the end of its prompt.
    """

    def __init__(self, model: Any, eos_ids: Sequence[int], pad_id: int, device: str) -> None:
        self._model = model
        self._eos_ids = list(eos_ids)
        self._pad_id = pad_id
        self._device = device
        self.are_needed = bool(self.of(n_prompt=1, limit=1))

    def of(self, *, n_prompt: int, limit: int) -> Any:
        """A list of processors for a row; mostly an empty one."""
        asked = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=limit,
            eos_token_id=self._eos_ids,
            pad_token_id=self._pad_id,
        )
        config, _ = self._model._prepare_generation_config(asked)
        self._model._prepare_special_tokens(config, True, device=self._device)
        config.max_length = n_prompt + limit
        return self._model._get_logits_processor(
            generation_config=config, input_ids_seq_length=n_prompt, device=self._device
        )
