"""Matrix products of a model on a CPU in oneDNN's own layout: about half the time for few rows.

torch gives a float32 product to MKL, which on AMD processors leaves the wider vector units unused;
torch's oneDNN operator uses them, from weights that are laid out for it. The layers' weights are
kept in that layout only, so it takes no more memory. `docs/performance.md` has the measurements.
"""

import functools
from typing import Any

import torch

ROWS = 32
"""The layout suits about so many rows."""

MIN_WEIGHTS = 2**16
"""A smaller product takes less time than the call of the operator."""


def pack_linears(model: Any) -> int:
    """Let the products of `model` (for inference alone) compute in that layout; how many do.

    For float32 on a CPU. Equal up to float rounding.
    """
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    embedding = model.get_input_embeddings().weight
    found = [module for module in model.modules() if _can_be_packed(module)]
    for linear in found:
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), ROWS)
        name = "packed" if linear.weight is embedding else "weight"
        linear.register_parameter(name, torch.nn.Parameter(packed, requires_grad=False))
        linear.forward = functools.partial(_forward, linear, name)
    return len(found)


def _can_be_packed(module: Any) -> bool:
    if type(module) is not torch.nn.Linear or module.weight.numel() < MIN_WEIGHTS:
        return False
    return module.weight.dtype == torch.float32 and module.weight.device.type == "cpu"


def _forward(linear: Any, name: str, hidden: torch.Tensor) -> torch.Tensor:
    out: torch.Tensor = _product()(hidden, getattr(linear, name), linear.bias)
    return out


@functools.cache
def _product() -> Any:
    """As a script: `torch.jit.trace` cannot record the operator's empty list."""
    return torch.jit.CompilationUnit("""
def product(hidden: Tensor, packed: Tensor, bias: Optional[Tensor]) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(hidden, packed, bias, "none", [], "")
""").product
