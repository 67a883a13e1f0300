"""A padded batch read as a forest: the model's backbone, with each shared beginning computed once.

`read_as_forest` replaces the forward of a model's backbone (everything but the language-model
head). It takes the same padded (B, T) batch and gives the same hidden states, so that whatever
stands on top (TRL's trainers with their losses, metrics, reference modes; the head on the labelled
positions) works as it is. Padding, left or right, is not computed either.
"""

import functools
import logging
import types
from typing import Any

import numpy as np
import torch

from selfevo.forest import forest
from selfevo.forest_attention import NAME, forest_input

logger = logging.getLogger(__name__)

SUPPORTED_ROPE = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings that depend on a token's position alone, not on the sequence's length."""

KEEP_ARGUMENTS = ("nemotron",)
"""Models whose layers do not pass a forest on; `forest_attention` raises for one not listed."""

ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
"""What configurations call it; TRL's `disable_dropout` does not reach the first."""


def why_not(model: Any) -> str | None:
    """Why this model cannot read a forest, or None if it can."""
    config = model.config.get_text_config()
    if getattr(model, "active_peft_config", None) is not None:
        model = model.get_base_model()
    if not getattr(model, "_supports_attention_backend", False):
        return f"{config.model_type} does not take its attention from transformers' interface"
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    if kinds != {"full_attention"}:
        return f"{config.model_type} has layers of {', '.join(sorted(kinds - {'full_attention'}))}"
    if _slides(config):
        return f"{config.model_type} attends within a sliding window of {config.sliding_window}"
    rope = _rope_types(config) - set(SUPPORTED_ROPE)
    if rope:
        return f"{config.model_type} has rotary embeddings of type {', '.join(sorted(rope))}"
    if getattr(config, "attn_logit_softcapping", None) is not None:
        return f"{config.model_type} caps its attention scores"
    if config.model_type in KEEP_ARGUMENTS:
        return f"{config.model_type} does not hand arguments on to its attention"
    if not getattr(model, "_supports_sdpa", False):  # attention sinks, say
        return f"{config.model_type} has an attention that SDPA does not compute"
    return None


def why_not_in_training(model: Any) -> str | None:
    """As `why_not`, for a model that is trained."""
    config = model.config.get_text_config()
    dropout = [name for name in ATTENTION_DROPOUT if getattr(config, name, None)]
    if dropout:
        return f"{config.model_type} drops attention while it is trained ({dropout[0]})"
    balances = hasattr(config, "output_router_logits")
    if balances and getattr(config, "router_aux_loss_coef", None):
        return f"{config.model_type} balances its experts over all tokens of a batch"
    return why_not(model)


def can_read_forests(model: Any) -> bool:
    """Whether `read_as_forest` is possible for training; says once why not."""
    reason = why_not_in_training(model)
    if reason is not None and reason not in _SAID:
        _SAID.add(reason)
        logger.warning("each sequence is computed by itself, which is slower: %s", reason)
    return reason is None


_SAID: set[str] = set()


def _slides(config: Any) -> bool:
    window = getattr(config, "sliding_window", None)
    return window is not None and bool(getattr(config, "use_sliding_window", True))


def _rope_types(config: Any) -> set[str]:
    """Of all layers; some configurations have parameters of each kind of layer."""
    parameters = getattr(config, "rope_parameters", None) or {}
    nested = [value for value in parameters.values() if isinstance(value, dict)]
    return {kind.get("rope_type", "default") for kind in nested or [parameters]}


def _asks_for_more(arguments: dict[str, Any]) -> bool:
    """Than hidden states: a cache, positions of its own (packed rows), attentions, router logits.

    Such a call is computed as it is.
    """
    given = {name for name, value in arguments.items() if value is not None and value is not False}
    return bool(given - {"return_dict"})


def read_as_forest(model: Any) -> None:
    """Let `model` (a causal language model, or PEFT around one) read padded batches as forests.

    Args:
        model: One that `why_not` has nothing against.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.set_attn_implementation(NAME)
    backbone = inner.base_model
    flat_forward = backbone.forward

    @functools.wraps(type(backbone).forward)
    def forward(
        self: Any,
        input_ids: torch.Tensor | None = None,
        attention_mask: Any = None,
        **kwargs: Any,
    ) -> Any:
        whole = attention_mask is None
        if (
            input_ids is None
            or not (whole or attention_mask.shape == input_ids.shape)
            or _asks_for_more(kwargs)
        ):
            return flat_forward(input_ids=input_ids, attention_mask=attention_mask, **kwargs)
        real_BT = torch.ones_like(input_ids).bool() if whole else attention_mask.bool()
        laid = forest([row[real].tolist() for row, real in zip(input_ids, real_BT, strict=True)])
        # without a cache, whatever the configuration's default: it would be the forest's
        packed = forest_input(laid, input_ids.device).kwargs() | {"use_cache": False}
        read = flat_forward(**(kwargs | packed))
        place_BT = torch.zeros_like(input_ids)  # padding gets any hidden state; nobody looks
        place_BT[real_BT] = torch.from_numpy(np.concatenate(laid.places)).to(place_BT.device)
        read.last_hidden_state = read.last_hidden_state[0, place_BT]
        return read

    backbone.forward = types.MethodType(forward, backbone)
