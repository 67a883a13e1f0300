"""The compact head changes the speed of the loss, not its value."""

import torch
import trl.trainer.utils as trl_utils
from transformers import AutoModelForCausalLM
from trl.trainer.utils import add_fused_lm_head  # the seam that the trainers use

from selfevo.compact_head import trained_positions_only


def test_the_seam_is_still_there() -> None:
    assert hasattr(trl_utils, "_use_triton"), "TRL changed: compact_head does nothing any more"


def test_log_probabilities_are_the_same(tiny_model: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    add_fused_lm_head(model)
    ids = torch.randint(10, 1000, (2, 24), generator=torch.Generator().manual_seed(1))
    labels = ids.masked_fill(torch.arange(24) < 15, -100)
    plain = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
    with trained_positions_only():
        compact = model(input_ids=ids, labels=labels, fused_lm_head=True).log_probs
    assert torch.allclose(plain, compact, atol=1e-5)
    assert not trl_utils._use_triton(torch.device("cpu"))
