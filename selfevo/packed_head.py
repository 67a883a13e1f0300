"""The language-model head in oneDNN's own layout: half the time for a batch of rows on a CPU.

The head is the widest matrix of a small model (a fifth of SmolLM2-135M's weights). torch gives a
float32 product to MKL, which on AMD processors leaves the wider vector units unused; torch's oneDNN
operator uses them, from a copy of the weights that is laid out for it. Measured with 16 rows and
49,152 x 576 weights: 66 -> 32 ms of one core. The layers' own, smaller matrices gain nothing.
"""

from typing import Any

import torch

ROWS = 32
"""The layout suits about so many rows."""


def pack_head(model: Any) -> bool:
    """Let the head of `model` compute in oneDNN's layout; whether it can.

    For float32 on a CPU, where no gradient is asked for. Equal up to float rounding.
    """
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if head.weight.dtype != torch.float32 or head.weight.device.type != "cpu":
        return False
    packed = torch.ops.mkldnn._reorder_linear_weight(head.weight.detach(), ROWS)

    def forward(hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            hidden, packed, head.bias, "none", [], ""
        )
        return out

    head.forward = forward  # type: ignore[method-assign, assignment]
    return True
