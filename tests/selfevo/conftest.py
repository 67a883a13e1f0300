"""Fixtures of the tests that train: made once a session, never changed by a test."""

import gc
from pathlib import Path

import pytest

from .toy import make_dialogue, toy_config, toy_pairs, write_finishing_model

DIALOGUES = (
    make_dialogue(1, "My dog ran away.", "When did you see it last?", "Today.", "Let us look."),
    make_dialogue(2, "I cannot sleep.", "What keeps you awake?", "Exams.", "That is a heavy load."),
    make_dialogue(3, "My boss yelled at me.", "In front of others?", "Yes.", "That stings."),
    make_dialogue(4, "I miss my sister.", "Where is she now?", "Abroad.", "Do you write?"),
)


@pytest.fixture(scope="session")
def finishing_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with replies that end."""
    return write_finishing_model(tiny_model, tmp_path_factory.mktemp("finishing") / "checkpoint")


@pytest.fixture(scope="session")
def m0(finishing_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of phase 1 on it."""
    from selfevo.sft import train_sft

    path = tmp_path_factory.mktemp("m0") / "checkpoint"
    train_sft(finishing_model, DIALOGUES, (), toy_config(finishing_model), path)
    gc.collect()
    gc.freeze()  # what a training has imported
    return path


@pytest.fixture(scope="session")
def m1(finishing_model: Path, m0: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its successor by DPO."""
    from selfevo.dpo import train_dpo

    path = tmp_path_factory.mktemp("m1") / "checkpoint"
    train_dpo(m0, m0, toy_pairs(), toy_config(finishing_model), path, round_number=1)
    return path
