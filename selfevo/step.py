"""One more token for each row of a running batch, without Python between the operators.

For every token, transformers' Python goes through all modules and their checks again: about a
millisecond a layer, a fifth of what a step of the embedded model takes, and most of what a smaller
one does. So the operators of a step are recorded once (`torch.jit.trace`), and torch's interpreter
runs them from then on: the same operators on the same weights, nothing fused, the same scores to
the last bit.

A record cannot decide anew what Python decided while it was made (which experts to ask, say). So it
is made with few rows and compared with the model's own step at other sizes; if a bit differs, or
the model cannot be recorded, the model's own step stays. Recording takes as long as some fifteen
steps, so the first steps, which may be all, run as they are.

torch.jit is deprecated in favour of torch.compile, which needs a C++ compiler where it runs;
without one (backend `eager`) its checks take longer than what they spare (`docs/performance.md`).
"""

import logging
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from transformers import Cache

from selfevo.kv_shape import KVShape

logger = logging.getLogger(__name__)

PLAIN_STEPS = 64
"""Before a step is recorded: after so many more, it has paid."""


class _Inputs(NamedTuple):
    """Of one step of B rows, the longest of which has T tokens with its new one."""

    tokens_B: torch.Tensor
    rows_B: torch.Tensor
    """0 to B - 1."""
    lengths_B: torch.Tensor
    """How many tokens of each row are in `kv`."""
    mask_B11T: torch.Tensor
    """To be added to the scores: each layer would make that of a boolean mask anew."""
    kv: torch.Tensor
    """(layers, 2, B, heads, T, d): keys and values, with room for those of the new tokens."""


class Step:
    """The steps of one model. One thread at a time."""

    def __init__(self, model: Any, shape: KVShape, device: str) -> None:
        """`model`: a causal language model."""
        self._plain = _PlainStep(model)
        self._shape = shape
        self._device = device
        self._n_plain = 0
        self._step: Callable[..., torch.Tensor] = self._plain

    @torch.inference_mode()
    def __call__(
        self, tokens_B: torch.Tensor, kv: torch.Tensor, lengths_B: torch.Tensor, width: int
    ) -> torch.Tensor:
        """Scores (B, V) after one more token of each row, whose keys and values are written down.

        Args:
            tokens_B: The tokens.
            kv: (layers, 2, rows, heads, room, d) of at least B rows.
            lengths_B: How many tokens of each row are in `kv`.
            width: Of the longest row, with its new token.
        """
        if self._n_plain == PLAIN_STEPS:
            self._step = self._recorded() or self._plain
        self._n_plain += 1
        with _as_recorded():
            return self._step(*self._inputs(tokens_B, kv, lengths_B, width))

    def _inputs(
        self, tokens_B: torch.Tensor, kv: torch.Tensor, lengths_B: torch.Tensor, width: int
    ) -> _Inputs:
        rows_B = torch.arange(len(tokens_B), device=self._device)
        seen_BT = torch.arange(width, device=self._device) <= lengths_B[:, None]
        mask_BT = torch.where(seen_BT, 0.0, float("-inf")).to(self._shape.dtype)
        kv = kv[:, :, : len(tokens_B), :, :width]
        return _Inputs(tokens_B, rows_B, lengths_B, mask_BT[:, None, None], kv)

    def _recorded(self) -> Callable[..., torch.Tensor] | None:
        """None if it would not do what the model does."""
        try:
            with warnings.catch_warnings():  # of each size that Python looks at; compared below
                warnings.simplefilter("ignore")
                recorded: Callable[..., torch.Tensor] = torch.jit.trace(  # type: ignore[no-untyped-call]
                    self._plain, tuple(self._example(2, 5)), check_trace=False
                )
            differ = [s for s in ((1, 9), (3, 70), (17, 40)) if not self._agrees(recorded, *s)]
        except Exception as error:  # noqa: BLE001 (a model's Python raises what it likes here)
            logger.debug("a step is not recorded: %s", error)
            return None
        if differ:
            logger.debug("a step is not recorded: other scores for (rows, tokens) of %s", differ)
            return None
        return recorded

    def _agrees(self, recorded: Callable[..., torch.Tensor], n_rows: int, width: int) -> bool:
        plain, again = self._example(n_rows, width), self._example(n_rows, width)
        with _as_recorded():
            same_scores = torch.equal(self._plain(*plain), recorded(*again))
        return same_scores and torch.equal(plain.kv, again.kv)

    def _example(self, n_rows: int, width: int) -> _Inputs:
        """Rows of different lengths, with made-up tokens, keys and values."""
        numbers = torch.arange(n_rows, device=self._device)
        kv = self._shape.rows(n_rows, width + 1, self._device)  # more room than width, as in use
        kv += torch.linspace(-1, 1, kv.numel(), dtype=kv.dtype, device=kv.device).view_as(kv)
        return self._inputs(numbers, kv, numbers % width, width)


def _as_recorded() -> AbstractContextManager[None]:
    """Nothing is fused or specialised while it runs, which would take time and change roundings."""
    found: AbstractContextManager[None] = torch.jit.optimized_execution(False)  # type: ignore[attr-defined]
    return found


class _PlainStep(torch.nn.Module):
    """The model's own."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        tokens_B: torch.Tensor,
        rows_B: torch.Tensor,
        lengths_B: torch.Tensor,
        mask_B11T: torch.Tensor,
        kv: torch.Tensor,
    ) -> torch.Tensor:
        out = self.model(
            input_ids=tokens_B[:, None],
            position_ids=lengths_B[:, None],
            attention_mask=mask_B11T,
            past_key_values=_RowsKV(kv, rows_B, lengths_B),
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: torch.Tensor = out.logits[:, -1]
        return logits_BV


class _RowsKV(Cache):  # type: ignore[misc]
    """Rows of different lengths, each of which gets one more token."""

    def __init__(self, kv: torch.Tensor, rows_B: torch.Tensor, lengths_B: torch.Tensor) -> None:
        super().__init__(layers=[])
        self._kv = kv
        self._rows_B = rows_B
        self._lengths_B = lengths_B

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write down the new ones; all of this layer's (B, heads, T, d)."""
        keys, values = self._kv[layer_idx, 0], self._kv[layer_idx, 1]
        keys[self._rows_B, :, self._lengths_B] = key[:, :, 0]
        values[self._rows_B, :, self._lengths_B] = value[:, :, 0]
        return keys, values
