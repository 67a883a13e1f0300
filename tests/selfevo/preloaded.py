"""What processes that are forked to be killed have imported and read beforehand, once for all.

Inspect and transformers import much only when an eval or a training begins.
"""

import gc

import inspect_ai.agent._acp.server
import inspect_ai.model._openai_responses
import transformers.models.llama.modeling_llama
from inspect_ai.model import get_model_info

import selfevo.diagnostics
import selfevo.evolve
import selfevo.sft

# ruff: noqa: F401

get_model_info("openai/gpt-4o")  # reads the list of all models
gc.collect()
gc.freeze()  # a training asks for full collections
