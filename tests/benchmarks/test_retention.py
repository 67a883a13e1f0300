import json
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog

from benchmarks.errors import DataError
from benchmarks.instructions import load_instructions, split_instructions
from benchmarks.retention import retention

from .fakes import answering, fake, output, run

ROWS = [
    {"instruction": "Name a colour.", "output": "Blue"},
    {"instruction": "Add.", "input": "2 and 3", "output": "It is 5"},
]


@pytest.fixture
def instructions(tmp_path: Path) -> Path:
    path = tmp_path / "instructions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def likelihood(prefix: str, word: str) -> float:
    return -0.5 if word == "5" and "2 and 3" in prefix else -2.0


def mean_of(log: EvalLog) -> float:
    assert log.status == "success", log.error
    assert log.results is not None
    [score] = log.results.scores
    return score.metrics["mean"].value


def test_the_reference_answers_likelihood_a_token_is_the_score(
    instructions: Path, tmp_path: Path
) -> None:
    model, api = fake(likelihood)
    log = run(retention(path=str(instructions)), model, tmp_path / "logs")
    values = {s.target: (s.scores or {})["answer_likelihood"].value for s in log.samples or []}
    assert values == {"Blue": -2.0, "It is 5": -1.5}
    assert mean_of(log) == pytest.approx(-1.75)
    assert sorted(api.asked) == [
        ("Add.\n\n2 and 3", "It is 5"),
        ("Name a colour.", "Blue"),
    ]


def test_forgetting_shows_as_a_lower_score(instructions: Path, tmp_path: Path) -> None:
    before = run(retention(str(instructions)), fake(likelihood).model, tmp_path / "before")
    forgetful = fake(lambda prefix, word: likelihood(prefix, word) - 0.25).model
    after = run(retention(str(instructions)), forgetful, tmp_path / "after")
    assert mean_of(after) - mean_of(before) == pytest.approx(-0.25)


def test_a_model_without_likelihoods_fails_and_says_what_to_use(
    instructions: Path, tmp_path: Path
) -> None:
    model = answering(lambda messages: output("Blue", "stop"))
    log = run(retention(str(instructions)), model, tmp_path / "logs")
    assert log.status == "error"
    assert log.error is not None
    assert "cannot score the likelihood" in log.error.message


def test_without_a_file_the_starter_items_that_training_never_sees_are_used() -> None:
    split = split_instructions(load_instructions("starter"), heldout=24, seed=7)
    asked = {str(sample.input) for sample in retention().dataset}
    assert asked == {item.prompt() for item in split.heldout}
    assert not asked & {item.prompt() for item in split.replay}


def test_no_instruction_in_the_language_is_an_error(instructions: Path) -> None:
    with pytest.raises(DataError, match=r"instructions.jsonl: none is in zh"):
        retention(path=str(instructions), language="zh")


def test_no_items_is_no_task() -> None:
    with pytest.raises(DataError, match="items=-1: leaves nothing"):
        retention(items=-1)
