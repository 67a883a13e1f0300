"""The loop at toy size: a checkpoint whose replies end, a recipe that keeps nearly every pair."""

import json
import multiprocessing
import multiprocessing.process
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.contexts import Message
from benchmarks.dialogues import Dialogue, Turn
from selfevo.config import RunConfig
from selfevo.pairs import PreferencePair
from tests.conftest import VOCABULARY

from .candidates import make_pair

NO_FILTERS = {
    "min_tokens": 1,
    "max_similarity": None,
    "leak_run": None,
    "min_length_ratio": None,
    "max_length_ratio": None,
    "max_copy_rate": None,
    "max_copy_increase": None,
    "min_gain_bits": None,
    "max_same_chosen": None,
}


def write_finishing_model(tiny_model: Path, path: Path) -> Path:
    """The tiny model with an eighth of its vocabulary as end-of-turn tokens.

    A random model never says its one end token, and a pair needs two finished replies.
    """
    shutil.copytree(tiny_model, path)
    file = path / "generation_config.json"
    settings = json.loads(file.read_text("utf-8"))
    settings["eos_token_id"] = [2, *range(7, VOCABULARY, 8)]
    file.write_text(json.dumps(settings), encoding="utf-8")
    return path


def toy_recipe(base: Path, /, **changes: Mapping[str, Any] | int) -> dict[str, Any]:
    """A recipe as plain values; `changes` to a section are merged into it."""
    recipe: dict[str, Any] = {
        "name": "toy",
        "rounds": 1,
        "min_pairs": 1,
        "model": {"base": str(base)},
        "data": {"train": 4, "max_messages": 3},
        "sft": {
            "batch_size": 2,
            "max_length": 128,
            "save_steps": 1,
            "learning_rate": 1e-2,
            "lora": {"r": 4, "alpha": 8},
            "replay": {"share": 0.2},
        },
        "synthesis": {
            "contexts": 5,
            "per_dialogue": 1,
            "candidates": 2,
            "max_tokens": 16,
            "contrast": 2,
            "max_samples": 2,
        },
        "filters": NO_FILTERS,
        "dpo": {"batch_size": 2, "max_length": 128, "save_steps": 1, "learning_rate": 1e-2},
        "evaluation": {
            "dialogues": 3,
            "per_dialogue": 1,
            "max_tokens": 16,
            "contrast": 2,
            "retention": 3,
            "max_samples": 2,
            "reference": f"selfevo/{base}",
        },
        "users": {"people": 2, "turns": 2, "min_turns": 2},
        "gate": {"delta_min": 0, "guards": [], "caps": []},
    }
    for key, value in changes.items():
        recipe[key] = {**recipe.get(key, {}), **value} if isinstance(value, Mapping) else value
    return recipe


def toy_config(base: Path, /, **changes: Mapping[str, Any] | int) -> RunConfig:
    return RunConfig.model_validate_json(json.dumps(toy_recipe(base, **changes)))


def make_dialogue(number: int, *texts: str) -> Dialogue:
    """A dialogue of these texts, the seeker first."""
    turns = tuple(
        Turn(speaker="seeker" if index % 2 == 0 else "supporter", text=text)
        for index, text in enumerate(texts)
    )
    return Dialogue(
        id=f"toy-{number}",
        source="toy",
        language="en",
        emotion="fear",
        problem=None,
        situation=f"situation {number}",
        published_split=None,
        turns=turns,
    )


def toy_pairs(n: int = 6) -> list[PreferencePair]:
    """Pairs of different lengths, two of a dialogue."""
    return [
        make_pair(
            dialogue_id=f"toy-{i // 2}",
            context_id=f"toy-{i}",
            messages=(
                Message(role="user", content=f"My dog {'very ' * i}got lost in street {i}."),
            ),
            chosen=f"Oh no, your dog! Where in street {i} did you see it last, {'my ' * i}friend?",
            rejected=f"I am sorry to hear {'all ' * (i % 3)}that. How are you feeling?",
        )
        for i in range(n)
    ]


def start_process(
    target: Callable[..., None], *arguments: Any
) -> multiprocessing.process.BaseProcess:
    """Start `target` in a process of its own that may be killed.

    The processes are forked from a server that has imported the slow libraries once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.cheap_evals", "tests.selfevo.preloaded"])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process
