import json
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ModelOutput

from benchmarks.contexts import Context
from benchmarks.errors import DataError
from benchmarks.heldout import write_contexts
from benchmarks.reflect import EMOTIONS
from benchmarks.reflection import reflection

from .fakes import answering, fake, make_context, output, run

PEOPLE = [
    make_context("ann", "My dog ran away.", "I am so scared.", emotion="fear"),
    make_context("ben", "My boss yelled.", "I could scream.", emotion="anger"),
    make_context("cai", "She left me.", "I cry all day.", emotion="fear"),
    make_context("dot", "I do not know.", "It is hard.", emotion="sadness"),
]


def answer(emotion: str) -> str:
    part = {"value": "x", "evidence": "y"}
    fields = {"personality": part, "situation": part, "need": part}
    return json.dumps({**fields, "emotion": {"value": emotion, "evidence": "y"}})


@pytest.fixture
def contexts(tmp_path: Path) -> Path:
    path = tmp_path / "contexts.jsonl"
    write_contexts(path, PEOPLE)
    return path


def generated(
    contexts: Path, tmp_path: Path, reply: Callable[[list[ChatMessage]], str]
) -> tuple[EvalLog, list[str]]:
    """The log of a model that answers so, and what it was asked."""
    asked: list[str] = []

    def respond(messages: list[ChatMessage]) -> ModelOutput:
        asked.append(messages[1].text)
        return output(reply(messages), "stop")

    task = reflection(contexts=str(contexts), strategy="generate")
    return run(task, answering(respond), tmp_path / "logs"), asked


def metrics(log: EvalLog) -> dict[str, float]:
    assert log.results is not None
    [score] = log.results.scores
    return {name: metric.value for name, metric in score.metrics.items()}


def test_no_reflection_is_no_score(contexts: Path, tmp_path: Path) -> None:
    def reply(messages: list[ChatMessage]) -> str:
        talk = messages[1].text
        if "dog" in talk:
            return answer(" Fear")  # right, in other letters
        if "boss" in talk:
            return answer("sadness")  # wrong
        if "She left" in talk:  # repaired
            return answer("fear") if len(messages) > 2 else "I feel with her."
        return "never any JSON"

    log, asked = generated(contexts, tmp_path, reply)
    assert log.status == "success"
    assert len(asked) == 1 + 1 + 2 + 2
    scores = {s.metadata["dialogue_id"]: s.scores["emotion_recognised"] for s in log.samples or []}
    assert [scores[person].value for person in ("ann", "ben", "cai")] == [1, 0, 1]
    assert scores["dot"].value != scores["dot"].value  # NaN: not a number in any mean
    assert scores["dot"].reason == "the reflection is not a JSON object"
    found = metrics(log)
    assert found["mean"] == pytest.approx(2 / 3)
    assert found["chance"] == pytest.approx(1 / len(EMOTIONS))
    assert found["majority"] == pytest.approx(2 / 3)  # "fear" of the three that were scored
    assert log.results is not None
    [score] = log.results.scores
    assert (score.scored_samples, score.unscored_samples) == (3, 1)


def test_labels_are_ranked_by_likelihood(contexts: Path, tmp_path: Path) -> None:
    right = {"dog": "Fear", "boss": "Anger", "left": "Fear"}

    def likelihood(prefix: str, word: str) -> float:
        return -1.0 if any(w in prefix and word == label for w, label in right.items()) else -5.0

    log = run(reflection(contexts=str(contexts)), fake(likelihood).model, tmp_path / "logs")
    assert log.status == "success"
    # nothing speaks for a label of dot's: the first one is named, and it is wrong
    assert metrics(log)["mean"] == pytest.approx(3 / 4)


def test_a_model_without_likelihoods_fails_and_says_what_to_use(
    contexts: Path, tmp_path: Path
) -> None:
    model = answering(lambda messages: output("", "stop"))
    log = run(reflection(contexts=str(contexts)), model, tmp_path / "logs")
    assert log.status == "error"
    assert log.error is not None
    assert "cannot score the likelihood" in log.error.message


def test_only_people_with_a_known_emotion_are_asked_about(tmp_path: Path) -> None:
    unknown = make_context("eve", "I am here.", "And now?", emotion="nostalgia")
    without = make_context("fay", "I am here.", "And now?", emotion=None)
    path = tmp_path / "contexts.jsonl"

    def people(*contexts: Context) -> list[object]:
        write_contexts(path, contexts)
        return [sample.metadata["dialogue_id"] for sample in reflection(str(path)).dataset]

    assert people(unknown, PEOPLE[0], without) == ["ann"]
    with pytest.raises(DataError, match=r"none of 2 dialogues has an emotion label"):
        people(unknown, without)
