"""One pass of a model over many sequences: what they share is read once, what is known not at all.

The layout is `forest.py`, what is known comes from `prefix_store.py`. The language-model head runs
only where its scores are wanted.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from transformers import Cache

from selfevo.forest import Branches, Forest, Stretch, forest
from selfevo.forest_attention import NAME, forest_input
from selfevo.kv_shape import KVShape, causal_lm
from selfevo.prefix_store import Known
from selfevo.step import Step


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
        self.step = Step(self._model, shape, device)

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
