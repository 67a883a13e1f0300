"""What a model keeps of each token it has read: its keys and values, in tensors of our own."""

from typing import Any, NamedTuple

import torch
from transformers import DynamicCache


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
