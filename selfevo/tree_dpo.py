"""TRL's `DPOTrainer` over dialogue trees: the same losses and metrics, each trunk read once.

Two seams, both of them public: the batches (`get_train_dataloader`) and the model's forward
(`forest_reading.py`). The reference's log-probabilities are computed once, in the same batches,
before the first update, and stand as columns in the training set from then on.
"""

from typing import Any

import datasets
import torch
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import DPOTrainer

from selfevo.forest_reading import read_as_forest
from selfevo.tree_batches import PairTokens, TreeBatches

DIALOGUE = "dialogue"
"""Column that says which rows are of one dialogue."""


class TreeDPOTrainer(DPOTrainer):  # type: ignore[misc]
    """A `DPOTrainer` whose batches are whole dialogues; rows have a column `dialogue`."""

    def __init__(self, *, token_budget: int, **arguments: Any) -> None:
        """As `DPOTrainer`; `token_budget` bounds the distinct tokens of a batch.

        `per_device_train_batch_size` is the number of pairs after which a batch takes no further
        dialogue. The model must be one that `forest_reading.why_not` has nothing against.
        """
        super().__init__(**arguments)
        read_as_forest(self.model)
        if self.ref_model is not None:
            read_as_forest(self.ref_model)
        self.tree_batches = TreeBatches(
            self.tree_pairs(),
            batch_size=self.args.per_device_train_batch_size,
            token_budget=token_budget,
            seed=self.args.data_seed if self.args.data_seed is not None else self.args.seed,
            n_processes=self.accelerator.num_processes,
        )

        self.add_callback(_NextOrder(self.tree_batches))

    def tree_pairs(self) -> list[PairTokens]:
        """The training set, as the batches are made from it."""
        data: Any = self.train_dataset
        return [
            PairTokens(row[DIALOGUE], row["prompt_ids"], row["chosen_ids"], row["rejected_ids"])
            for row in data
        ]

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of whole dialogues."""
        loader: DataLoader[Any] = DataLoader(
            self._remove_unused_columns(self.train_dataset, description="Training"),
            batch_sampler=self.tree_batches,
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def precompute_reference(self) -> None:
        """Compute the reference's log-probabilities, once, for all epochs.

        To be called before the first update, when the reference (the adapter `ref`, a reference
        model, or the model itself) is what it should be.
        """
        self.model.to(self.args.device).eval()
        data: Any = self.train_dataset
        chosen, rejected = torch.zeros(len(data)), torch.zeros(len(data))
        for rows in self.tree_batches.batches:
            examples = [data[row] for row in rows]
            batch = {k: v.to(self.args.device) for k, v in self.data_collator(examples).items()}
            found = self.compute_ref_log_probs(self.ref_model or self.model, batch)
            chosen[rows], rejected[rows] = (logps.float().cpu() for logps in found)
        columns = {"ref_chosen_logps": chosen.tolist(), "ref_rejected_logps": rejected.tolist()}
        self.train_dataset: Any = datasets.concatenate_datasets(
            [data, datasets.Dataset.from_dict(columns)], axis=1
        )
        self.precompute_ref_logps = True


class _NextOrder(TrainerCallback):  # type: ignore[misc]
    """Tells the batches which epoch it is, also behind the wrappers of several processes."""

    def __init__(self, batches: TreeBatches) -> None:
        self._batches = batches

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._batches.set_epoch(int(state.epoch or 0))
