"""Phase 2: DPO of M_t on (dialogue, refinement, draft) gives M_{t+1}.

One adapter is continued over all rounds. The reference policy is M_t (`previous`) or M0
(`initial`), a frozen second adapter on the same base. Before the first update the sigmoid loss must
be ln 2 when the reference is the policy; anything else means that the reference is not what we
think it is, and stops the round.

The pairs of one dialogue are computed as one tree (`tree_dpo.py`), with the same result as pair by
pair.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from peft import PeftModel, set_peft_model_state_dict
from safetensors.torch import load_file
from trl import DPOConfig, DPOTrainer

from selfevo.checkpoint import ADAPTER_WEIGHTS
from selfevo.compact_head import trained_positions_only
from selfevo.config import RunConfig
from selfevo.errors import RunError
from selfevo.forest_reading import can_read_forests
from selfevo.pairs import PreferencePair
from selfevo.quiet import quiet_libraries
from selfevo.tokens import ChatDict, Tokenizer, conversation_ids, plain
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
from selfevo.tree_dpo import DIALOGUE, TreeDPOTrainer

LN2_TOLERANCE = 1e-3


def train_dpo(
    policy: Path,
    initial: Path,
    pairs: Sequence[PreferencePair],
    config: RunConfig,
    work: Path,
    *,
    round_number: int,
) -> None:
    """Train adapter `policy` further on `pairs`, into `work`; goes on with what a killed run left.

    Raises:
        UsageError: no pair fits `dpo.max_length`.
        RunError: the reference is not the model it should be, or the training diverged.
    """
    work.mkdir(parents=True, exist_ok=True)
    if is_finished(work):
        return
    tokenizer = load_tokenizer(policy)
    fit = dpo_rows(tokenizer, pairs, config)
    require_some(fit, "dpo.max_length")
    with quiet_libraries(), trained_positions_only():
        model = PeftModel.from_pretrained(load_base(policy, config), str(policy), is_trainable=True)
        trainer = _trainer(model, tokenizer, fit.rows, config, work, round_number)
        if config.dpo.reference == "initial":
            _set_reference(trainer, initial)
        if isinstance(trainer, TreeDPOTrainer):
            trainer.precompute_reference()
        first_loss = first_sigmoid_loss(trainer)
        if config.dpo.reference == "previous" or policy == initial:
            _assert_ln2(first_loss)
        curve = run_trainer(trainer, work, f"round {round_number}: DPO")
    record = TrainingRecord(
        phase="dpo",
        n_examples=len(fit.rows),
        n_dropped=fit.n_dropped,
        n_shortened=fit.n_shortened,
        steps=trainer.state.global_step,
        curve=curve,
        first_sigmoid_loss=round(first_loss, 6),
    )
    finish(trainer, work, record)


def _trainer(
    model: Any,
    tokenizer: Any,
    rows: list[dict[str, Any]],
    config: RunConfig,
    work: Path,
    round_number: int,
) -> DPOTrainer:
    """TRL's trainer, over trees where the recipe wants them and the model can read them."""
    trees = config.dpo.tree and can_read_forests(model)
    arguments = {
        "model": model,
        "args": _arguments(config, work, model, round_number, trees=trees),
        "train_dataset": datasets.Dataset.from_list(rows),
        "processing_class": tokenizer,
    }
    if trees:
        return TreeDPOTrainer(token_budget=config.dpo.token_budget, **arguments)
    return DPOTrainer(**arguments)


def dpo_rows(tokenizer: Any, pairs: Sequence[PreferencePair], config: RunConfig) -> Fit:
    """Pairs as TRL's `prompt` / `chosen` / `rejected` rows that fit `max_length`.

    The prompt is the plain dialogue: principles and reflection never enter a pair. TRL drops long
    rows silently and cuts replies, so the history is shortened here, by whole messages, and what
    cannot fit is counted.
    """
    rows, n_dropped, n_shortened = [], 0, 0
    for pair in pairs:
        prompt = [{"role": m.role, "content": m.content} for m in pair.messages]
        kept = _fit_pair(tokenizer, prompt, pair, config)
        n_dropped += not kept
        n_shortened += 0 < len(kept) < len(prompt) + bool(config.data.task_prompt)
        if kept:
            rows.append(
                {
                    DIALOGUE: pair.dialogue_id,
                    "prompt": plain(tokenizer, kept),
                    "chosen": plain(tokenizer, [_as_assistant(pair.chosen)]),
                    "rejected": plain(tokenizer, [_as_assistant(pair.rejected)]),
                }
            )
    return Fit(rows, n_dropped, n_shortened)


def first_sigmoid_loss(trainer: Any) -> float:
    """DPO's sigmoid loss of the first batch before any update, whatever losses are configured."""
    # in the precision and company of the reference: in bfloat16 both show in the third digit
    first = (
        trainer.tree_batches.batches[0]
        if isinstance(trainer, TreeDPOTrainer)
        else range(min(4, len(trainer.train_dataset)))
    )
    rows = [trainer.train_dataset[i] for i in first]
    batch = {k: v.to(trainer.args.device) for k, v in trainer.data_collator(rows).items()}
    losses, weights = trainer.loss_types, trainer.loss_weights
    trainer.loss_types, trainer.loss_weights = ["sigmoid"], [1.0]
    trainer.model.to(trainer.args.device).eval()
    with torch.no_grad(), trainer.accelerator.autocast():
        loss = float(trainer.compute_loss(trainer.model, batch))
    trainer._metrics["eval"].clear()
    trainer.loss_types, trainer.loss_weights = losses, weights
    return loss


def _assert_ln2(loss: float) -> None:
    if abs(loss - math.log(2)) > LN2_TOLERANCE:
        raise RunError(
            f"DPO starts at a sigmoid loss of {loss:.4f} instead of ln 2 = {math.log(2):.4f}: "
            "the reference policy is not the model that is trained"
        )


def _set_reference(trainer: Any, initial: Path) -> None:
    """Put M0's adapter in the place of TRL's frozen copy of M_t.

    Raises:
        RunError: M0's adapter has other weights than M_t's: they are not of one run.
    """
    weights = load_file(initial / ADAPTER_WEIGHTS)
    loaded = set_peft_model_state_dict(trainer.model, weights, adapter_name="ref")
    missing = [name for name in loaded.missing_keys if ".ref." in name]
    if missing or loaded.unexpected_keys:
        odd = [*missing, *loaded.unexpected_keys][0]
        raise RunError(f"{initial}: not an earlier state of the adapter in training ({odd})")


def _fit_pair(
    tokenizer: Tokenizer, prompt: Sequence[ChatDict], pair: PreferencePair, config: RunConfig
) -> list[ChatDict]:
    system = (
        [{"role": "system", "content": config.data.task_prompt}] if config.data.task_prompt else []
    )
    longer = max(
        pair.chosen,
        pair.rejected,
        key=lambda reply: len(
            conversation_ids(tokenizer, [*system, *prompt, _as_assistant(reply)])
        ),
    )
    kept = list(prompt)
    while kept:
        whole = [*system, *kept, _as_assistant(longer)]
        if len(conversation_ids(tokenizer, whole)) <= config.dpo.max_length:
            return system + kept
        kept = kept[1:]
        while kept and kept[0]["role"] != "user":
            kept = kept[1:]
    return []


def _as_assistant(reply: str) -> ChatDict:
    return {"role": "assistant", "content": reply}


def _arguments(
    config: RunConfig, work: Path, model: Any, round_number: int, *, trees: bool
) -> DPOConfig:
    dpo = config.dpo
    flat = 2 * dpo.batch_size * dpo.max_length
    shared = trainer_arguments(
        config,
        work,
        model,
        n_tokens=max(dpo.token_budget, 2 * dpo.max_length) if trees else flat,
        save_steps=dpo.save_steps,
        phase_seed=config.seed + round_number,
    )
    return DPOConfig(
        **shared,
        # a batch is whole dialogues, and processes get as many batches as there are
        accelerator_config={"even_batches": not trees},
        num_train_epochs=dpo.epochs,
        learning_rate=dpo.learning_rate,
        per_device_train_batch_size=dpo.batch_size,
        gradient_accumulation_steps=dpo.accumulate,
        beta=dpo.beta,
        loss_type=list(dpo.loss),
        loss_weights=list(dpo.loss_weights),
        max_length=dpo.max_length,
    )
