import math

import pytest

from .conftest import DIALOGUES
from .toy import toy_config, toy_pairs

torch = pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("trl", reason="needs the [train] extra")

from safetensors.torch import load_file  # noqa: E402

from selfevo import dpo, sft, training  # noqa: E402

WEIGHTS = "adapter_model.safetensors"


def make_checkpoint(folder, step, *, whole):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    if whole:
        (path / training.WHOLE).touch()
    return path


def test_without_checkpoints_training_starts_anew(tmp_path):
    assert training.last_whole_checkpoint(tmp_path / "absent") is None


def test_the_newest_whole_checkpoint_is_continued_and_broken_ones_go(tmp_path):
    make_checkpoint(tmp_path, 9, whole=True)
    last = make_checkpoint(tmp_path, 10, whole=True)
    make_checkpoint(tmp_path, 8, whole=False)
    make_checkpoint(tmp_path, 11, whole=False)
    assert training.last_whole_checkpoint(tmp_path) == str(last)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def test_only_broken_checkpoints_are_as_good_as_none(tmp_path):
    make_checkpoint(tmp_path, 3, whole=False)
    assert training.last_whole_checkpoint(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_a_phase_is_finished_only_with_its_whole_record(tmp_path):
    make_checkpoint(tmp_path / "trainer", 3, whole=True)
    (tmp_path / "training.json.partial").write_text("{", encoding="utf-8")
    assert not training.is_finished(tmp_path)
    assert (tmp_path / "trainer" / "checkpoint-3").exists()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(None, torch.float32), ("float64", torch.float64), ("bfloat16", torch.bfloat16)],
)
def test_trains_in_the_configured_dtype(finishing_model, monkeypatch, name, dtype):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = toy_config(finishing_model, model={"dtype": name})
    assert training.training_dtype(config) is dtype
    assert training.load_base(finishing_model, config).dtype is dtype


def test_trains_in_bfloat16_on_a_gpu_unless_told_otherwise(finishing_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training.training_dtype(toy_config(finishing_model)) is torch.bfloat16
    config = toy_config(finishing_model, model={"dtype": "float32"})
    assert training.training_dtype(config) is torch.float32


def test_an_adapter_brings_its_base_and_the_bases_tokenizer(finishing_model, m0):
    base = training.load_base(m0, toy_config(finishing_model))
    plain = training.load_base(finishing_model, toy_config(finishing_model))
    assert all(
        torch.equal(one, other)
        for one, other in zip(base.parameters(), plain.parameters(), strict=True)
    )
    tokenizer = training.load_tokenizer(m0)
    assert tokenizer.chat_template == training.load_tokenizer(finishing_model).chat_template
    assert tokenizer.pad_token_id is not None


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("bfloat16", 1e-3)])
def test_both_phases_train_in_other_precisions(finishing_model, tmp_path, dtype, tolerance):
    config = toy_config(finishing_model, model={"dtype": dtype})
    one, two = tmp_path / "m0", tmp_path / "m1"
    sft.train_sft(finishing_model, DIALOGUES, (), config, one)
    dpo.train_dpo(one, one, toy_pairs(), config, two, round_number=1)
    first_loss = training.read_training(two).first_sigmoid_loss
    assert first_loss == pytest.approx(math.log(2), abs=tolerance)
    before, after = load_file(one / WEIGHTS), load_file(two / WEIGHTS)
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_activation_checkpointing_as_on_a_gpu_changes_nothing(
    finishing_model, m0, m1, tmp_path, monkeypatch
):
    plain = training.trainer_arguments

    def as_on_a_gpu(*arguments, **options):
        return {**plain(*arguments, **options), "activation_checkpointing": True}

    monkeypatch.setattr(sft, "trainer_arguments", as_on_a_gpu)
    monkeypatch.setattr(dpo, "trainer_arguments", as_on_a_gpu)
    config = toy_config(finishing_model)
    sft.train_sft(finishing_model, DIALOGUES, (), config, tmp_path / "m0")
    dpo.train_dpo(m0, m0, toy_pairs(), config, tmp_path / "m1", round_number=1)
    for made, expected in ((tmp_path / "m0", m0), (tmp_path / "m1", m1)):
        ours, theirs = load_file(made / WEIGHTS), load_file(expected / WEIGHTS)
        assert all(torch.allclose(ours[name], theirs[name], atol=1e-5) for name in theirs)


def test_activations_are_computed_twice_only_where_they_do_not_fit():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    needed = training.activation_bytes(model, 1000)
    assert needed == 1000 * 3 * (8 * 32 + 4 * 64) * 4
    weights = 4 * model.num_parameters()
    enough = weights + math.ceil(needed / training.ACTIVATIONS_SHARE)
    assert not training.needs_checkpointing(model, 1000, enough)
    assert training.needs_checkpointing(model, 1000, enough - 8)
    assert training.needs_checkpointing(model, 1, weights - 1)  # the weights alone do not fit
