"""A CUDA card: tokens a second and FLOPs utilisation of training and generation.

```
python -m perf.gpu --size 8b            135m, 1b or 8b: a Llama of that shape with random weights
python -m perf.gpu --size tiny --device cpu        the same code on a CPU, to see that it runs
```

Nothing is downloaded. The dialogues are random tokens: `--turns` turns of 40 tokens, replies of 50.
Utilisation is against the rate of a large matrix product on the same card in the same run, so 1.0
would be a program that does nothing else. FLOPs of training under LoRA: 4 a parameter and distinct
token (2 forward, 2 for the activations' gradients), 6 for all parameters, plus attention.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch

from perf.machine import matmul_rate, report

TURN = 40
REPLY = 50
VOCABULARY = 32_000
END = "</s>"


class Shape(NamedTuple):
    """A Llama-type model's size."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_heads: int


SHAPES = {
    "tiny": Shape(64, 128, 2, 4, 2),
    "135m": Shape(576, 1536, 30, 9, 3),
    "1b": Shape(2048, 8192, 16, 32, 8),
    "8b": Shape(4096, 14336, 32, 32, 8),
}


class Measured(NamedTuple):
    """One side of the bench."""

    name: str
    tokens: int
    """Distinct ones, as the model needs them."""
    seconds: float
    flops: float


def main() -> None:
    """Run the bench; ends with one JSON line.

    Raises:
        SystemExit: there is no such device.
    """
    options = _options()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("perf.gpu: no CUDA device; try --size tiny --device cpu")
    dtype = torch.bfloat16 if options.device.startswith("cuda") else torch.float32
    rate = matmul_rate(options.device, dtype, 8192 if dtype == torch.bfloat16 else 1024)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        _write_model(base, SHAPES[options.size], dtype)
        sides = [
            _sft(base, options, Path(folder)),
            _dpo(base, options, Path(folder), tree=True),
            _dpo(base, options, Path(folder), tree=False),
            *_generation(base, options, dtype),
        ]
    speed = {side.name: side.tokens / side.seconds for side in sides}
    used = {side.name: side.flops / side.seconds / rate for side in sides}
    rows = [
        [
            side.name,
            f"{side.tokens:,}",
            f"{side.seconds:.2f}",
            f"{speed[side.name]:,.0f}",
            f"{used[side.name]:.1%}",
        ]
        for side in sides
    ]
    machine = f"{_device(options.device)}, matrix product {rate / 1e12:.1f} TFLOP/s"
    report(
        f"Llama {options.size} on {machine}",
        ["side", "tokens", "s", "tokens/s", "FLOPs utilisation"],
        rows,
        {
            "device": _device(options.device),
            "size": options.size,
            "matmul_tflops": round(rate / 1e12, 2),
            "tokens_per_s": {name: round(value, 1) for name, value in speed.items()},
            "utilisation": {name: round(value, 4) for name, value in used.items()},
            "tree_over_flat": round(_seconds(sides, "flat DPO") / _seconds(sides, "tree DPO"), 2),
        },
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--size", choices=[*SHAPES], default="1b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dialogues", type=int, default=8)
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--token-budget", type=int, default=8192)
    return parser.parse_args()


def _device(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def _seconds(sides: list[Measured], name: str) -> float:
    return next(side.seconds for side in sides if side.name == name)


def _write_model(path: Path, shape: Shape, dtype: torch.dtype) -> None:
    """A model with random weights and a tokenizer of one token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(dtype).save_pretrained(path)
    words = {END: 0} | {f"w{i}": i for i in range(1, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)
    wrapped.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %} "
        "{% endfor %}"
    )
    wrapped.save_pretrained(path)


def _words(rng: random.Random, n: int) -> str:
    return " ".join(f"w{rng.randrange(1, VOCABULARY)}" for _ in range(n))


def _talks(options: argparse.Namespace) -> list[list[str]]:
    """Turns of each dialogue, the seeker first."""
    rng = random.Random(7)
    return [[_words(rng, TURN) for _ in range(2 * options.turns)] for _ in range(options.dialogues)]


def _preferences(options: argparse.Namespace) -> list[dict[str, str]]:
    rng = random.Random(8)
    return [
        {
            "dialogue": str(number),
            "prompt": " ".join(turns[: 2 * turn + 1]) + " ",
            "chosen": _words(rng, REPLY),
            "rejected": _words(rng, REPLY),
        }
        for number, turns in enumerate(_talks(options))
        for turn in range(options.turns)
    ]


def _lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")


def _load(base: Path, options: argparse.Namespace) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype="auto").to(options.device)


def _shared(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    on_gpu = options.device.startswith("cuda")
    return {
        "output_dir": str(folder / "out"),
        "use_cpu": not on_gpu,
        "bf16": on_gpu,
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "gradient_checkpointing": None,
        "num_train_epochs": 1,
        "activation_checkpointing": False,
        "dataloader_pin_memory": on_gpu,
    }


def _run(trainer: Any, options: argparse.Namespace) -> float:
    """Seconds of the second of two runs: kernels are compiled in the first."""
    trainer.train()
    _wait(options)
    start = time.perf_counter()
    trainer.train()
    _wait(options)
    return time.perf_counter() - start


def _wait(options: argparse.Namespace) -> None:
    if options.device.startswith("cuda"):
        torch.cuda.synchronize()


def _flops(model: Any, n_tokens: int, n_seen: float, per_parameter: int) -> float:
    """Of `n_tokens` that see `n_seen` keys in all: parameters, and attention's two products."""
    config = model.config
    attention = 2 * per_parameter * config.hidden_size * config.num_hidden_layers * n_seen
    return per_parameter * model.num_parameters() * n_tokens + attention


def _sft(base: Path, options: argparse.Namespace, folder: Path) -> Measured:
    import datasets
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from selfevo.forest_reading import read_as_forest

    roles = ("user", "assistant")
    rows = [
        {"messages": [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]}
        for turns in _talks(options)
    ]
    arguments = {**_shared(folder, options), "per_device_train_batch_size": 4}
    trainer = SFTTrainer(
        model=_load(base, options),
        args=SFTConfig(**arguments, assistant_only_loss=True),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=_lora(),
    )
    read_as_forest(trainer.model)
    lengths = [len(row["input_ids"]) for row in trainer.train_dataset]
    seen = sum(n * n / 2 for n in lengths)
    flops = _flops(trainer.model.get_base_model(), sum(lengths), seen, 4)
    return Measured("SFT", sum(lengths), _run(trainer, options), flops)


def _dpo(base: Path, options: argparse.Namespace, folder: Path, *, tree: bool) -> Measured:
    import datasets
    from peft import get_peft_model
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    from selfevo.forest import forest, visible
    from selfevo.tree_dpo import TreeDPOTrainer

    size = options.turns if tree else 4
    arguments = {
        "model": get_peft_model(_load(base, options), _lora()),
        "args": DPOConfig(**_shared(folder, options), per_device_train_batch_size=size),
        "train_dataset": datasets.Dataset.from_list(_preferences(options)),
        "processing_class": AutoTokenizer.from_pretrained(base),
    }
    if tree:
        trainer = TreeDPOTrainer(token_budget=options.token_budget, **arguments)
        trainer.precompute_reference()
    else:
        trainer = DPOTrainer(**arguments)
    tokens, seen = 0, 0.0
    pairs = [
        (row["prompt_ids"], row["chosen_ids"], row["rejected_ids"]) for row in trainer.train_dataset
    ]
    for start in range(0, len(pairs), options.turns):
        dialogue = pairs[start : start + options.turns]
        laid = forest([p + reply for p, *replies in dialogue for reply in replies])
        tokens += len(laid.ids)
        seen += float(visible(laid).sum())
    # for both sides the work that is needed: what the flat side repeats lowers its utilisation
    flops = _flops(trainer.model.get_base_model(), tokens, seen, 4)
    name = "tree DPO" if tree else "flat DPO"
    return Measured(name, tokens, _run(trainer, options), flops)


def _generation(base: Path, options: argparse.Namespace, dtype: torch.dtype) -> list[Measured]:
    from selfevo.engine import Engine, GenerateRequest

    engine = Engine(base, device=options.device, dtype=str(dtype).removeprefix("torch."))
    engine.eos_ids = []  # random weights end at random; every row is to have its full length
    prompts = [engine.tokenizer(" ".join(turns)).input_ids for turns in _talks(options)]
    requests = [
        GenerateRequest(tuple(prompt), options.new_tokens, 0.0, 1.0, seed)
        for seed, prompt in enumerate(prompts)
    ]
    engine.generate(requests)
    start = time.perf_counter()
    done = engine.generate(requests)
    seconds = time.perf_counter() - start
    tokens = sum(reply.n_tokens for reply in done)
    n_prompt = sum(len(prompt) for prompt in prompts)
    return [Measured("generation", tokens, seconds, _flops(engine.model, n_prompt + tokens, 0, 2))]


if __name__ == "__main__":
    main()
