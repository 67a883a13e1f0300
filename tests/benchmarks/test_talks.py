import os
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, Model, get_model

import benchmarks.controls
from benchmarks.dialogues import Dialogue, Turn
from benchmarks.errors import DataError
from benchmarks.support import support
from benchmarks.talks import find_log, human_talks, read_talks
from benchmarks.user import Ending
from tests.benchmarks.fakes import answering, output, run
from tests.benchmarks.people import make_strangers, write_people

CONTROLS = benchmarks.controls.CONTROLS  # imported for Inspect to know them


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "people.jsonl", make_strangers(3))


def talked(people: Path, model: Model, log_dir: Path, **options: Any) -> EvalLog:
    return run(support(users=str(people), split=None, turns=3, **options), model, log_dir)


def path_of(log: EvalLog) -> Path:
    return Path(log.location)


def test_a_log_gives_words_and_what_went_on_inside(people: Path, tmp_path: Path) -> None:
    log = talked(people, get_model("control/stock"), tmp_path, epochs=2)
    read = read_talks(path_of(log))
    assert (read.model, read.user, read.status) == ("control/stock", "scripted", "success")
    assert read.created == log.eval.created
    assert len({talk.id for talk in read.talks}) == 6
    for talk in read.talks:
        assert talk.persona is not None
        assert talk.inner is not None
        assert talk.language == "en"
        assert talk.user[0] == talk.persona.opening
        assert len(talk.supporter) == len(talk.inner.turns) - 1
        assert talk.user == tuple(turn.text for turn in talk.inner.turns if turn.text)


def test_a_model_that_plays_is_named(people: Path, tmp_path: Path) -> None:
    said = '{"reason": "x", "emotion_change": 0, "trust_change": 0, "met_need": false}'
    user = answering(lambda messages: output(said, "stop"))
    task = support(users=str(people), split=None, user="model", turns=1, min_turns=1)
    log = run(task, get_model("control/stock"), tmp_path, user=user)
    assert read_talks(path_of(log)).user == "mockllm/model"


def test_of_another_log_only_the_words_are_known(tmp_path: Path) -> None:
    sample = Sample(
        id="a", input=[ChatMessageUser(content="Hi."), ChatMessageAssistant(content="Hello.")]
    )
    model = answering(lambda messages: output("Mm.", "stop"))
    log = run(Task(dataset=MemoryDataset([sample])), model, tmp_path)
    read = read_talks(path_of(log))
    assert read.user == "unknown"
    [talk] = read.talks
    assert (talk.user, talk.supporter) == (("Hi.",), ("Hello.", "Mm."))
    assert (talk.persona, talk.inner, talk.language) == (None, None, "en")


def test_a_conversation_without_a_reply_is_read(people: Path, tmp_path: Path) -> None:
    model = answering(lambda messages: output("", "stop"))
    read = read_talks(path_of(talked(people, model, tmp_path)))
    assert {talk.inner.ending for talk in read.talks if talk.inner} == {Ending.MODEL_ERROR}
    assert all(talk.user and not talk.supporter for talk in read.talks)


def test_a_user_who_broke_before_a_word_is_read(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.jsonl", make_strangers(2, opening=None))
    silent = answering(lambda messages: output("", "stop"))
    task = support(users=str(people), split=None, user="model")
    read = read_talks(path_of(run(task, get_model("control/stock"), tmp_path, user=silent)))
    assert [talk.user for talk in read.talks] == [(), ()]
    assert {talk.inner.ending for talk in read.talks if talk.inner} == {Ending.USER_ERROR}


def test_the_people_may_have_moved(people: Path, tmp_path: Path) -> None:
    moved = tmp_path / "people.jsonl"
    moved.write_bytes(people.read_bytes())
    log = path_of(talked(moved, get_model("control/stock"), tmp_path))
    moved.unlink()
    with pytest.raises(DataError, match="people are not there; say where they are: --users FILE"):
        read_talks(log)
    assert all(talk.persona for talk in read_talks(log, people).talks)


def test_what_is_no_log_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such log"):
        read_talks(tmp_path / "absent.eval")
    texts = {"junk.eval": "junk", "junk.json": "junk", "junk.txt": "junk", "other.json": "[1]"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=f"{name}: is no log of Inspect"):
            read_talks(tmp_path / name)


def test_a_log_that_was_cut_off_says_so(people: Path, tmp_path: Path) -> None:
    whole = path_of(talked(people, get_model("control/stock"), tmp_path))
    part = tmp_path / "part.eval"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(DataError, match=r"part\.eval: is no log of Inspect"):
        read_talks(part)


def test_a_log_without_conversation_says_so(tmp_path: Path) -> None:
    def fail(messages: object) -> Any:
        raise ValueError("down")

    sample = Sample(id="a", input=[ChatMessageAssistant(content="Hello.")])
    log = run(Task(dataset=MemoryDataset([sample])), answering(fail), tmp_path)
    with pytest.raises(DataError, match="holds no conversation; give a log of"):
        read_talks(path_of(log))


def test_the_newest_log_of_a_folder_is_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such log"):
        find_log(tmp_path / "absent")
    with pytest.raises(DataError, match=r"has no \.eval file"):
        find_log(tmp_path)
    for age, name in enumerate(("new.eval", "a/middle.eval", "zz-old.eval")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert find_log(tmp_path) == tmp_path / "new.eval"
    assert find_log(tmp_path / "a") == tmp_path / "a/middle.eval"
    assert find_log(tmp_path / "zz-old.eval") == tmp_path / "zz-old.eval"


def test_people_become_talks() -> None:
    dialogue = Dialogue(
        id="d1",
        source="x",
        language="en",
        emotion=None,
        problem=None,
        situation=None,
        published_split=None,
        turns=(
            Turn(speaker="seeker", text="I lost my job."),
            Turn(speaker="supporter", text="When?", strategies=("question",)),
            Turn(speaker="seeker", text="In May."),
        ),
    )
    [talk] = human_talks([dialogue])
    assert (talk.user, talk.supporter) == (("I lost my job.", "In May."), ("When?",))
    assert (talk.persona, talk.inner) == (None, None)
