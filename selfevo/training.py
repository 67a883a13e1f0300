"""What both training phases share: loading, resuming, progress, and what is left on disk.

TRL and PEFT train. A phase works in a folder that survives a kill: the trainer's own checkpoints
under `trainer/`, each marked whole once it is on disk. When the phase is done the folder holds the
adapter and `training.json` (written last, so its presence says that the adapter is whole), nothing
else.
"""

import json
import math
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from pydantic import BaseModel, ConfigDict
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from selfevo.checkpoint import base_of, is_adapter
from selfevo.config import RunConfig
from selfevo.errors import RunError, UsageError
from selfevo.progress import progress
from selfevo.provider import release_engines
from selfevo.run import to_json
from selfevo.vllm_server import release_servers

WHOLE = "whole"
"""Marker file: this trainer checkpoint was written to its end."""

ACTIVATIONS_SHARE = 0.7
"""Of the memory that the weights leave free; the rest is for the head's logits, and gaps."""

RECORD = "training.json"
TRAINER = "trainer"
RESTARTS_WITH_THE_PROCESS = ("num_tokens",)
"""Numbers that the trainer counts from 0 again when it resumes: they would differ after a kill."""


class TrainingRecord(BaseModel):
    """What a phase trained on, and how it went."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    phase: str
    n_examples: int
    n_dropped: int
    """Examples left out because not even one exchange of them fits."""
    n_shortened: int
    """Examples that lost whole messages to fit."""
    steps: int
    curve: tuple[dict[str, float], ...]
    """The trainer's log, a row a step, without what depends on the machine or on resuming."""
    first_sigmoid_loss: float | None = None
    """DPO's sigmoid loss before the first update: ln 2 when the reference is the policy."""


class Fit(NamedTuple):
    """Training examples that fit, and what fitting cost."""

    rows: list[dict[str, Any]]
    n_dropped: int
    n_shortened: int


def require_some(fit: Fit, key: str) -> None:
    """Refuse to train on nothing.

    Raises:
        UsageError: not one example fits the length limit `key`.
    """
    if not fit.rows:
        raise UsageError(f"{key}: none of {fit.n_dropped} training examples fits; raise it")


def training_dtype(config: RunConfig) -> torch.dtype:
    """Of the weights: as configured, else float32 on a CPU and bfloat16 on a GPU."""
    name = config.model.dtype or ("bfloat16" if torch.cuda.is_available() else "float32")
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def load_base(path: Path, config: RunConfig) -> Any:
    """The base model's weights, for training; the models that were answering make room first."""
    release_engines()
    release_servers()
    base = base_of(path) if is_adapter(path) else path
    return AutoModelForCausalLM.from_pretrained(base, dtype=training_dtype(config))


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The tokenizer, with its chat template and a padding token."""
    base = base_of(path) if is_adapter(path) else path
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def activation_bytes(model: Any, n_tokens: int) -> int:
    """Memory for what backward needs of a batch of `n_tokens`, without checkpointing.

    A layer keeps about eight values of the hidden width (norms, attention's four, residuals) and
    four of the inner width (gate, its activation, up, their product) a token; attention keeps no
    matrix. In the manner of Korthikanti et al. (arXiv 2205.05198, section 4.1).
    """
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    values = config.num_hidden_layers * (8 * config.hidden_size + 4 * inner)
    return int(n_tokens * values * model.dtype.itemsize)


def needs_checkpointing(model: Any, n_tokens: int, free_bytes: int) -> bool:
    """Whether a batch must forget its activations and compute them twice to fit beside the model.

    Args:
        model: Not yet on the card.
        n_tokens: The most tokens of a batch.
        free_bytes: Of the card.
    """
    weights = model.num_parameters() * model.dtype.itemsize
    return bool(activation_bytes(model, n_tokens) > ACTIVATIONS_SHARE * (free_bytes - weights))


def trainer_arguments(
    config: RunConfig, work: Path, model: Any, *, n_tokens: int, save_steps: int, phase_seed: int
) -> dict[str, Any]:
    """Arguments that both phases give to TRL: saving, logging, precision, determinism.

    Args:
        config: The recipe.
        work: The phase's folder.
        model: What is trained.
        n_tokens: The most tokens of a batch.
        save_steps: Steps between the trainer's checkpoints.
        phase_seed: Of the order of batches.
    """
    on_gpu = torch.cuda.is_available()
    return {
        "output_dir": str(work / TRAINER),
        "seed": phase_seed,
        "data_seed": phase_seed,
        "use_cpu": not on_gpu,
        "bf16": training_dtype(config) == torch.bfloat16,
        "activation_checkpointing": on_gpu
        and needs_checkpointing(model, n_tokens, torch.cuda.mem_get_info()[0]),
        "gradient_checkpointing": None,  # the line above's old name; TRL's default is True
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": save_steps,
        "save_total_limit": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": on_gpu,
        "optim": "adamw_torch",
    }


def run_trainer(trainer: Any, work: Path, title: str) -> tuple[dict[str, float], ...]:
    """Train to the end, from the last whole checkpoint if there is one; returns the log.

    Raises:
        RunError: the training diverged.
    """
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(_MarkWhole())
    total = trainer.args.max_steps if trainer.args.max_steps > 0 else _steps(trainer)
    with progress(title, total) as advance:
        trainer.add_callback(_Advance(advance))
        trainer.train(resume_from_checkpoint=last_whole_checkpoint(work / TRAINER))
    curve = tuple(_numbers(row) for row in trainer.state.log_history if "loss" in row)
    _require_finite(curve, title)
    return curve


def finish(trainer: Any, work: Path, record: TrainingRecord) -> None:
    """Leave the adapter and the record in `work`, and nothing of the trainer."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    model.save_pretrained(work, selected_adapters=["default"])
    (work / "README.md").unlink(missing_ok=True)  # PEFT's model card: a template without content
    _sync_files(path for path in work.iterdir() if path.is_file())
    partial = work / f"{RECORD}.partial"
    partial.write_text(to_json(record), encoding="utf-8")
    partial.replace(work / RECORD)
    _drop_trainer(work)


def is_finished(work: Path) -> bool:
    """Whether the phase ended in `work`, perhaps killed while it cleaned up; then cleans up."""
    if not (work / RECORD).exists():
        return False
    _drop_trainer(work)
    return True


def _drop_trainer(work: Path) -> None:
    shutil.rmtree(work / TRAINER, ignore_errors=True)


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest trainer checkpoint that was written to its end; the others are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    for broken in [p for p in found if not (p / WHOLE).exists()]:
        shutil.rmtree(broken)
    whole = [p for p in found if (p / WHOLE).exists()]
    return str(whole[-1]) if whole else None


class _MarkWhole(TrainerCallback):  # type: ignore[misc]
    """Marks each trainer checkpoint once all of it is on disk."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        _sync_files(path for path in folder.rglob("*") if path.is_file())
        (folder / WHOLE).touch()


class _Advance(TrainerCallback):  # type: ignore[misc]
    """Moves the progress bar."""

    def __init__(self, advance: Any) -> None:
        self._advance = advance
        self._seen = 0

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._advance(state.global_step - self._seen)
        self._seen = state.global_step


def _steps(trainer: Any) -> int:
    trees = getattr(trainer, "tree_batches", None)
    batches: int = (
        -(-len(trainer.train_dataset) // trainer.args.per_device_train_batch_size)
        if trees is None
        else len(trees)
    )
    per_epoch: int = max(1, -(-batches // trainer.args.gradient_accumulation_steps))
    return math.ceil(int(per_epoch) * float(trainer.args.num_train_epochs))


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in sorted(row.items())  # a resumed trainer has them in another order
        if isinstance(value, int | float)
        and "time" not in name
        and name not in RESTARTS_WITH_THE_PROCESS
    }


def _require_finite(curve: Sequence[dict[str, float]], title: str) -> None:
    """A gradient that is no number leaves an adapter that is none; the logged loss hides it."""
    for row in curve:
        if not math.isfinite(row["loss"]) or not math.isfinite(row.get("grad_norm", 0.0)):
            raise RunError(
                f"{title}: diverged at step {row['step']:.0f} (loss {row['loss']}, gradient norm "
                f"{row.get('grad_norm')}); start a new run with a lower learning_rate"
            )


def _sync_files(paths: Iterable[Path]) -> None:
    for path in paths:
        with path.open("rb") as handle:
            os.fsync(handle.fileno())


def read_training(checkpoint: Path) -> TrainingRecord:
    """The record inside a finished checkpoint folder."""
    return TrainingRecord.model_validate(json.loads((checkpoint / RECORD).read_text("utf-8")))
