import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from inspect_ai import Task, eval
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import ChatMessage, GenerateConfig, Model, ModelOutput, get_model

from benchmarks.controls import oracle_reply
from benchmarks.conversation import Conversation, Length, conversation_of
from benchmarks.errors import DataError
from benchmarks.persona import Persona, load_personas
from benchmarks.support import MEASURES, support
from benchmarks.user import Ending

from .fakes import output
from .people import make_crisis_row, make_row, make_strangers, make_zh_row, write_people

Say = Callable[[list[ChatMessage]], str]
KIND = "It sounds like you feel ashamed. What about the money and the landlord?"
HOSTILE = "Stop whining. Get over it."
CUT: Final = "content_filter"


class Side(NamedTuple):
    """A model that remembers what it was asked."""

    model: Model
    asked: list[tuple[list[ChatMessage], GenerateConfig]]


def side(say: Callable[[list[ChatMessage]], str | ModelOutput]) -> Side:
    asked: list[tuple[list[ChatMessage], GenerateConfig]] = []

    def answer(
        input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        asked.append((list(input), config))
        said = say(input)
        return said if isinstance(said, ModelOutput) else output(said, "stop")

    return Side(get_model("mockllm/model", custom_outputs=answer, memoize=False), asked)


def saying(text: str) -> Side:
    return side(lambda messages: text)


def oracle(card: Persona) -> Say:
    def reply(messages: list[ChatMessage]) -> str:
        said = [m.text for m in messages if m.role == "user"]
        return oracle_reply(card, said, len(said) - 1)

    return reply


def failing(times: int, text: str = KIND) -> Side:
    """Raises so often, then answers."""
    made = side(lambda messages: raise_or_say())

    def raise_or_say() -> str:
        if len(made.asked) <= times:
            raise RuntimeError("503 from the provider")
        return text

    return made


def run(
    task: Task,
    supporter: Side,
    log_dir: Path,
    *,
    user: Side | None = None,
    max_samples: int | None = None,
) -> EvalLog:
    [log] = eval(
        task,
        model=supporter.model,
        model_roles={"user": user.model} if user else None,
        log_dir=str(log_dir),
        display="none",
        max_samples=max_samples,
    )
    return log


def samples(log: EvalLog) -> list[EvalSample]:
    assert log.status == "success", log.error
    return sorted(log.samples or [], key=lambda s: (str(s.id), s.epoch))


def talk_of(sample: EvalSample) -> Conversation:
    talk = conversation_of(sample.store)
    assert talk is not None
    return talk


def the_talk(log: EvalLog) -> Conversation:
    [sample] = samples(log)
    return talk_of(sample)


def metrics(log: EvalLog) -> dict[str, dict[str, float]]:
    assert log.results is not None
    return {
        score.name: {name: metric.value for name, metric in score.metrics.items()}
        for score in log.results.scores
    }


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_people(tmp_path / "people.jsonl", [make_row()])


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("strangers") / "strangers.jsonl"
    return write_people(path, make_strangers(5))


class Talks(NamedTuple):
    """One run with every stranger, twice each."""

    log: EvalLog
    supporter: Side


def alternating() -> Side:
    return side(lambda messages: "I see." if len(messages) % 4 == 1 else KIND)


@pytest.fixture(scope="module")
def talks(strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Talks:
    supporter = alternating()
    logs = tmp_path_factory.mktemp("logs")
    return Talks(run(task(strangers, epochs=2), supporter, logs, max_samples=1), supporter)


def task(users: Path, **args: Any) -> Task:
    return support(users=str(users), split=None, **args)


# How it ends.


def test_the_endings_of_a_scripted_user(tmp_path: Path) -> None:
    rows = [*make_strangers(3), make_crisis_row()]
    people = write_people(tmp_path / "people.jsonl", rows)
    content, angry, silent, crisis = load_personas(people)
    by_opening = {
        content.opening: oracle(content),
        angry.opening: lambda messages: HOSTILE,
        silent.opening: lambda messages: "  ",
        crisis.opening: oracle(crisis),
    }
    supporter = side(lambda messages: by_opening[messages[0].text](messages))
    found = samples(run(task(people, turns=12), supporter, tmp_path))
    talks = {talk.persona: talk for talk in map(talk_of, found)}
    assert {id: talk.ending for id, talk in talks.items()} == {
        content.id: Ending.SATISFIED,
        angry.id: Ending.GAVE_UP,
        silent.id: Ending.MODEL_ERROR,
        crisis.id: Ending.CRISIS_HANDOFF,
    }
    assert talks[content.id].relief >= 1.5
    assert talks[angry.id].relief < 0
    assert talks[silent.id].failure == "an empty reply in turn 1 (stop reason stop)"
    assert [turn.text for turn in talks[silent.id].turns] == [silent.opening]
    assert {talk.failure for talk in talks.values() if talk.ending.is_scored} == {None}


def test_the_turn_limit_ends_with_a_reply_that_is_felt(tmp_path: Path) -> None:
    people = write_people(tmp_path / "people.jsonl", make_strangers(1))
    [sample] = samples(run(task(people, turns=3), side(lambda messages: KIND), tmp_path))
    talk = talk_of(sample)
    assert talk.ending is Ending.TURN_LIMIT
    assert len(talk.turns) == len(talk.emotion) == 3 + 1
    assert talk.turns[-1].text == ""
    assert talk.turns[-1].appraisal is not None
    assert [m.role for m in sample.messages] == ["user", "assistant"] * 3


def test_a_user_that_fails_twice_ends_it_as_an_error(people: Path, tmp_path: Path) -> None:
    supporter, player = saying(KIND), saying("As an AI, I cannot feel.")
    log = run(task(people, user="model", appraisal="rules"), supporter, tmp_path, user=player)
    assert (len(supporter.asked), len(player.asked)) == (1, 2)
    talk = the_talk(log)
    assert talk.ending is Ending.USER_ERROR
    assert talk.failure is not None
    assert talk.failure.startswith("role break: speaks as an assistant")
    assert unscored(samples(log)[0])


# Who speaks when.


def test_nobody_leaves_before_min_turns(people: Path, tmp_path: Path) -> None:
    supporter = saying(HOSTILE)
    the_talk(run(task(people, min_turns=5), supporter, tmp_path))
    assert len(supporter.asked) == 5


@pytest.mark.parametrize(("turns", "least"), [(0, 0), (0, 1), (3, 4), (2, 0), (-1, -1)])
def test_lengths_that_make_no_conversation_are_refused(
    people: Path, turns: int, least: int
) -> None:
    with pytest.raises(DataError, match=rf"turns={turns}, min_turns={least}: .*1 <= min_turns"):
        task(people, turns=turns, min_turns=least)


def test_one_turn_is_a_conversation() -> None:
    Length(1, 1).check()


def test_bad_news_come_after_the_reply_that_was_named(people: Path, tmp_path: Path) -> None:
    log = run(task(people, turns=4, min_turns=4, disturb_at=2), saying(KIND), tmp_path)
    talk, [sample] = the_talk(log), samples(log)
    news = make_row()["lines"]["bad_news"][0]
    said = [m.text for m in sample.messages if m.role == "user"]
    assert [news in text for text in said] == [False, False, True, False]
    assert [turn.is_disturbed for turn in talk.turns] == [False, False, True, False, False]


def test_the_record_agrees_with_the_messages(talks: Talks) -> None:
    for sample in samples(talks.log):
        talk = talk_of(sample)
        assert len(talk.emotion) == len(talk.trust) == len(talk.turns)
        assert talk.emotion == tuple(turn.mood.intensity for turn in talk.turns)
        assert talk.trust == tuple(turn.mood.trust for turn in talk.turns)
        replies = [m.text for m in sample.messages if m.role == "assistant"]
        said = [m.text for m in sample.messages if m.role == "user"]
        assert len(replies) == len(talk.turns) - 1
        assert said == [turn.text for turn in talk.turns if turn.text]
        assert talk.turns[0].appraisal is None
        assert all(turn.appraisal for turn in talk.turns[1:])
        assert [turn.ending for turn in talk.turns[:-1]] == [None] * (len(talk.turns) - 1)
        assert talk.turns[-1].ending in (talk.ending, None)
        assert talk.persona == sample.id
        assert sample.scores is not None
        value = sample.scores["user_outcome"].value
        assert isinstance(value, dict)
        assert value["relief"] == pytest.approx(talk.emotion[0] - talk.emotion[-1], abs=0.001)
        assert value["turns"] == len(replies)
        assert [value[e] for e in ("satisfied", "gave_up", "turn_limit", "crisis_handoff")].count(
            1
        ) == 1
        assert value[talk.ending.value] == 1


# What the supporter sees.


def private_words(row: dict[str, Any]) -> list[str]:
    liked = [p["text"] for p in (*row["helps"], *row["hurts"])]
    return [row["situation"], row["occupation"], row["interest"], row["need"], *liked]


@pytest.mark.parametrize(
    ("row", "kind"),
    [(make_row(), "scripted"), (make_crisis_row(), "model"), (make_zh_row(), "model")],
)
def test_the_supporter_sees_words_and_nothing_private(
    row: dict[str, Any], kind: Any, tmp_path: Path
) -> None:
    people = write_people(tmp_path / "people.jsonl", [row])
    supporter, spoken = saying(KIND), iter(f"I said it {n} times." for n in range(99))
    appraisal = json.dumps(
        {
            "reason": "a secret thought",
            "emotion_change": -0.123,
            "trust_change": 0.077,
            "met_need": False,
            "tell": 0,
            "leave": None,
        }
    )
    player = side(lambda messages: appraisal if "JSON" in messages[0].text else next(spoken))
    log = run(
        task(people, user=kind, language=row["language"], turns=4, task_prompt="Be a peer."),
        supporter,
        tmp_path / "logs",
        user=player if kind == "model" else None,
    )
    [sample] = samples(log)
    seen = [message for messages, _ in supporter.asked for message in messages]
    assert len(supporter.asked) >= 3
    assert {m.text for m in seen if m.role == "system"} == {"Be a peer."}
    assert all(messages[0].role == "system" for messages, _ in supporter.asked)
    texts = [m.text for m in (*seen, *sample.messages)] + [m.model_dump_json() for m in seen]
    for words in [*private_words(row), "secret", "0.123", "0.077", "intensity", "emotion"]:
        assert not [text for text in texts if words in text], words
    assert {m.role for m in seen} == {"system", "user", "assistant"}


# The same again.


def told(log: EvalLog) -> list[list[tuple[str | None, str, str]]]:
    return [[(m.id, m.role, m.text) for m in sample.messages] for sample in samples(log)]


def test_the_same_run_gives_the_same_messages(
    talks: Talks, strangers: Path, tmp_path: Path
) -> None:
    supporter = alternating()
    again = run(task(strangers, epochs=2), supporter, tmp_path, max_samples=7)
    first = told(talks.log)
    assert first == told(again)
    assert [talk_of(a) for a in samples(talks.log)] == [talk_of(b) for b in samples(again)]
    ids = [id for messages in first for id, _, _ in messages]
    assert len(ids) == len(set(ids))
    assert None not in ids
    seeds = [
        sorted(config.seed or 0 for _, config in s.asked) for s in (talks.supporter, supporter)
    ]
    assert seeds[0] == seeds[1]
    # another seed for every person, epoch and turn
    assert len(set(seeds[0])) == len(seeds[0]) > 20


def test_epochs_say_it_in_other_words(talks: Talks) -> None:
    said = {(s.id, s.epoch): [t.text for t in talk_of(s).turns] for s in samples(talks.log)}
    people = {id for id, _ in said}
    assert len(said) == 2 * len(people) == 10
    assert any(said[id, 1] != said[id, 2] for id in people)


# Failures of the infrastructure.


def test_a_reply_that_fails_is_tried_exactly_twice(strangers: Path, tmp_path: Path) -> None:
    raising, empty, filtered, *_ = load_personas(strangers)

    def reply(messages: list[ChatMessage]) -> str | ModelOutput:
        if messages[0].text == raising.opening:
            raise RuntimeError("503 from the provider")
        return output("", "stop") if messages[0].text == empty.opening else output("No.", CUT)

    broken = side(reply)
    found = samples(run(task(strangers, limit_users=3), broken, tmp_path))
    asked = [messages[0].text for messages, _ in broken.asked]
    assert sorted(asked) == sorted([p.opening or "" for p in (raising, empty, filtered)] * 2)
    assert [talk_of(sample).ending for sample in found] == [Ending.MODEL_ERROR] * 3
    assert all(map(unscored, found))
    assert {str(s.id): (talk_of(s).failure or "").split(" (")[0] for s in found} == {
        raising.id: "RuntimeError: 503 from the provider",
        empty.id: "an empty reply in turn 1",
        filtered.id: "refused by the provider's content filter",
    }


def test_a_supporter_that_raises_once_is_scored(people: Path, tmp_path: Path) -> None:
    log = run(task(people, turns=3), failing(1), tmp_path / "a")
    clean = run(task(people, turns=3), saying(KIND), tmp_path / "b")
    assert told(log) == told(clean)
    assert the_talk(log) == the_talk(clean)
    assert metrics(log)["relief"]["mean"] == metrics(clean)["relief"]["mean"]


def test_a_user_that_fails_once_is_scored(people: Path, tmp_path: Path) -> None:
    words = iter(["", "One.", "Two.", "Three."])
    player = side(lambda messages: next(words))
    args: dict[str, Any] = {"user": "model", "appraisal": "rules", "turns": 3, "min_turns": 3}
    log = run(task(people, **args), saying(KIND), tmp_path, user=player)
    talk = the_talk(log)
    assert [turn.text for turn in talk.turns[1:3]] == ["One.", "Two."]
    assert not unscored(samples(log)[0])


def unscored(sample: EvalSample) -> bool:
    assert sample.scores is not None
    value = sample.scores["user_outcome"].value
    assert isinstance(value, dict)
    return all(math.isnan(float(str(value[name]))) for name in MEASURES)


def test_failures_are_counted_and_stand_in_no_mean(strangers: Path, tmp_path: Path) -> None:
    cards: list[Persona] = list(load_personas(strangers))
    broken = cards[0].opening or ""

    def reply(messages: list[ChatMessage]) -> str:
        return "" if messages[0].text == broken else HOSTILE

    log = run(task(strangers), side(reply), tmp_path)
    found = metrics(log)
    # by hand: the others all lose at least this much, and a zero would pull the mean up
    relief = [talk_of(s).relief for s in samples(log) if s.id != cards[0].id]
    assert len(relief) == 4
    assert found["relief"]["mean"] == pytest.approx(sum(relief) / 4, abs=0.001)
    assert found["gave_up"]["mean"] == 1
    assert found["model_error"]["mean"] == pytest.approx(1 / 5)
    assert found["user_error"]["mean"] == 0


def test_errors_of_the_user_are_counted_over_all_epochs(strangers: Path, tmp_path: Path) -> None:
    broken = load_personas(strangers)[1].opening or ""
    n_said = iter(range(999))

    def speak(messages: list[ChatMessage]) -> str:
        number = next(n_said)
        return "" if any(broken in m.text for m in messages) else f"I said it {number} times."

    log = run(
        task(strangers, user="model", appraisal="rules", epochs=2, turns=3),
        saying(KIND),
        tmp_path,
        user=side(speak),
    )
    assert metrics(log)["user_error"]["mean"] == pytest.approx(2 / 10)
    assert metrics(log)["model_error"]["mean"] == 0
    endings = [talk_of(sample).ending for sample in samples(log)]
    assert endings.count(Ending.USER_ERROR) == 2


def test_without_a_user_model_there_is_no_self_play(people: Path, tmp_path: Path) -> None:
    supporter = saying(KIND)
    log = run(task(people, user="model"), supporter, tmp_path)
    assert log.status == "error"
    assert log.error is not None
    assert "user" in log.error.message
    assert supporter.asked == []


def test_a_limit_of_the_eval_is_no_error_of_the_model(people: Path, tmp_path: Path) -> None:
    [log] = eval(
        task(people, min_turns=8),
        model=saying(KIND).model,
        log_dir=str(tmp_path),
        display="none",
        token_limit=3,
    )
    [sample] = log.samples or []
    assert sample.limit is not None
    assert sample.limit.type == "token"
    assert conversation_of(sample.store) is None


def test_a_log_that_was_made_before_the_record_was_text_is_read(
    people: Path, tmp_path: Path
) -> None:
    [sample] = samples(run(task(people), saying(KIND), tmp_path))
    assert isinstance(sample.store["conversation"], str)
    older = {"conversation": json.loads(sample.store["conversation"])}
    assert conversation_of(older) == talk_of(sample)
