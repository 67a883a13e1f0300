"""Phase 1: LoRA fine-tuning on whole support dialogues, plus instruction replay, gives M0.

Every supporter turn of a dialogue is trained in one pass; the person's turns and the task prompt
are only read (`chat_template.Rendering`). The dialogues of a batch are packed, without padding.
Dialogues that are too long lose whole messages at their end, never half a message.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import transformers
from peft import LoraConfig
from peft.tuners.tuners_utils import check_target_module_exists
from torch import nn
from trl import SFTConfig, SFTTrainer

from benchmarks.dialogues import Dialogue
from benchmarks.instructions import Instruction
from selfevo.chat_template import Rendering
from selfevo.compact_head import trained_positions_only
from selfevo.config import RunConfig
from selfevo.errors import UsageError
from selfevo.forest_reading import can_read_forests, read_as_forest
from selfevo.quiet import quiet_libraries
from selfevo.tokens import ChatDict, plain
from selfevo.training import (
    Fit,
    TrainingRecord,
    finish,
    is_finished,
    load_base,
    load_tokenizer,
    require_some,
    run_trainer,
    trainer_arguments,
)

ALL_LINEAR = "all-linear"


def train_sft(
    base: Path,
    dialogues: Sequence[Dialogue],
    replay: Sequence[Instruction],
    config: RunConfig,
    work: Path,
) -> None:
    """Train M0's adapter into the folder `work`; continues what a killed run left there.

    Raises:
        UsageError: no dialogue fits `sft.max_length`, or LoRA names layers that are not there.
        RunError: the training diverged.
    """
    work.mkdir(parents=True, exist_ok=True)
    if is_finished(work):
        return
    tokenizer = load_tokenizer(base)
    fit = sft_rows(tokenizer, dialogues, replay, config)
    require_some(fit, "sft.max_length")
    rendering = Rendering.of(tokenizer)
    rows = [rendering.supervised(row["messages"])._asdict() for row in fit.rows]
    transformers.set_seed(config.seed)  # the adapter's random start
    with quiet_libraries(), trained_positions_only():
        model = load_base(base, config)
        lora = _lora(config)
        require_modules(model, lora)
        trainer = SFTTrainer(
            model=model,
            args=_arguments(config, work, model),
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=lora,
        )
        if can_read_forests(trainer.model):
            read_as_forest(trainer.model)
        curve = run_trainer(trainer, work, "phase 1")
    record = TrainingRecord(
        phase="sft",
        n_examples=len(fit.rows),
        n_dropped=fit.n_dropped,
        n_shortened=fit.n_shortened,
        steps=trainer.state.global_step,
        curve=curve,
    )
    finish(trainer, work, record)


def sft_rows(
    tokenizer: Any,
    dialogues: Sequence[Dialogue],
    replay: Sequence[Instruction],
    config: RunConfig,
) -> Fit:
    """Dialogues and instructions as `messages` rows of at most `max_length` tokens."""
    conversations = [dialogue_messages(d, config.data.task_prompt) for d in dialogues]
    conversations += [instruction_messages(item) for item in replay]
    rendering = Rendering.of(tokenizer)
    rows, n_dropped, n_shortened = [], 0, 0
    for messages in conversations:
        kept = fit_conversation(rendering, messages, config.sft.max_length)
        n_dropped += not kept
        n_shortened += 0 < len(kept) < len(messages)
        if kept:
            rows.append({"messages": plain(tokenizer, kept)})
    return Fit(rows, n_dropped, n_shortened)


def dialogue_messages(dialogue: Dialogue, task_prompt: str | None) -> list[ChatDict]:
    """The dialogue up to its last supporter turn; seeker = user, supporter = assistant."""
    role = {"seeker": "user", "supporter": "assistant"}
    messages = [{"role": role[turn.speaker], "content": turn.text} for turn in dialogue.turns]
    while messages and messages[-1]["role"] == "user":
        messages.pop()
    system = [{"role": "system", "content": task_prompt}] if task_prompt else []
    return system + messages


def instruction_messages(item: Instruction) -> list[ChatDict]:
    """An instruction and its answer as a conversation of two messages."""
    return [
        {"role": "user", "content": item.prompt()},
        {"role": "assistant", "content": item.output},
    ]


def fit_conversation(
    rendering: Rendering, messages: Sequence[ChatDict], max_length: int
) -> list[ChatDict]:
    """The longest beginning that fits and ends with an assistant message; may be empty."""
    kept = list(messages)
    while kept and (kept[-1]["role"] != "assistant" or rendering.n_tokens(kept) > max_length):
        kept.pop()
    return kept


def require_modules(model: Any, lora: LoraConfig) -> None:
    """Refuse a layer that the model does not have; PEFT does so only where no name matches.

    Raises:
        UsageError: which name matches nothing, and what there is.
    """
    if lora.target_modules == ALL_LINEAR:
        return
    wanted = lora.target_modules
    layers = dict(model.named_modules())
    for name in [wanted] if isinstance(wanted, str) else sorted(wanted):
        one = LoraConfig(target_modules=name if isinstance(wanted, str) else [name])
        if not any(check_target_module_exists(one, layer) for layer in layers):
            linear = {n.rpartition(".")[2] for n, m in layers.items() if isinstance(m, nn.Linear)}
            raise UsageError(
                f"sft.lora.target_modules: the model has no layer '{name}'; its linear ones are "
                f"{', '.join(sorted(linear))}"
            )


def _arguments(config: RunConfig, work: Path, model: Any) -> SFTConfig:
    sft = config.sft
    shared = trainer_arguments(
        config,
        work,
        model,
        n_tokens=sft.batch_size * sft.max_length,
        save_steps=sft.save_steps,
        phase_seed=config.seed,
    )
    return SFTConfig(
        **shared,
        num_train_epochs=sft.epochs,
        learning_rate=sft.learning_rate,
        per_device_train_batch_size=sft.batch_size,
        gradient_accumulation_steps=sft.accumulate,
        max_length=sft.max_length,
    )


def _lora(config: RunConfig) -> LoraConfig:
    lora = config.sft.lora
    modules = lora.target_modules
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )
