"""A run that is killed and started again ends with the same bytes as one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from results.records import read_run
from selfevo.checkpoint import content_hash
from selfevo.cli import main

from .toy import start_process, toy_config, toy_pairs, toy_recipe

pytest.importorskip("torch", reason="needs the [train] extra")
pytest.importorskip("trl", reason="needs the [train] extra")

from selfevo.dpo import train_dpo
from selfevo.training import _MarkWhole

SAME_BYTES = (
    "data/*.json*",
    "m0/checkpoint/adapter_model.safetensors",
    "m0/checkpoint/training.json",
    "m0/record.json",
    "round-*/contexts.jsonl",
    "round-*/pairs.jsonl",
    "round-*/pairs-report.json",
    "round-*/checkpoint/adapter_model.safetensors",
    "round-*/checkpoint/training.json",
    "round-*/diagnostics.json",
    "round-*/record.json",
    "round-*/decision.json",
    "ledger.jsonl",
    "champion.json",
)
SAME_TALKS = ("round-*/talkers.jsonl", "round-*/contexts-with-users.jsonl")
"""Of a run that takes contexts from conversations."""
SAMPLES_WRITTEN = 5_000
"""Bytes of an Inspect log that holds samples: without any it has about 1,200."""
PATIENCE_S = 240.0
TRIES = 3


class Running(Protocol):
    """What a test needs of a process."""

    def is_running(self) -> bool:
        """Whether it has not ended."""

    def kill(self) -> None:
        """SIGKILL, and wait."""


class Forked:
    """The command line in a process forked from one that has imported everything."""

    def __init__(self, recipe: Path, root: Path) -> None:
        self._process = start_process(run_command_line, recipe, root)

    def is_running(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


class Started:
    """The command line as a person starts it."""

    def __init__(self, recipe: Path, root: Path) -> None:
        self._process = subprocess.Popen(
            command_line(recipe, root),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def command_line(recipe: Path, root: Path) -> list[str]:
    return [sys.executable, "-m", "selfevo.cli", "evolve", str(recipe), "--run", str(root)]


def run_command_line(recipe: Path, root: Path) -> None:
    sys.exit(main(["--debug", "evolve", str(recipe), "--run", str(root)]))


class Phase:
    """A step of the run, and whether it is at work: some of it is on disk, but not all."""

    def __init__(self, artefact: str, sign: Callable[[Path], bool]) -> None:
        self.artefact = artefact
        self._sign = sign

    def is_at_work(self, root: Path) -> bool:
        return self._sign(root / f"{self.artefact}.partial")

    def is_done(self, root: Path) -> bool:
        return (root / self.artefact).exists()


def training(artefact: str) -> Phase:
    return Phase(artefact, lambda partial: any(partial.glob("trainer/checkpoint-*/whole")))


def evaluating(artefact: str) -> Phase:
    def has_samples(partial: Path) -> bool:
        return any(log.stat().st_size > SAMPLES_WRITTEN for log in partial.glob("*.eval"))

    return Phase(artefact, has_samples)


THE_MAIN_PHASES = (
    evaluating("round-1/synthesis"),
    evaluating("round-1/evaluation/reply"),
)
"""A training killed on its own is in `test_dpo.py`; every phase, and phase 1, in slow tests."""
ALL_PHASES = (
    training("m0/checkpoint"),
    evaluating("m0/evaluation/reply"),
    evaluating("m0/evaluation/reflection"),
    evaluating("m0/evaluation/retention"),
    evaluating("m0/evaluation/support"),
    evaluating("round-1/conversations"),
    evaluating("round-1/synthesis"),
    training("round-1/checkpoint"),
    evaluating("round-1/evaluation/reply"),
    evaluating("round-2/synthesis"),
    training("round-2/checkpoint"),
    evaluating("round-2/evaluation/reflection"),
)


def write_recipe(path: Path, model: Path, **changes: Any) -> Path:
    """A run long enough to be killed in the middle of each phase.

    In float64: which samples a kill leaves decides which ones are computed together, and float32
    rounds a batch's bits differently in the sixth digit, which a stored decimal may show.
    """
    longer = {"sft": {"epochs": 2}, "dpo": {"epochs": 2}, "evaluation": {"dialogues": 6}}
    exact = {"model": {"dtype": "float64"}}
    recipe = toy_recipe(model, **longer, **exact, **changes)
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def kill_during(phase: Phase, start: Callable[[], Running], root: Path, backup: Path) -> None:
    """Start the run and kill it in this phase; begins again if the phase was over too soon."""
    for _ in range(TRIES):
        shutil.rmtree(backup, ignore_errors=True)
        if root.exists():
            shutil.copytree(root, backup)
        process = start()
        deadline = time.monotonic() + PATIENCE_S
        while not phase.is_at_work(root) and not phase.is_done(root):
            assert process.is_running(), f"ended before {phase.artefact}"
            assert time.monotonic() < deadline, f"no {phase.artefact} in {PATIENCE_S} s"
            time.sleep(0.003)
        process.kill()
        if not phase.is_done(root):
            return
        shutil.rmtree(root)
        if backup.exists():
            shutil.copytree(backup, root)
    pytest.fail(f"{phase.artefact} was over too soon {TRIES} times")


def said(path: Path) -> bytes | str:
    """A file's bytes; of a record its hash, which leaves out when and at which cost it was made."""
    return read_run(path, sealed=False).hash if path.name == "record.json" else path.read_bytes()


def assert_same(
    killed: Path, whole: Path, n_rounds: int, patterns: Sequence[str] = SAME_BYTES
) -> None:
    checkpoints = ["m0", *(f"round-{number}" for number in range(1, n_rounds + 1))]
    for name in checkpoints:
        one, other = killed / name / "checkpoint", whole / name / "checkpoint"
        assert content_hash(one) == content_hash(other), name
    for pattern in patterns:
        names = sorted(str(path.relative_to(whole)) for path in whole.glob(pattern))
        assert names, pattern
        for name in names:
            assert said(killed / name) == said(whole / name), name
    assert not list(killed.rglob("*.partial"))


def resumable(model):
    return toy_config(model, dpo={"epochs": 2, "save_steps": 2, "reference": "initial"})


def train_until_killed(model, policy, initial, work):
    """Train, and die while the second checkpoint is being written: whole but not marked so."""
    mark = _MarkWhole.on_save

    def on_save(self, args, state, control, **options):
        if state.global_step == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        mark(self, args, state, control, **options)

    _MarkWhole.on_save = on_save
    train_dpo(policy, initial, toy_pairs(), resumable(model), work, round_number=2)


def test_a_killed_training_ends_with_the_same_adapter(finishing_model, m0, m1, tmp_path):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start_process(train_until_killed, finishing_model, m1, m0, killed)
    config = resumable(finishing_model)
    train_dpo(m1, m0, toy_pairs(), config, whole, round_number=2)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    checkpoints = sorted(p.name for p in (killed / "trainer").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-2", "checkpoint-4"]
    (killed / "trainer" / "checkpoint-4" / "optimizer.pt").write_bytes(b"half")

    train_dpo(m1, m0, toy_pairs(), config, killed, round_number=2)
    assert sorted(p.name for p in killed.iterdir()) == sorted(p.name for p in whole.iterdir())
    for path in whole.iterdir():
        assert (killed / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_run_killed_in_its_main_phases_ends_the_same(finishing_model, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", finishing_model, users=None)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    uninterrupted = start_process(run_command_line, recipe, whole)
    for phase in THE_MAIN_PHASES:
        kill_during(phase, lambda: Forked(recipe, killed), killed, tmp_path / "backup")
    last = start_process(run_command_line, recipe, killed)
    last.join()
    uninterrupted.join()
    assert (last.exitcode, uninterrupted.exitcode) == (0, 0)
    assert_same(killed, whole, n_rounds=1)


@pytest.mark.slow
def test_two_rounds_killed_everywhere_end_the_same(finishing_model, tmp_path):
    """As a person would: the command line, killed again and again.

    Half of a round's contexts come from the champion's talks; more people talk than are written to
    the log at once, so that there is a middle to be killed in.
    """
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        finishing_model,
        rounds=2,
        synthesis={"contexts": 8, "from_users": 0.5},
        users={"people": 6, "turns": 3, "min_turns": 3},
    )
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for phase in ALL_PHASES:
        kill_during(phase, lambda: Started(recipe, killed), killed, tmp_path / "backup")
    for root in (killed, whole):
        subprocess.run(command_line(recipe, root), check=True)
    assert_same(killed, whole, n_rounds=2, patterns=(*SAME_BYTES, *SAME_TALKS))
