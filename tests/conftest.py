"""Fixtures of several packages' tests: a model small enough to be made on the spot."""

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

import tests.cheap_evals  # noqa: F401  (before Inspect is imported)

import inspect_ai._eval.task.log as eval_log  # isort: skip

from benchmarks import starter

os.environ.setdefault("OMP_NUM_THREADS", "1")

# Each event of an eval also goes to a database, for those who look on meanwhile. Processes that are
# to be killed write to it as ever.
eval_log.SampleBufferDatabase = lambda **_: None  # type: ignore[assignment, misc]

# No test measures time: the first example of a property may build an index, on a busy machine. The
# examples are the same each time, so that a change is not blamed for what was there before it;
# `--hypothesis-profile random` looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None)
settings.load_profile("same")

VOCABULARY = 4096
"""Tokens of the tiny model."""


def pytest_collection_finish() -> None:
    """Freeze what was imported: libraries ask for full collections at every turn.

    `statsmodels.stats.multitest.multipletests` does, and a trainer twice; each would look at all
    objects of torch and its like (0.2 to 0.5 s). What tests make is looked through less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)


@pytest.fixture(scope="session")
def embedded_tokenizer_dir() -> Path:
    """The embedded model's folder, for its tokenizer; skips where it was not fetched."""
    from selfevo import embedded
    from selfevo.errors import ModelFetchError

    try:
        return embedded.embedded_model_path()
    except ModelFetchError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, embedded_tokenizer_dir: Path) -> Path:
    """A plain checkpoint: two random layers, and the embedded model's template.

    Its tokenizer is the embedded model's, trained anew for fewer tokens: over 49,152 of them the
    scores would take longer than everything else.
    """
    torch = pytest.importorskip("torch", reason="needs the [train] extra")
    transformers = pytest.importorskip("transformers", reason="needs the [train] extra")
    said = [turn.text for d in starter.load(None, None).dialogues for turn in d.turns]
    embedded = transformers.AutoTokenizer.from_pretrained(embedded_tokenizer_dir)
    tokenizer = embedded.train_new_from_iterator(said, VOCABULARY)
    config = transformers.LlamaConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        vocab_size=VOCABULARY,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.2,  # wide enough that greedy choices are not near ties
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config).eval()
    path = tmp_path_factory.mktemp("tiny") / "checkpoint"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    gc.collect()
    gc.freeze()  # what transformers has imported
    return path


@pytest.fixture(scope="session")
def tiny_adapter(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A LoRA adapter on `tiny_model` that changes its replies (a fresh one would not)."""
    torch = pytest.importorskip("torch", reason="needs the [train] extra")
    transformers = pytest.importorskip("transformers", reason="needs the [train] extra")
    peft = pytest.importorskip("peft", reason="needs the [train] extra")
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "down_proj"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = peft.get_peft_model(base, config)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("tiny") / "adapter"
    model.save_pretrained(path)
    return path
