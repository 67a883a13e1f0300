"""One pass of a model over many sequences: what they share is read once, what is known not at all.

The layout is `forest.py`, what is known comes from `prefix_store.py`. The language-model head runs
only where its scores are wanted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from transformers import Cache, DynamicCache

from selfevo.forest import Branches, Forest, Stretch, forest
from selfevo.forest_attention import NAME, forest_input
from selfevo.prefix_store import Known


class KVShape(NamedTuple):
    """What a model keeps of each token it has read."""

    layers: int
    heads: int
    head_dim: int
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Of one token: its keys and its values."""
        return 2 * self.layers * self.heads * self.head_dim * self.dtype.itemsize

    def sequence(self, n_tokens: int, device: str) -> torch.Tensor:
        """Room for n tokens: (layers, 2, heads, n, d), not initialised."""
        shape = (self.layers, 2, self.heads, n_tokens, self.head_dim)
        return torch.empty(shape, dtype=self.dtype, device=device)

    def rows(self, n_rows: int, n_tokens: int, device: str) -> torch.Tensor:
        """Room for n tokens of each row: (layers, 2, rows, heads, n, d).

        Zeros, since attention multiplies also what it masks (by 0, which leaves a NaN one).
        """
        shape = (self.layers, 2, n_rows, self.heads, n_tokens, self.head_dim)
        return torch.zeros(shape, dtype=self.dtype, device=device)


class Reading(NamedTuple):
    """What one pass found."""

    kv: torch.Tensor
    """(layers, 2, heads, K, d) of known tokens and of those just read."""
    places: tuple[npt.NDArray[np.int64], ...]
    """Of each sequence, where its tokens stand among the K."""
    n_known: int
    logits_PV: torch.Tensor
    """At the places that were asked for."""


class Layout(NamedTuple):
    """Sequences laid out after what is known of them."""

    laid: Forest
    pieces: tuple[torch.Tensor, ...] = ()
    """Keys and values of what is known, in order."""


def lay_out(sequences: Sequence[Sequence[int]], known: Known | None = None) -> Layout:
    """The forest of `sequences`; of each the last token is read, even if it is known."""
    if known is None:
        return Layout(forest(sequences))
    laid = forest(sequences, known.sequences, last=True)
    return Layout(_without_copies(laid, known.is_first), known.pieces)


class Reader:
    """Reads forests with one model."""

    def __init__(self, model: Any, shape: KVShape, device: str) -> None:
        """`model`: a causal language model, or PEFT around one; see `forest_reading.why_not`."""
        self._model = causal_lm(model)
        self._model.set_attn_implementation(NAME)
        self._device = device
        self.shape = shape

    @torch.inference_mode()
    def read(self, layout: Layout, wanted: npt.NDArray[np.int64]) -> Reading:
        """One forward pass; scores at the places `wanted`, each of a token that is read now."""
        laid = layout.laid
        kv = self.shape.sequence(laid.n_keys, self._device)
        if layout.pieces:
            torch.cat(layout.pieces, dim=-2, out=kv[..., : laid.n_known, :])
        keep = torch.from_numpy(wanted - laid.n_known).to(self._device)
        out = self._model(
            **forest_input(laid, self._device).kwargs(),
            past_key_values=_ForestKV(kv, laid.n_known),
            use_cache=True,
            logits_to_keep=keep,
        )
        return Reading(kv, laid.places, laid.n_known, out.logits[0])

    @torch.inference_mode()
    def step(
        self, tokens_B: torch.Tensor, kv: torch.Tensor, lengths_B: torch.Tensor, width: int
    ) -> torch.Tensor:
        """Scores (B, V) after one more token of each row, whose keys and values are written down.

        Args:
            tokens_B: The tokens.
            kv: (layers, 2, rows, heads, room, d) of at least B rows.
            lengths_B: How many tokens of each row are in `kv`.
            width: Of the longest row, with its new token.
        """
        span_T = torch.arange(width, device=self._device)
        seen_B11T = (span_T <= lengths_B[:, None])[:, None, None]
        # to be added to the scores: each layer would make that of a boolean mask anew
        mask_B11T = torch.where(seen_B11T, 0.0, float("-inf")).to(self.shape.dtype)
        out = self._model(
            input_ids=tokens_B[:, None],
            position_ids=lengths_B[:, None],
            attention_mask=mask_B11T,
            past_key_values=_RowsKV(kv, lengths_B, width),
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: torch.Tensor = out.logits[:, -1]
        return logits_BV


class _ForestKV(Cache):  # type: ignore[misc]
    """Known keys and values, with room behind them for those of the tokens that are read."""

    def __init__(self, kv: torch.Tensor, n_known: int) -> None:
        super().__init__(layers=[])
        self._kv = kv
        self._n_known = n_known

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write down the new ones; all of this layer's (1, heads, K, d)."""
        self._kv[layer_idx, 0, :, self._n_known :] = key[0]
        self._kv[layer_idx, 1, :, self._n_known :] = value[0]
        return self._kv[layer_idx, :1], self._kv[layer_idx, 1:]


class _RowsKV(Cache):  # type: ignore[misc]
    """Rows of different lengths, each of which gets one more token."""

    def __init__(self, kv: torch.Tensor, lengths_B: torch.Tensor, width: int) -> None:
        super().__init__(layers=[])
        self._kv = kv
        self._rows = torch.arange(len(lengths_B), device=lengths_B.device)
        self._lengths_B = lengths_B
        self._width = width

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write down the new ones; all of this layer's (B, heads, T, d)."""
        keys, values = self._kv[layer_idx, :, : len(self._rows), :, : self._width]
        keys[self._rows, :, self._lengths_B] = key[:, :, 0]
        values[self._rows, :, self._lengths_B] = value[:, :, 0]
        return keys, values


def causal_lm(model: Any) -> Any:
    """The causal language model itself, where PEFT is around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.inference_mode()
def kv_shape(model: Any, device: str) -> KVShape | None:
    """Found out by reading one token: configurations name these in too many ways.

    None if layers differ, or keys from values (latent attention).
    """
    inner = causal_lm(model)
    cache = DynamicCache(config=inner.config)
    token = torch.zeros((1, 1), dtype=torch.long, device=device)
    inner(token, past_key_values=cache, use_cache=True)
    kept = [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]
    if len({tensor.shape for tensor in kept}) != 1:
        return None
    return KVShape(len(cache.layers), kept[0].shape[1], kept[0].shape[3], kept[0].dtype)


def _without_copies(laid: Forest, is_first: npt.NDArray[np.bool_]) -> Forest:
    """Renumber the keys, so that what several known sequences share stands there once."""
    n_known = int(is_first.sum())
    number = np.append(is_first.cumsum() - 1, n_known + np.arange(len(laid.ids)))

    def renumbered(stretches: tuple[Stretch, ...]) -> tuple[Stretch, ...]:
        return tuple(Stretch(int(number[s.start]), int(number[s.stop - 1]) + 1) for s in stretches)

    return laid._replace(
        places=tuple(number[places] for places in laid.places),
        branches=tuple(
            Branches(renumbered(branches.beginning), renumbered(branches.paths))
            for branches in laid.branches
        ),
        n_known=n_known,
    )
