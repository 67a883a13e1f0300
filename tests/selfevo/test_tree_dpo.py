"""TRL's trainer over trees gives what TRL's trainer gives."""

import logging

import pytest

torch = pytest.importorskip("torch", reason="needs the [train] extra")
trl = pytest.importorskip("trl", reason="needs the [train] extra")
peft = pytest.importorskip("peft", reason="needs the [train] extra")

import datasets  # noqa: E402
import transformers  # noqa: E402

from selfevo import dpo, forest_reading  # noqa: E402
from selfevo.compact_head import trained_positions_only  # noqa: E402
from selfevo.quiet import quiet_libraries  # noqa: E402
from selfevo.tree_dpo import DIALOGUE, TreeDPOTrainer  # noqa: E402

from .toy import toy_config, toy_pairs  # noqa: E402

N_PAIRS = 6


@pytest.fixture(scope="module")
def rows(finishing_model):
    """Two dialogues of three pairs, as the trainers are given them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(finishing_model)
    fit = dpo.dpo_rows(tokenizer, toy_pairs(N_PAIRS), toy_config(finishing_model))
    return tokenizer, fit.rows


def policy(base, *, lora=True, seed=1):
    """The tiny model, with an adapter that changes it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if lora:
            adapter = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
            model = peft.get_peft_model(model, adapter)
            for name, weight in model.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(weight, std=0.05)
    return model


def move_policy(trainer):
    """Away from its reference, so that no term of a loss is at its start."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        for weight in trainer.model.parameters():
            if weight.requires_grad:
                weight += 0.02 * torch.randn_like(weight)


def make_trainer(made, base, rows, folder, *, model=None, ref_model=None, **arguments):
    tokenizer, content = rows
    options = {
        "loss_type": ["sigmoid"],
        "per_device_train_batch_size": N_PAIRS,
        "max_length": 128,
        "learning_rate": 1e-2,
        "seed": 5,
        "data_seed": 5,
        "use_cpu": True,
        "bf16": False,
        "activation_checkpointing": False,
        "gradient_checkpointing": None,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "accelerator_config": {"even_batches": made is not TreeDPOTrainer},
        **arguments,
    }
    own = {"token_budget": 4096} if made is TreeDPOTrainer else {}
    trainer = made(
        model=model or policy(base),
        ref_model=ref_model,
        args=trl.DPOConfig(output_dir=str(folder), **options),
        train_dataset=datasets.Dataset.from_list(content),
        processing_class=tokenizer,
        **own,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def step(trainer, *, precomputes=False):
    """The loss of the whole training set, all metrics, and the gradients."""
    if precomputes:
        trainer.precompute_reference()
    move_policy(trainer)
    examples = [trainer.train_dataset[i] for i in range(N_PAIRS)]
    trainer.model.train()
    trainer.model.zero_grad()
    with trained_positions_only():
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(examples))
    loss.backward()
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    grads = {n: w.grad for n, w in trainer.model.named_parameters() if w.grad is not None}
    return loss.item(), metrics, grads


def assert_same_step(found, truth):
    (loss, metrics, grads), (true_loss, true_metrics, true_grads) = found, truth
    assert loss == pytest.approx(true_loss, rel=1e-4)
    assert metrics == pytest.approx(true_metrics, rel=1e-4, abs=1e-5)
    assert {
        "entropy",
        "mean_token_accuracy",
        "rewards/chosen",
        "rewards/margins",
        "rewards/accuracies",
        "logps/chosen",
        "logps/rejected",
        "logits/chosen",
    } <= metrics.keys()
    assert grads.keys() == true_grads.keys()
    difference = torch.stack([(grads[n] - g).norm() for n, g in true_grads.items()]).norm()
    whole = torch.stack([g.norm() for g in true_grads.values()]).norm()
    assert whole > 0
    assert float(difference / whole) < 1e-4


LOSSES = [
    {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.2]},
    *({"loss_type": [name]} for name in ("hinge", "ipo", "nca_pair", "bco_pair", "sppo_hard")),
    *({"loss_type": [name]} for name in ("apo_zero", "apo_down", "discopop", "sigmoid_norm")),
    *({"loss_type": [name]} for name in ("aot", "aot_unpaired")),
    *({"loss_type": [name], "label_smoothing": 0.1} for name in ("robust", "exo_pair")),
    {"ld_alpha": 0.4},
    {"use_weighting": True},
]
OFTEN = (LOSSES[0], {"loss_type": ["ipo"]}, {"ld_alpha": 0.4})
"""Checked in the default suite; the others are slow together."""


@pytest.fixture
def quiet():
    with quiet_libraries():
        yield


@pytest.fixture(scope="module")
def trainers(finishing_model, rows, tmp_path_factory):
    """Both trainers, made once: the losses of the tests below are set on them."""
    folder = tmp_path_factory.mktemp("trainers")
    with quiet_libraries():
        made = [
            make_trainer(kind, finishing_model, rows, folder / kind.__name__, use_weighting=True)
            for kind in (TreeDPOTrainer, trl.DPOTrainer)
        ]
        for trainer in made:
            move_policy(trainer)
    return made


def set_loss(trainer, options):
    trainer.loss_types = options.get("loss_type", ["sigmoid"])
    trainer.loss_weights = options.get("loss_weights", [1.0])
    trainer.label_smoothing = options.get("label_smoothing", 0.0)
    trainer.ld_alpha = options.get("ld_alpha")
    trainer.use_weighting = options.get("use_weighting", False)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, marks=[] if options in OFTEN else pytest.mark.slow)
        for options in LOSSES
    ],
    ids=str,
)
def test_every_loss_and_metric_is_that_of_trl(trainers, options):
    found = []
    for trainer in trainers:
        set_loss(trainer, options)
        trainer._metrics["train"].clear()
        trainer._total_train_tokens = 0
        examples = [trainer.train_dataset[i] for i in range(N_PAIRS)]
        trainer.model.train()
        trainer.model.zero_grad()
        with trained_positions_only():
            loss = trainer.compute_loss(trainer.model, trainer.data_collator(examples))
        loss.backward()
        metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
        grads = {n: w.grad for n, w in trainer.model.named_parameters() if w.grad is not None}
        found.append((loss.item(), metrics, grads))
    assert_same_step(*found)


@pytest.mark.usefixtures("quiet")
def test_a_precomputed_reference_is_the_online_one(finishing_model, rows, tmp_path):
    online, before = (
        step(
            make_trainer(TreeDPOTrainer, finishing_model, rows, tmp_path / str(i)),
            precomputes=i == 1,
        )
        for i in range(2)
    )
    assert_same_step(before, online)


@pytest.mark.usefixtures("quiet")
def test_full_fine_tuning_with_a_reference_model(finishing_model, rows, tmp_path):
    found = [
        step(
            make_trainer(
                kind,
                finishing_model,
                rows,
                tmp_path / kind.__name__,
                model=policy(finishing_model, lora=False),
                ref_model=policy(finishing_model, lora=False),
            ),
            precomputes=precomputes,
        )
        for kind, precomputes in (
            (TreeDPOTrainer, False),
            (TreeDPOTrainer, True),
            (trl.DPOTrainer, False),
        )
    ]
    assert_same_step(found[0], found[2])
    assert_same_step(found[1], found[2])


def adapter(trainer):
    return {
        name: weight.detach().clone()
        for name, weight in trainer.model.named_parameters()
        if ".default." in name
    }


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_the_same_steps_lead_to_the_same_adapter(finishing_model, rows, tmp_path):
    """Batches that hold the same pairs: all of them."""
    ends = []
    for kind in (TreeDPOTrainer, trl.DPOTrainer):
        folder = tmp_path / kind.__name__
        trainer = make_trainer(kind, finishing_model, rows, folder, num_train_epochs=3, optim="sgd")
        start = adapter(trainer)
        with trained_positions_only():
            trainer.train()
        assert trainer.state.global_step == 3
        ends.append(adapter(trainer))
    assert ends[0].keys() == ends[1].keys()
    moved = max(float((ends[0][name] - start[name]).abs().max()) for name in start)
    assert moved > 1e-3
    for name, weight in ends[1].items():
        assert float((ends[0][name] - weight).norm()) <= 1e-4 * float(weight.norm()), name


@pytest.mark.usefixtures("quiet")
def test_a_resumed_training_ends_with_the_same_bytes(finishing_model, rows, tmp_path):
    """From the middle of the second epoch, with two batches an update."""
    options = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "save_strategy": "steps",
        "save_steps": 1,
    }

    def trained(resumed_from=None):
        trainer = make_trainer(TreeDPOTrainer, finishing_model, rows, tmp_path / "a", **options)
        assert len(trainer.tree_batches) == len({row[DIALOGUE] for row in rows[1]}) == 3
        trainer.precompute_reference()
        with trained_positions_only():
            trainer.train(resume_from_checkpoint=resumed_from)
        assert trainer.state.global_step == 4
        return adapter(trainer)

    whole = trained()
    resumed = trained(str(tmp_path / "a" / "checkpoint-3"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.usefixtures("quiet")
def test_a_model_that_slides_is_trained_in_rows_and_says_so_once(
    finishing_model, rows, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(forest_reading, "_SAID", set())
    settings = transformers.AutoConfig.from_pretrained(finishing_model).to_dict()
    settings = {k: v for k, v in settings.items() if k not in ("model_type", "architectures")}
    config = transformers.MistralConfig(**settings | {"sliding_window": 8})
    config.save_pretrained(tmp_path / "sliding")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.MistralForCausalLM(config).save_pretrained(tmp_path / "sliding")
    tokenizer, content = rows
    with caplog.at_level(logging.WARNING, logger="selfevo"):
        for round_number in (1, 2):
            model = policy(tmp_path / "sliding")
            trainer = dpo._trainer(
                model,
                tokenizer,
                content,
                toy_config(finishing_model),
                tmp_path / f"round-{round_number}",
                round_number,
            )
            assert not isinstance(trainer, TreeDPOTrainer)
    assert [m for m in caplog.messages if "each sequence" in m] == [
        "each sequence is computed by itself, which is slower: "
        "mistral attends within a sliding window of 8"
    ]
