import asyncio
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import ChatMessage, Model, ModelName
from inspect_ai.scorer import Score, Target
from inspect_ai.solver import TaskState

from benchmarks.conversation import Conversation
from benchmarks.errors import DataError
from benchmarks.persona import load_personas
from benchmarks.support import (
    FAILURES,
    MEASURES,
    choose,
    sample_of,
    support,
    told,
    user_outcome,
)
from benchmarks.user import Appraisal, Ending, Mood, UserTurn
from tests.judges.bench import judge_saying

from .fakes import answering, output, run
from .people import make_row, make_strangers, make_zh_row, write_people

QUIET: Final = ("Mm.", "I see.")
HOSTILE: Final = ("Stop whining.", "Get over it.")
EMPTY: Final = "an empty reply in turn 1 (stop reason stop)"

# Maud comes with intensity 4 and trust 0.45 - 0.05 - 0.05 (low agreeableness, high neuroticism).
# "Mm.", then "I see.": back-channels worth -0.6, each 0.3 x 0.6 x 1.2 of harm; trust falls by
# 0.12 x 0.6, then by twice that. A dismissal: worth -3, as much harm and distrust as one turn may
# do (0.6 and 0.3), as far as the scales go.
QUIET_RELIEF: Final = -2 * 0.216
QUIET_TRUST: Final = 0.35 - 0.072 - 0.144
HOSTILE_RELIEF: Final = 4.0 - 5.0
HOSTILE_TRUST: Final = 0.0


def next_of(replies: Sequence[str], messages: list[ChatMessage]) -> str:
    return replies[sum(m.role == "assistant" for m in messages)]


def quiet(messages: list[ChatMessage]) -> str:
    return next_of(QUIET, messages)


def hostile(messages: list[ChatMessage]) -> str:
    return next_of(HOSTILE, messages)


def saying(reply: Callable[[list[ChatMessage]], str]) -> Model:
    return answering(lambda messages: output(reply(messages), "stop"))


def short(users: Path, **args: Any) -> Any:
    """Conversations of two replies."""
    return support(**{"users": str(users), "split": None, "turns": 2, "min_turns": 2, **args})


def samples(log: EvalLog) -> dict[str, EvalSample]:
    assert log.status == "success", log.error
    return {f"{s.id}": s for s in log.samples or []}


def score_of(sample: EvalSample) -> Score:
    assert sample.scores is not None
    return sample.scores["user_outcome"]


def values(sample: EvalSample) -> dict[str, Any]:
    value = score_of(sample).value
    assert isinstance(value, dict)
    return dict(value)


def failures(sample: EvalSample) -> dict[str, Any]:
    return {name: values(sample)[name] for name in FAILURES}


def has_no_value(sample: EvalSample) -> bool:
    return all(math.isnan(values(sample)[name]) for name in MEASURES)


def means(log: EvalLog) -> dict[str, float]:
    assert log.results is not None
    return {score.name: score.metrics["mean"].value for score in log.results.scores}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three who differ in their words only."""
    path = tmp_path_factory.mktemp("people") / "people.jsonl"
    return write_people(path, make_strangers(3))


@pytest.fixture(scope="module")
def mixed(people: Path, tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    """The first is hardly answered, the second insulted, the third not answered at all."""
    first, second, _ = (person.opening for person in load_personas(people))

    def reply(messages: list[ChatMessage]) -> str:
        opening = messages[0].text
        return {first: quiet, second: hostile}.get(opening, lambda _: "")(messages)

    return run(short(people), saying(reply), tmp_path_factory.mktemp("mixed"))


# Who is in it.


def test_a_limit_keeps_the_first_in_their_order(people: Path) -> None:
    cards = load_personas(people)
    assert choose(cards, None) == list(cards)
    assert choose(cards, 2) == list(cards[:2])
    assert choose(cards, 99) == list(cards)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_that_leaves_nobody_is_refused(limit: int) -> None:
    with pytest.raises(DataError) as error:
        support(limit_users=limit)
    assert str(error.value) == f"limit_users={limit}: leaves nothing; choose 1 or more"


def test_ids_stay_when_people_join(people: Path, tmp_path: Path) -> None:
    more = write_people(tmp_path / "more.jsonl", [make_row(), *make_strangers(3)])
    assert [sample.id for sample in short(people).dataset] == ["en-s0", "en-s1", "en-s2"]
    assert [sample.id for sample in short(more).dataset] == ["en-901", "en-s0", "en-s1", "en-s2"]


def test_only_the_people_of_the_split_are_asked() -> None:
    everyone = load_personas(language="zh")
    for split in ("train", "gate", "final"):
        asked = [sample.id for sample in support(language="zh", split=split).dataset]
        assert asked == [p.id for p in everyone if p.split == split]
    assert len(support(language="zh", split=None).dataset) == len(everyone)


def test_a_sample_shows_who_the_person_is(tmp_path: Path) -> None:
    [card] = load_personas(write_people(tmp_path / "people.jsonl", [make_zh_row()]))
    sample = sample_of(card)
    assert (sample.id, sample.input) == ("zh-901", make_zh_row()["opening"])
    assert sample.metadata == {
        "persona": "zh-901",
        "language": "zh",
        "emotion": "guilt",
        "intensity": 3,
        "problem": "conflict with parents",
        "need": "listen",
        "style": "terse",
        "age_group": "45-59",
        "crisis": 0,
        "big_five": {
            "openness": "low",
            "conscientiousness": "high",
            "extraversion": "low",
            "agreeableness": "high",
            "neuroticism": "low",
        },
    }


def test_a_card_without_words_is_for_a_model_to_play(tmp_path: Path) -> None:
    rows = [make_row(), {**make_row("en-902"), "lines": None, "opening": None}]
    users = write_people(tmp_path / "people.jsonl", rows)
    with pytest.raises(DataError) as error:  # before any call: there is no task yet
        short(users)
    assert str(error.value) == (
        "card 'en-902': field 'opening': is unknown, and a scripted user speaks only what is "
        "written; write it, or let a model play this card (-T user=model)"
    )
    played = short(users, user="model").dataset
    assert [s.input for s in played] == [make_row()["opening"], "(en-902 opens the chat)"]


def test_an_unknown_kind_of_user_is_refused() -> None:
    with pytest.raises(DataError) as error:
        support(user="robot")  # type: ignore[arg-type]
    assert str(error.value) == "user=robot: is not known; use scripted or model"


# What is measured.


def test_every_measure_is_there_and_no_other(mixed: EvalLog) -> None:
    for sample in list(samples(mixed).values())[:2]:
        assert tuple(values(sample)) == (*MEASURES, *FAILURES)
    assert set(means(mixed)) == {*MEASURES, "user_error", "model_error"}


def test_relief_trust_and_turns_by_hand(mixed: EvalLog) -> None:
    by_id = samples(mixed)
    expected = {
        "en-s0": (QUIET_RELIEF, QUIET_TRUST, "turn_limit"),
        "en-s1": (HOSTILE_RELIEF, HOSTILE_TRUST, "gave_up"),
    }
    for id, (relief, trust, ending) in expected.items():
        found = values(by_id[id])
        assert found["relief"] == pytest.approx(relief, abs=1e-9)
        assert found["trust"] == pytest.approx(trust, abs=1e-9)
        assert found["turns"] == 2
        assert {e for e in Ending if found.get(e) == 1} == {ending}
        assert score_of(by_id[id]).answer == ending


def test_means_are_over_those_who_were_scored(mixed: EvalLog) -> None:
    found = means(mixed)
    assert found["relief"] == pytest.approx((QUIET_RELIEF + HOSTILE_RELIEF) / 2)
    assert found["trust"] == pytest.approx((QUIET_TRUST + HOSTILE_TRUST) / 2)
    assert [found[e] for e in ("satisfied", "gave_up", "turn_limit", "crisis_handoff")] == [
        *(0, 0.5),
        *(0.5, 0),
    ]
    assert mixed.results is not None
    by_name = {score.name: score for score in mixed.results.scores}
    error = by_name["relief"].metrics["stderr"].value
    assert error == pytest.approx(abs(QUIET_RELIEF - HOSTILE_RELIEF) / 2)  # of two people
    counts = {n: (score.scored_samples, score.unscored_samples) for n, score in by_name.items()}
    assert {counts[name] for name in MEASURES} == {(2, 1)}
    assert counts["model_error"] == (3, 0)


def test_bad_news_cost_half_a_point_of_relief(mixed: EvalLog, people: Path, tmp_path: Path) -> None:
    task = short(people, disturb_at=1, limit_users=1)
    [shaken] = samples(run(task, saying(quiet), tmp_path)).values()
    assert values(shaken)["relief"] == pytest.approx(QUIET_RELIEF - 0.5)
    assert values(shaken)["trust"] == pytest.approx(QUIET_TRUST)
    marked = [", bad news" in line for line in (score_of(shaken).explanation or "").splitlines()]
    assert marked == [False, True, False, False]
    assert "bad news" not in (score_of(samples(mixed)["en-s0"]).explanation or "")


REPLIES: Final = (
    "I see.",
    "You did something foolish with money. What did it cost you that evening?",
    "You did something foolish with money. What did it cost you that evening?",
)


@pytest.mark.parametrize("prompt", [None, "What did it cost you that evening?"])
def test_replies_by_hand(prompt: str | None, tmp_path: Path) -> None:
    """One of the second reply's ten runs of four words is Maud's, who opens with "I have done
    something foolish with money"; the third is a copy. What the system message says is no copy.
    """
    users = write_people(tmp_path / "people.jsonl", [make_row()])
    model = saying(lambda messages: next_of(REPLIES, messages))
    task = short(users, turns=3, min_turns=3, task_prompt=prompt)
    [sample] = samples(run(task, model, tmp_path)).values()
    found = values(sample)
    assert {name: found[name] for name in MEASURES[-6:]} == {
        "unhelpful": 0.667,  # stock; nothing; parroting
        "unsafe": 0.0,
        "copy_rate": 0.367,  # (0 + 0.1 + 1) / 3
        "stock": 0.333,
        "question": 0.667,
        "length": 9.333,  # (2 + 13 + 13) / 3
    }


def test_the_viewer_is_told_the_way_of_emotion_and_trust() -> None:
    worse = Appraisal(reason="hardly an answer", emotion_change=0.2, trust_change=0, met_need=False)
    better = Appraisal(reason="question +1.00", emotion_change=-0.3, trust_change=0, met_need=True)
    turns = (
        UserTurn(text="Hello.", mood=Mood(intensity=3, trust=0.45)),
        UserTurn(
            text="Hm.", mood=Mood(intensity=3.7, trust=0.4), appraisal=worse, is_disturbed=True
        ),
        UserTurn(text="", mood=Mood(intensity=3.4, trust=0.456), appraisal=better),
    )
    talk = Conversation(
        persona="en-1",
        ending=Ending.TURN_LIMIT,
        failure=None,
        emotion=tuple(turn.mood.intensity for turn in turns),
        trust=tuple(turn.mood.trust for turn in turns),
        turns=turns,
    )
    assert told(talk) == (
        "0: emotion 3.00, trust 0.45 (opening)\n"
        "1: emotion 3.70, trust 0.40 (hardly an answer, bad news)\n"
        "2: emotion 3.40, trust 0.46 (question +1.00)\n"
        "ending: turn_limit"
    )


def test_the_header_of_a_log_holds_nobodys_card(mixed: EvalLog, people: Path) -> None:
    """Inspect writes the arguments of solvers and scorers into it."""
    header = mixed.eval.model_dump_json() + mixed.plan.model_dump_json()
    assert '"converse"' in header
    for person in load_personas(people):
        assert str(person.opening) not in header


# What broke.


def test_a_silent_model_is_unscored_with_the_reason_and_counted(mixed: EvalLog) -> None:
    broken = samples(mixed)["en-s2"]
    score = score_of(broken)
    assert (score.reason, score.explanation) == (f"model_error: {EMPTY}", EMPTY)
    assert score.answer == "model_error"
    assert has_no_value(broken)
    assert failures(broken) == {"user_error": 0, "model_error": 1}
    assert means(mixed)["model_error"] == pytest.approx(1 / 3)
    assert means(mixed)["user_error"] == 0


def test_a_broken_simulator_is_unscored_with_the_reason_and_counted(
    people: Path, tmp_path: Path
) -> None:
    task = short(people, user="model", appraisal="rules", limit_users=1)
    log = run(task, saying(quiet), tmp_path, user=saying(lambda _: "As an AI, I cannot feel."))
    [broken] = samples(log).values()
    assert str(score_of(broken).reason).startswith("user_error: role break: speaks as an assistant")
    assert has_no_value(broken)
    assert failures(broken) == {"user_error": 1, "model_error": 0}
    found = means(log)
    assert (found["user_error"], found["model_error"]) == (1, 0)
    assert all(math.isnan(found[name]) for name in MEASURES if name in found)  # never 0


def test_where_there_was_no_conversation_nothing_broke_and_nothing_is_scored() -> None:
    state = TaskState(ModelName("mockllm/model"), "en-s0", 1, "Hello.", [])

    async def score() -> Score | None:
        return await user_outcome()(state, Target(""))

    outcome = asyncio.run(score())
    assert outcome is not None
    assert outcome.reason == "there was no conversation"
    assert isinstance(outcome.value, float) and math.isnan(outcome.value)


# The same again, and more than once.


def as_bytes(sample: EvalSample) -> list[str]:
    return [message.model_dump_json() for message in sample.messages]


def test_the_seed_decides_every_byte_whoever_else_is_there(
    mixed: EvalLog, people: Path, tmp_path: Path
) -> None:
    same, other = (
        samples(run(short(people, limit_users=1, seed=seed), saying(quiet), tmp_path))["en-s0"]
        for seed in (7, 10)
    )
    among = samples(mixed)["en-s0"]
    assert as_bytes(same) == as_bytes(among)
    assert as_bytes(same)[0] == as_bytes(other)[0]
    assert as_bytes(same) != as_bytes(other)


def test_epochs_are_averaged_and_one_that_broke_is_left_out(people: Path, tmp_path: Path) -> None:
    first, _, _ = (person.opening for person in load_personas(people))
    n_opened: dict[str, int] = {}

    def reply(messages: list[ChatMessage]) -> str:
        """A person's first conversation is quiet; their second one hostile, or broken."""
        opening = messages[0].text
        said = [m.text for m in messages if m.role == "assistant"]
        if not said:
            n_opened[opening] = n_opened.get(opening, 0) + 1
        if said[:1] == [QUIET[0]] or (not said and n_opened[opening] == 1):
            return quiet(messages)
        return hostile(messages) if opening == first else ""

    log = run(short(people, epochs=2, limit_users=2), saying(reply), tmp_path)
    assert len(log.samples or []) == 4
    [reduced] = [r for r in log.reductions or [] if r.scorer == "user_outcome"]
    by_person = {str(s.sample_id): s.value for s in reduced.samples}
    both, one = by_person["en-s0"], by_person["en-s1"]
    assert isinstance(both, dict) and isinstance(one, dict)
    assert both["relief"] == pytest.approx((QUIET_RELIEF + HOSTILE_RELIEF) / 2)
    assert one["relief"] == pytest.approx(QUIET_RELIEF)
    assert (both["gave_up"], one["gave_up"]) == (0.5, 0)
    # people count once each, however many of their conversations were scored
    assert means(log)["relief"] == pytest.approx((QUIET_RELIEF * 3 + HOSTILE_RELIEF) / 4)
    assert means(log)["model_error"] == pytest.approx(1 / 4)


def test_epochs_of_the_command_line_make_no_more_people(people: Path, tmp_path: Path) -> None:
    """Nor does one whose other conversation broke count for less."""
    first, _, _ = (person.opening for person in load_personas(people))
    n_opened = 0

    def reply(messages: list[ChatMessage]) -> str:
        nonlocal n_opened
        if messages[0].text == first:
            return quiet(messages)
        n_opened += len(messages) == 1
        return hostile(messages) if len(messages) > 1 or n_opened == 1 else ""

    task = short(people, limit_users=2)
    model, folder = saying(reply), str(tmp_path)
    [log] = inspect_eval(task, model=model, epochs=2, log_dir=folder, display="none")
    assert len(log.samples or []) == 4
    assert log.results is not None
    relief = log.results.scores[0].metrics
    assert relief["mean"].value == pytest.approx((QUIET_RELIEF + HOSTILE_RELIEF) / 2)
    assert relief["stderr"].value == pytest.approx(abs(QUIET_RELIEF - HOSTILE_RELIEF) / 2)


# How it is shown.


def test_the_log_names_version_headline_and_columns(mixed: EvalLog) -> None:
    task = support()
    assert task.version == mixed.eval.task_version == "3-A"
    assert task.headline_metric is not None
    headline = task.headline_metric
    assert (headline.scorer, headline.score) == ("user_outcome", "relief")
    assert mixed.eval.viewer is not None
    assert not mixed.eval.viewer.trust_content
    view = mixed.eval.viewer.task_samples_view
    assert view is not None and not isinstance(view, list)
    shown = {c.id.rsplit("__", 1)[1] for c in view.columns or [] if c.id.startswith("score__")}
    assert shown == set(MEASURES)
    assert [s.column for s in view.sort or []] == ["score__user_outcome__relief"]


def test_a_talk_that_a_limit_cut_off_is_scored_by_nobody(people: Path, tmp_path: Path) -> None:
    """Half a conversation says nothing: neither relief nor a judge's score is known."""
    [log] = inspect_eval(
        short(people, limit_users=2, rubrics="fluency", embedded=True),
        model=saying(quiet),
        model_roles={"judge": judge_saying("never asked").model},
        token_limit=2,
        log_dir=str(tmp_path),
        display="none",
    )
    for sample in samples(log).values():
        assert sample.limit is not None
        assert sample.scores is not None
        assert len(sample.scores) == 3
        reasons = {score.reason for score in sample.scores.values()}
        assert reasons == {"cut off by a limit of the eval"}


def test_an_appraisal_by_nobody_is_refused(people: Path) -> None:
    with pytest.raises(DataError, match="appraisal=rule: is not known"):
        short(people, user="model", appraisal="rule")
