"""Training: dialogue trees against TRL's defaults and against the best flat configuration.

```
python -m perf.train --data PATH/TO/esconv        about a quarter of an hour on two cores
```

DPO sides, each in a process of its own, on the same pairs (one at each supporter turn), LoRA r 16
on all linear layers, float32, one epoch, reference log-probabilities included:

- `trl`: `DPOTrainer` with its defaults on a CPU (8 pairs, checkpointing, reference beside it);
- `flat`: one sequence a reply, as fast as we could make it: reference once, head on reply
  positions, no checkpointing, batches of similar length;
- `tree`: this project's.

Growth with depth: the first sixteen supporter turns of a dialogue as one dialogue, and cut into
four dialogues of four, so that turns and replies are the same and only what stands before them
differs.

SFT sides: `turns` (TRL, one example a supporter turn) and `dialogues` (this project's).
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from perf.machine import in_child, matmul_rate, peak_memory, report
from perf.material import MIN_TURNS, long_dialogues, messages, preference_rows, segments

DEEP = 16
SHALLOW = 4
N_OTHERS = 4
"""Dialogues from which the replies are taken."""
FORWARD_BACKWARD = 4
"""FLOPs a parameter and token under LoRA: 2 forward, 2 for the gradients of activations."""


def main() -> None:
    """Run the comparison; ends with one JSON line."""
    options = _options()
    if options.side:
        print(json.dumps(_SIDES[options.side](options)))
        return
    rate = matmul_rate()
    found: dict[str, list[dict[str, Any]]] = {}

    def run(name: str, side: str, *arguments: str) -> None:
        found.setdefault(name, []).append(_child(options, side, *arguments))

    for _ in range(options.repeats):
        run("tree", "tree")
        run("flat", "flat")
        for turns in (SHALLOW, DEEP):
            run(f"tree, {turns} turns deep", "tree", "--turns", str(turns))
            run(f"flat, {turns} turns deep", "flat", "--turns", str(turns))
        run("dialogues", "dialogues")
        run("turns", "turns")
    run("trl", "trl")
    run("exact", "exact")
    exact = found.pop("exact")[0]
    unit = {
        name: statistics.median(r["seconds"] / r["n"] for r in runs) for name, runs in found.items()
    }
    rows = []
    for name, runs in found.items():
        first = runs[0]
        floor = first["tokens"] * first["parameters"] * FORWARD_BACKWARD / rate / first["n"]
        rows.append(
            [
                name,
                str(first["n"]),
                f"{first['tokens'] / first['n']:.0f}",
                f"{unit[name]:.2f}",
                f"{floor:.2f}",
                f"{max(r['peak_gb'] for r in runs):.1f}",
            ]
        )
    report(
        f"Training, {rate / 1e9:.0f} GFLOP/s in a matrix product",
        ["side", "pairs / dialogues", "tokens each", "s each", "floor, s each", "peak GB"],
        rows,
        {
            "ratio_vs_trl": round(unit["trl"] / unit["tree"], 2),
            "ratio_vs_flat": round(unit["flat"] / unit["tree"], 2),
            "growth_16_over_4": _growth(unit, "tree"),
            "flat_growth_16_over_4": _growth(unit, "flat"),
            "sft_ratio": round(unit["turns"] / unit["dialogues"], 2),
            "max_logp_diff_per_token": exact["max_logp_diff_per_token"],
            "relative_gradient_diff": exact["relative_gradient_diff"],
        },
    )


def _growth(unit: dict[str, float], side: str) -> float:
    deep, shallow = unit[f"{side}, {DEEP} turns deep"], unit[f"{side}, {SHALLOW} turns deep"]
    return round(deep / shallow, 2)


def _child(options: argparse.Namespace, side: str, *arguments: str) -> dict[str, Any]:
    data = ["--data", str(options.data)] if options.data else []
    common = ["--side", side, "--dialogues", str(options.dialogues), "--seed", str(options.seed)]
    return in_child("perf.train", *data, *common, *arguments)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="folder with ESConv's files")
    parser.add_argument("--dialogues", type=int, default=2)
    parser.add_argument("--turns", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--side", choices=[*_SIDES], help=argparse.SUPPRESS)
    return parser.parse_args()


def _rows(options: argparse.Namespace) -> list[dict[str, Any]]:
    min_turns = DEEP if options.turns else MIN_TURNS
    n = 1 if options.turns else options.dialogues
    drawn = long_dialogues(options.data, n + N_OTHERS, min_turns=min_turns, seed=options.seed)
    dialogues, others = drawn[:n], drawn[n:]
    if options.turns:  # the same sixteen turns, deep or cut into shallow dialogues
        dialogues = [s for d in dialogues for s in segments(segments(d, DEEP)[0], options.turns)]
    return preference_rows(dialogues, others, seed=options.seed)


def _model(adapter: bool = True) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from selfevo.embedded import embedded_model_path

    model = AutoModelForCausalLM.from_pretrained(embedded_model_path(), dtype=torch.float32)
    if not adapter:
        return model
    torch.manual_seed(0)
    wrapped = get_peft_model(model, LoraConfig(**_LORA))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:  # at zero, half of the gradient would be too
            torch.nn.init.normal_(parameter, std=0.02)
    return wrapped


_LORA: dict[str, Any] = {
    "r": 16,
    "lora_alpha": 32,
    "target_modules": "all-linear",
    "task_type": "CAUSAL_LM",
}


def _tokenizer() -> Any:
    from selfevo.embedded import embedded_model_path
    from selfevo.training import load_tokenizer

    return load_tokenizer(embedded_model_path())


def _dpo_arguments(folder: str, **changes: Any) -> Any:
    from trl import DPOConfig

    defaults = {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": False,
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "num_train_epochs": 1,
    }
    return DPOConfig(**{**defaults, **changes})


_OURS: dict[str, Any] = {"gradient_checkpointing": None, "activation_checkpointing": False}


def _dpo(
    trainer_class: Any, model: Any, rows: list[dict[str, Any]], folder: str, **changes: Any
) -> Any:
    import datasets

    own = {name: changes.pop(name) for name in ("token_budget", "peft_config") if name in changes}
    return trainer_class(
        model=model,
        args=_dpo_arguments(folder, **changes),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=_tokenizer(),
        **own,
    )


def _timed(trainer: Any, *steps: Callable[[], Any]) -> float:
    start = time.perf_counter()
    for step in steps:
        step()
    return time.perf_counter() - start


def _pair_tokens(trainer: Any) -> int:
    return sum(
        2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
        for row in trainer.train_dataset
    )


def _result(seconds: float, n: int, tokens: int, trainer: Any) -> dict[str, Any]:
    parameters = sum(p.numel() for p in trainer.model.parameters())
    return {
        "seconds": seconds,
        "n": n,
        "tokens": tokens,
        "parameters": parameters,
        "peak_gb": round(peak_memory(), 2),
    }


def _trl(options: argparse.Namespace) -> dict[str, Any]:
    from peft import LoraConfig
    from trl import DPOTrainer

    rows = _rows(options)
    with tempfile.TemporaryDirectory() as folder:
        lora = LoraConfig(**_LORA)
        trainer = _dpo(DPOTrainer, _model(adapter=False), rows, folder, peft_config=lora)
        seconds = _timed(trainer, trainer.train)
        return _result(seconds, len(rows), _pair_tokens(trainer), trainer)


def _flat(options: argparse.Namespace) -> dict[str, Any]:
    from trl import DPOTrainer

    from selfevo.compact_head import trained_positions_only

    rows = sorted(_rows(options), key=lambda row: sum(len(m["content"]) for m in row["prompt"]))
    with tempfile.TemporaryDirectory() as folder, trained_positions_only():
        changes = {
            **_OURS,
            "per_device_train_batch_size": 2,
            "train_sampling_strategy": "sequential",
        }
        trainer = _dpo(DPOTrainer, _model(), rows, folder, **changes)
        seconds = _timed(trainer, lambda: _flat_reference(trainer), trainer.train)
        return _result(seconds, len(rows), _pair_tokens(trainer), trainer)


def _flat_reference(trainer: Any) -> None:
    """As `precompute_reference` of the tree, over TRL's own batches."""
    import datasets

    columns: dict[str, list[float]] = {"ref_chosen_logps": [], "ref_rejected_logps": []}
    size = trainer.args.per_device_train_batch_size
    data = trainer.train_dataset
    for start in range(0, len(data), size):
        batch = trainer.data_collator([data[i] for i in range(start, min(start + size, len(data)))])
        found = trainer.compute_ref_log_probs(trainer.model, batch)
        for name, logps in zip(columns, found, strict=True):
            columns[name] += logps.tolist()
    trainer.train_dataset = datasets.concatenate_datasets(
        [data, datasets.Dataset.from_dict(columns)], axis=1
    )
    trainer.precompute_ref_logps = True


def _tree(options: argparse.Namespace) -> dict[str, Any]:
    from selfevo.compact_head import trained_positions_only
    from selfevo.tree_batches import n_distinct
    from selfevo.tree_dpo import TreeDPOTrainer

    rows = _rows(options)
    with tempfile.TemporaryDirectory() as folder, trained_positions_only():
        changes = {**_OURS, "token_budget": options.token_budget}
        trainer = _dpo(TreeDPOTrainer, _model(), rows, folder, **changes)
        seconds = _timed(trainer, trainer.precompute_reference, trainer.train)
        pairs = trainer.tree_pairs()
        tokens = sum(n_distinct([pairs[i] for i in b]) for b in trainer.tree_batches.batches)
        return _result(seconds, len(rows), tokens, trainer)


def _exact(options: argparse.Namespace) -> dict[str, Any]:
    """Per-token log-probabilities and gradients of both paths on one batch."""
    from trl import DPOTrainer

    from selfevo.tree_dpo import TreeDPOTrainer

    rows = _rows(options)
    with tempfile.TemporaryDirectory() as folder:
        flat = _dpo(DPOTrainer, _model(), rows, folder, **_OURS)
        own = {**_OURS, "token_budget": 100_000, "per_device_train_batch_size": len(rows)}
        tree = _dpo(TreeDPOTrainer, _model(), rows, folder, **own)
    [order] = tree.tree_batches.batches
    difference, gradients = 0.0, []
    for trainer, step in ((flat, 2), (tree, len(order))):
        logps = []
        trainer.model.train()
        for start in range(0, len(order), step):
            batch = trainer.data_collator(
                [flat.train_dataset[i] for i in order[start : start + step]]
            )
            labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
            inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
            found = trainer.model(**inputs, labels=labels, fused_lm_head=True, use_cache=False)
            found.log_probs.sum().backward()
            logps.append(found.log_probs.detach())
        gradients.append(
            torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        )
        trainer.logps = logps
    width = max(part.shape[1] for part in [*flat.logps, *tree.logps])
    whole = []
    for trainer in (flat, tree):
        halves = [part.chunk(2) for part in trainer.logps]
        padded = [
            torch.nn.functional.pad(half[side], (0, width - half[side].shape[1]))
            for side in (0, 1)
            for half in halves
        ]
        whole.append(torch.cat(padded))
    difference = float((whole[0] - whole[1]).abs().max())
    relative = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    return {"max_logp_diff_per_token": difference, "relative_gradient_diff": relative}


def _sft_trainer(rows: list[dict[str, Any]], folder: str, **changes: Any) -> Any:
    import datasets
    from trl import SFTConfig, SFTTrainer

    shared = {
        "output_dir": folder,
        "use_cpu": True,
        "bf16": False,
        "max_length": None,
        "report_to": "none",
        "disable_tqdm": True,
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "num_train_epochs": 1,
    }
    return SFTTrainer(
        model=_model(),
        args=SFTConfig(**{**shared, **changes}),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=_tokenizer(),
    )


def _sft_dialogues(options: argparse.Namespace) -> Any:
    return long_dialogues(options.data, 2 * options.dialogues, seed=options.seed)


def _turns(options: argparse.Namespace) -> dict[str, Any]:
    """TRL with its CPU defaults, one example a supporter turn."""
    dialogues = _sft_dialogues(options)
    rows = [
        {"prompt": messages(d, i), "completion": messages(d, i + 1)[-1:]}
        for d in dialogues
        for i, turn in enumerate(d.turns)
        if turn.speaker == "supporter"
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = _sft_trainer(rows, folder)
        seconds = _timed(trainer, trainer.train)
        tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
        return _result(seconds, len(dialogues), tokens, trainer)


def _dialogues(options: argparse.Namespace) -> dict[str, Any]:
    """This project's phase 1: whole dialogues, packed."""
    from selfevo.compact_head import trained_positions_only
    from selfevo.forest_reading import read_as_forest
    from selfevo.sft import dialogue_messages

    dialogues = _sft_dialogues(options)
    rows = [{"messages": dialogue_messages(d, None)} for d in dialogues]
    with tempfile.TemporaryDirectory() as folder, trained_positions_only():
        changes = {**_OURS, "assistant_only_loss": True, "per_device_train_batch_size": 4}
        trainer = _sft_trainer(rows, folder, **changes)
        read_as_forest(trainer.model)
        seconds = _timed(trainer, trainer.train)
        tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
        return _result(seconds, len(dialogues), tokens, trainer)


_SIDES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "trl": _trl,
    "flat": _flat,
    "tree": _tree,
    "exact": _exact,
    "turns": _turns,
    "dialogues": _dialogues,
}


if __name__ == "__main__":
    main()
