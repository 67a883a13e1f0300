"""A checkpoint whose replies have the length that is asked for: the embedded model, never ending.

The head's rows of the tokens that end a turn are zero: their scores are 0, and a trained model's
largest score is above that. So every side of a bench writes as many tokens, with no processor of
scores that would cost one side more than the other. The template strips what people and models
said, as our provider does.
"""

import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks import starter
from selfevo import embedded
from selfevo.quiet import quiet_libraries

END_OF_TURN = 2
OTHER_END = 0
"""`<|endoftext|>`, which also ends a reply."""

TINY_VOCABULARY = 2048


def never_ending(path: Path, n_layers: int | None) -> None:
    """The embedded model, or its first layers, which never says that its turn ends."""
    source = embedded.embedded_model_path()
    shutil.copytree(source, path)
    with quiet_libraries():
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    if n_layers is not None:
        model.model.layers = model.model.layers[:n_layers]
        model.config.num_hidden_layers = n_layers
        if getattr(model.config, "layer_types", None):
            model.config.layer_types = model.config.layer_types[:n_layers]
    head = model.get_input_embeddings().weight.detach().clone()
    head[[END_OF_TURN, OTHER_END]] = 0
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(head)
    for file in path.glob("*.safetensors"):
        file.unlink()
    model.save_pretrained(path)
    _strip_in_template(path)


def tiny(path: Path) -> None:
    """Two layers with random weights and few words: costs nothing, so that the rest shows.

    Its tokenizer is the embedded model's, trained anew on the shipped dialogues.
    """
    source = embedded.embedded_model_path()
    said = [turn.text for d in starter.load(None, "en").dialogues for turn in d.turns]
    tokenizer = AutoTokenizer.from_pretrained(source).train_new_from_iterator(said, TINY_VOCABULARY)
    assert tokenizer.eos_token_id == END_OF_TURN
    config = LlamaConfig.from_pretrained(source)
    config.update(
        {
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "layer_types": None,
            "tie_word_embeddings": False,
        }
    )
    torch.manual_seed(7)
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[[END_OF_TURN, OTHER_END]] = 0
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    _strip_in_template(path)


def _strip_in_template(path: Path) -> None:
    template = path / "chat_template.jinja"
    stripped = template.read_text("utf-8").replace(
        "message['content'] +", "(message['content'] | trim) +"
    )
    template.write_text(stripped, encoding="utf-8")
