"""Adapters in vLLM's CPU worker: one product per adapter instead of one copied matrix per token.

vLLM 0.32 computes LoRA on a CPU by copying the adapter's matrices for every token of the batch,
and gives tokens of the base model (index -1) the adapter in the last slot. Here the tokens of an
adapter are multiplied together, and those without one get nothing.

This file is loaded by the worker process, in vLLM's own environment (`--worker-extension-cls
cpu_lora.GroupedLora`, found by PYTHONPATH). It knows nothing of the rest of this package.
"""

from importlib import import_module
from typing import Any

import torch

# by name: no dependency of this package, but what the worker is
_MODULES: tuple[Any, ...] = (
    import_module("vllm.lora.ops.torch_ops.lora_ops"),
    import_module("vllm.lora.punica_wrapper.punica_cpu"),
)


class GroupedLora:
    """Named on the server's command line; that it is imported is all it is for."""


def product(
    inputs_TI: torch.Tensor, weights: torch.Tensor, index_T: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """(T, O): each row times the matrix of its adapter; zeros where it has none.

    Args:
        inputs_TI: The rows.
        weights: (slots, O, I) or (slots, 1, O, I).
        index_T: Slot of each row's adapter, -1 for none.
        dtype: Of the result.
    """
    weights_SOI = weights.squeeze(1) if weights.dim() == 4 else weights
    inputs_TI = inputs_TI.to(dtype)
    lowest, highest = (int(bound) for bound in torch.aminmax(index_T))
    if lowest == highest and lowest >= 0:
        return inputs_TI @ weights_SOI[lowest].to(dtype).T
    out_TO = torch.zeros(len(inputs_TI), weights_SOI.shape[1], dtype=dtype)
    for slot in range(max(lowest, 0), highest + 1):
        rows = (index_T == slot).nonzero().squeeze(1)
        if len(rows):
            out_TO[rows] = inputs_TI[rows] @ weights_SOI[slot].to(dtype).T
    return out_TO


def bgmv_shrink(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    scaling: float = 1.0,
) -> None:
    """Write the rows' scaled products with A into the first columns of `output_tensor`."""
    out = product(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    output_tensor[:, : out.shape[1]] = scaling * out


def bgmv_expand(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    add_inputs: bool = True,
) -> None:
    """Add the rows' products with B to `output_tensor`, or write them there."""
    # layers pad their output by different amounts
    width = min(lora_b_weights.shape[-2], output_tensor.shape[1])
    bgmv_expand_slice(
        inputs,
        lora_b_weights[..., :width, :],
        output_tensor,
        lora_indices_tensor,
        0,
        width,
        add_inputs,
    )


def bgmv_expand_slice(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """The same for a range of columns (the parts of a fused projection)."""
    out = product(inputs, lora_b_weights, lora_indices_tensor, output_tensor.dtype)
    columns = output_tensor[:, slice_offset : slice_offset + slice_size]
    if add_inputs:
        columns += out
    else:
        columns.copy_(out)


for _module in _MODULES:  # the prefill's functions, in the first, call these by name
    _module.bgmv_shrink = bgmv_shrink
    _module.bgmv_expand = bgmv_expand
    _module.bgmv_expand_slice = bgmv_expand_slice
