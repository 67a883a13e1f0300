import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState, generate

from benchmarks.contexts import contexts_of
from benchmarks.heldout import write_contexts
from benchmarks.reply import MEASURES
from selfevo.errors import UsageError
from selfevo.evaluation import (
    HeldOut,
    _suite,
    build_record,
    evaluate,
    measure,
    require_models,
)
from selfevo.harness import evaluand, run_eval
from selfevo.run import Run
from tests.records import make_record

from .conftest import DIALOGUES
from .scripted import one_after_another
from .toy import toy_config

UNSCORED = "unscored"


@scorer(metrics={name: [mean()] for name in MEASURES})
def automatic() -> Scorer:
    """Scores as the sample's metadata says; one that says `unscored` is."""

    async def score(state: TaskState, target: Target) -> Score:
        value = state.metadata["value"]
        if value == UNSCORED:
            return Score.unscored(reason="the model hung up")
        return Score(value={**dict.fromkeys(MEASURES, 0.0), **value})

    return score


@scorer(metrics=[mean()])
def emotion_recognised() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        value = state.metadata["value"]
        return Score.unscored(reason="no JSON") if value == UNSCORED else Score(value=value)

    return score


@scorer(metrics=[mean()])
def answer_likelihood() -> Scorer:
    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=state.metadata["value"])

    return score


def log_of(folder: Path, judge: Scorer, rows, replies=None):
    """An eval log: `rows` are (sample id, person, value), answered in order."""
    samples = [
        Sample(id=sample_id, input="Hi.", metadata={"dialogue_id": person, "value": value})
        for sample_id, person, value in rows
    ]
    answers = replies or ["Hello."] * len(rows)
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=judge)
    model = one_after_another(*answers).model
    return run_eval(task, model, folder, title="test", max_samples=1)


@pytest.fixture
def record_of(tmp_path):
    def record_of(**logs):
        return build_record(
            logs,
            method="M0",
            suite={"people": "suite"},
            checkpoint="hash",
            language="en",
            folders=["m0/evaluation/reply"],
        )

    return record_of


def test_a_person_is_the_mean_of_their_contexts(tmp_path, record_of):
    rows = [
        ("a-1", "a", {"specificity": 4.0, "length": 10}),
        ("a-2", "a", {"specificity": 7.0, "length": 20}),
        ("b-1", "b", {"specificity": 1.0, "length": 3}),
    ]
    record = record_of(reply=log_of(tmp_path, automatic(), rows))
    assert record.measures["specificity"].values == {"a": 5.5, "b": 1.0}
    assert record.measures["specificity"].mean == 3.25
    assert record.measures["length"].values == {"a": 15.0, "b": 3.0}
    assert set(MEASURES) | {"sameness"} == set(record.measures)
    assert (record.suite, record.checkpoint, record.logs) == (
        {"people": "suite"},
        "hash",
        ("m0/evaluation/reply",),
    )


def test_unscored_samples_are_counted_and_in_no_mean(tmp_path, record_of):
    rows = [
        ("a-1", "a", {"specificity": 4.0}),
        ("a-2", "a", UNSCORED),
        ("b-1", "b", UNSCORED),
        ("c-1", "c", {"specificity": 2.0}),
    ]
    measure = record_of(reply=log_of(tmp_path, automatic(), rows)).measures["specificity"]
    assert measure.values == {"a": 4.0, "c": 2.0}
    assert (measure.n_scored, measure.n_total) == (2, 4)


def test_a_number_that_is_none_is_unscored_in_its_measure_only(tmp_path, record_of):
    rows = [("a-1", "a", {"specificity": math.nan}), ("b-1", "b", {"specificity": 1.0})]
    measures = record_of(reply=log_of(tmp_path, automatic(), rows)).measures
    assert (measures["specificity"].n_scored, measures["specificity"].n_total) == (1, 2)
    assert (measures["length"].n_scored, measures["length"].n_total) == (2, 2)


def test_sameness_is_what_a_reply_shares_with_replies_to_others(tmp_path, record_of):
    rows = [("a-1", "a", {}), ("a-2", "a", {}), ("b-1", "b", {}), ("c-1", "c", {})]
    replies = [
        "I am so sorry to hear that",  # to b as well
        "You and your dog will meet",  # to nobody else
        "I am so sorry to hear that",
        "I am so sorry about your dog",  # two of its four 4-grams
    ]
    log = log_of(tmp_path, automatic(), rows, replies)
    sameness = record_of(reply=log).measures["sameness"]
    assert sameness.values == {"a": 0.5, "b": 1.0, "c": 0.25}
    assert (sameness.n_scored, sameness.n_total) == (4, 4)


def test_saying_the_same_twice_to_one_person_is_not_sameness(tmp_path, record_of):
    rows = [("a-1", "a", {}), ("a-2", "a", {}), ("b-1", "b", {})]
    replies = ["Is your dog at home again?", "Is your dog at home again?", "What about the exam?"]
    sameness = record_of(reply=log_of(tmp_path, automatic(), rows, replies)).measures["sameness"]
    assert sameness.values == {"a": 0.0, "b": 0.0}


def test_distinct_n_is_of_all_replies(tmp_path, record_of):
    rows = [("a-1", "a", {}), ("b-1", "b", {})]
    record = record_of(reply=log_of(tmp_path, automatic(), rows, ["so sorry", "so sorry"]))
    assert record.corpus == {"distinct_1": 0.5, "distinct_2": 0.5}


def test_without_a_word_there_is_no_distinct_n(tmp_path, record_of):
    rows = [("a-1", "a", {}), ("b-1", "b", {})]
    record = record_of(reply=log_of(tmp_path, automatic(), rows, ["...", "!"]))
    assert record.corpus == {}
    assert record.measures["sameness"].values == {"a": 0.0, "b": 0.0}


def test_emotions_are_of_people_and_retention_of_instructions(tmp_path, record_of):
    people = [("a-1", "a", 1.0), ("b-1", "b", UNSCORED), ("c-1", "c", 0.0)]
    items = [("item-1", "x", -2.5), ("item-2", "x", -1.5)]
    record = record_of(
        reply=log_of(tmp_path / "reply", automatic(), [("a-1", "a", {})]),
        reflection=log_of(tmp_path / "reflection", emotion_recognised(), people),
        retention=log_of(tmp_path / "retention", answer_likelihood(), items),
    )
    accuracy = record.measures["emotion_accuracy"]
    assert accuracy.values == {"a": 1.0, "c": 0.0}
    assert (accuracy.n_scored, accuracy.n_total) == (2, 3)
    assert record.measures["retention"].values == {"item-1": -2.5, "item-2": -1.5}


# what makes two records comparable


def held_out(**changes):
    return HeldOut(Path("a"), Path("b"), None, None, "people")._replace(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"task_prompt": "You are a friend."}},
        {"evaluation": {"max_tokens": 40}},
        {"evaluation": {"contrast": 1}},
        {"synthesis": {"reflection": "generate"}},
        {"model": {"dtype": "bfloat16"}},
    ],
)
def test_what_is_measured_differently_is_another_suite(finishing_model, changes):
    plain = _suite(toy_config(finishing_model), held_out())
    assert _suite(toy_config(finishing_model, **changes), held_out()) != plain


def test_other_people_are_another_suite(finishing_model):
    config = toy_config(finishing_model)
    assert _suite(config, held_out()) != _suite(config, held_out(hash="others"))


def test_another_reference_is_another_suite(finishing_model, tiny_model):
    one = toy_config(finishing_model)
    other = toy_config(finishing_model, evaluation={"reference": f"selfevo/{tiny_model}"})
    assert _suite(one, held_out()) != _suite(other, held_out())


@pytest.mark.parametrize(
    "changes", [{"evaluation": {"max_samples": 1}}, {"seed": 9}, {"dpo": {"beta": 0.5}}]
)
def test_how_fast_or_how_trained_is_the_same_suite(finishing_model, changes):
    plain = _suite(toy_config(finishing_model), held_out())
    assert _suite(toy_config(finishing_model, **changes), held_out()) == plain


# a real checkpoint


@pytest.fixture
def measured(finishing_model, m0, tmp_path):
    """Evaluate M0 on the toy dialogues with these emotion labels."""

    def measured(emotion):
        people = [d.model_copy(update={"emotion": emotion}) for d in DIALOGUES]
        file = tmp_path / "people.jsonl"
        write_contexts(file, [contexts_of(dialogue)[-1] for dialogue in people])
        config = toy_config(finishing_model)
        run = Run(tmp_path / "run", config)
        try:
            model = evaluand(m0, config.model)
            return run, evaluate(run, "m0", "M0", model, HeldOut(file, file, None, None, "people"))
        finally:
            run.close()

    return measured


def test_measures_a_checkpoint_once(measured, monkeypatch):
    run, record = measured("fear")
    assert {"specificity", "sameness", "emotion_accuracy"} <= record.measures.keys()
    for found in record.measures.values():
        assert (found.n_scored, found.n_total) == (4, 4)
        assert set(found.values) == {dialogue.id for dialogue in DIALOGUES}
    assert record.logs == ("m0/evaluation/reply", "m0/evaluation/reflection")
    assert all((run.root / folder).is_dir() for folder in record.logs)

    monkeypatch.setattr("selfevo.evaluation.run_eval", None)
    assert measured("fear")[1] == record


def test_people_without_emotion_labels_are_evaluated_too(measured):
    _, record = measured(None)
    assert "emotion_accuracy" not in record.measures
    assert record.measures["specificity"].n_scored == 4


def test_another_checkpoint_is_measured_anew_whatever_its_name(monkeypatch):
    """A path may lead elsewhere tomorrow, and two names may look alike as folders."""

    def kept(name: str, checkpoint: str | None, method: str | None = None) -> tuple[str, str]:
        class Named(str):
            api = SimpleNamespace(checkpoint=checkpoint)

        record = measure(None, Named(name), None, method)
        return folders[-1], record.method

    folders: list[str] = []

    def made(run, folder, name, subject, heldout):
        folders.append(folder)
        return make_record(name)

    monkeypatch.setattr("selfevo.evaluation._evaluated", made)
    first = kept("selfevo/ckpt", "a" * 64)
    others = [
        kept("selfevo/ckpt", "b" * 64),
        kept("selfevo/a/b", None),
        kept("selfevo/a-b", None),
    ]
    assert len({first, *others}) == 4
    # what it is called on a board makes no other evaluation of it
    assert kept("selfevo/ckpt", "a" * 64, "mine") == (first[0], "mine")


def test_a_model_that_is_none_is_refused_before_anything_is_trained(tiny_model, tmp_path):
    require_models(toy_config(tiny_model))
    refiner = {"refinement": "generate", "refiner": "opnai/gpt-4o"}
    with pytest.raises(UsageError, match=r"synthesis.refiner: .*opnai.*name an Inspect model"):
        require_models(toy_config(tiny_model, synthesis=refiner))
    reference = {"reference": f"selfevo/{tmp_path}/nowhere"}
    with pytest.raises(UsageError, match="nowhere"):
        require_models(toy_config(tiny_model, evaluation=reference))
