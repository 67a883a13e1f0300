from pathlib import Path

import pytest

from benchmarks.conversation import conversation_of
from benchmarks.heldout import read_contexts
from benchmarks.persona import load_personas
from selfevo.config import RunConfig, UsersConfig
from selfevo.errors import UsageError
from selfevo.harness import Evaluand, finished_log
from selfevo.run import Run
from selfevo.users import (
    conversation_contexts,
    store_people,
    suite_of,
    user_roles,
    with_conversations,
)

from .scripted import Scripted

GATE = {persona.id for persona in load_personas(language="en", split="gate")}
TRAIN = {persona.id for persona in load_personas(language="en", split="train")}


def config_of(**changes) -> RunConfig:
    values = {
        "name": "x",
        "synthesis": {"contexts": 8, "from_users": 0.5},
        "users": {"people": 3, "turns": 4},
    }
    return RunConfig.model_validate({**values, **changes})


@pytest.fixture
def run_of(tmp_path):
    runs = []

    def run_of(config: RunConfig) -> Run:
        runs.append(Run(tmp_path / f"run-{len(runs)}", config))
        return runs[-1]

    yield run_of
    for run in runs:
        run.close()


def champion() -> Evaluand:
    """A supporter that asks about what was said."""
    return Evaluand(
        Path("unused"), Scripted(lambda m: f"You said {m[-1].text[:20]}. What happened?").model
    )


def test_the_people_of_a_split_are_stored_and_nobody_else(run_of):
    run = run_of(config_of())
    gate, train = store_people(run, "gate"), store_people(run, "train")
    assert gate is not None and train is not None
    assert len(load_personas(gate)) == 3
    assert {p.id for p in load_personas(gate)} <= GATE
    assert {p.id for p in load_personas(train)} == TRAIN
    assert {p.split for p in load_personas(train)} == {"train"}


def test_without_users_there_is_no_file(run_of):
    config = RunConfig(name="x", users=None, gate={"guards": []})
    run = run_of(config)
    assert store_people(run, "gate") is None
    assert suite_of(None, config) is None


def test_more_people_than_there_are_is_refused(run_of):
    run = run_of(config_of(users={"people": 5000}))
    with pytest.raises(UsageError, match=r"users.people: 5000 people asked for, the gate split"):
        store_people(run, "gate")


def test_contexts_come_from_the_champions_talks_with_training_people(run_of, tmp_path):
    from benchmarks.contexts import sample_contexts
    from benchmarks.dialogues import load_dialogues
    from benchmarks.heldout import write_contexts

    dialogues = load_dialogues("starter", language="en").dialogues
    drawn = sample_contexts(dialogues, n=4, per_dialogue=1, seed=1)
    file = tmp_path / "contexts.jsonl"
    write_contexts(file, drawn)
    run = run_of(config_of())
    joined = read_contexts(with_conversations(run, 1, champion(), file))
    talked = joined[4:]
    assert joined[:4] == drawn
    assert len(talked) == 4
    assert len({context.dialogue_id for context in talked}) == 4
    assert {context.dialogue_id for context in talked} <= TRAIN
    for context in talked:
        assert context.human_reply is None
        assert context.situation is None
        assert context.messages[0].role == context.messages[-1].role == "user"
        assert len(context.seeker_words()) >= run.config.synthesis.min_seeker_turns
    log = finished_log(run.root / "round-1" / "conversations")
    assert {str(sample.id) for sample in log.samples or []}.isdisjoint(GATE)


def test_rounds_talk_with_different_people(run_of, tmp_path):
    run = run_of(config_of())
    talkers = []
    for number in (1, 2):
        with_conversations(run, number, champion(), _one_context(tmp_path))
        file = run.root / f"round-{number}" / "talkers.jsonl"
        talkers.append({p.id for p in load_personas(file)})
    assert [len(t) for t in talkers] == [5, 5]  # four contexts and a quarter to spare
    assert talkers[0] != talkers[1]


def test_conversations_that_broke_give_no_context(run_of, tmp_path):
    run = run_of(config_of())
    silent = Evaluand(Path("unused"), Scripted(lambda _: "").model)
    with pytest.raises(UsageError, match=r"they gave 0; lower it"):
        with_conversations(run, 1, silent, _one_context(tmp_path))
    log = finished_log(run.root / "round-1" / "conversations")
    talks = [conversation_of(sample.store) for sample in log.samples or []]
    assert {talk.ending for talk in talks if talk} == {"model_error"}
    assert conversation_contexts(log, run.config, 1) == []


def test_the_suite_changes_with_the_people_and_their_settings(run_of, tmp_path):
    people = store_people(run_of(config_of()), "gate")
    other = store_people(run_of(config_of(users={"people": 4})), "gate")
    longer = config_of(users={"people": 3, "turns": 5})
    hashes = {suite_of(people, config_of()), suite_of(other, config_of()), suite_of(people, longer)}
    assert len(hashes) == 3
    moved = tmp_path / "moved.jsonl"
    assert people is not None
    moved.write_bytes(people.read_bytes())
    assert suite_of(moved, config_of()) == suite_of(people, config_of())


def test_only_users_played_by_a_model_need_a_role():
    assert user_roles(UsersConfig()) == {}
    played = UsersConfig(kind="model", model="mockllm/model")
    assert list(user_roles(played)) == ["user"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"users": {"kind": "model"}}, "needs users.model"),
        ({"users": {"model": "openai/x"}}, "only for kind 'model'"),
        ({"users": None, "gate": {"guards": []}}, "synthesis.from_users needs users"),
        (
            {"synthesis": {"from_users": 0.5, "chosen": "human"}},
            "needs a human reply",
        ),
        ({"users": None, "synthesis": {}}, "the gate uses 'relief'"),
    ],
)
def test_recipes_that_cannot_work_are_refused(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        config_of(**changes)


def _one_context(tmp_path: Path) -> Path:
    from tests.benchmarks.fakes import make_context

    file = tmp_path / "one.jsonl"
    file.write_text(
        make_context("somebody", "Hello.", "It is bad.").model_dump_json() + "\n", "utf-8"
    )
    return file
