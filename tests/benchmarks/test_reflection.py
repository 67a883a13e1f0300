import json
from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as inspect_eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, EvalScore
from inspect_ai.model import ChatMessage, ModelOutput
from inspect_ai.scorer import Score

from benchmarks.card_match import emotion_of
from benchmarks.contexts import Context
from benchmarks.errors import DataError
from benchmarks.heldout import write_contexts
from benchmarks.reflect import EMOTIONS
from benchmarks.reflection import VERSION, reflection

from .fakes import answering, fake, make_context, output, run
from .people import make_row, make_strangers, make_zh_row, write_people

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


def test_an_emotion_may_be_named_in_other_words(contexts: Path, tmp_path: Path) -> None:
    """The prompt lists no labels."""
    log, _ = generated(contexts, tmp_path, lambda messages: answer("Scared and worried"))
    scores = {s.metadata["dialogue_id"]: s.scores["emotion_recognised"] for s in log.samples or []}
    assert (scores["ann"].value, scores["ben"].value) == (1, 0)  # fear, and anger


@pytest.mark.parametrize("label", EMOTIONS)
def test_each_label_names_itself(label: str) -> None:
    assert emotion_of(label) == label


def test_a_reflection_that_a_limit_cut_off_is_none(tmp_path: Path) -> None:
    people = [person(f"en-s{number}") for number in range(4)]
    task = task_of(tmp_path, *people, strategy="generate")
    [log] = inspect_eval(
        task,
        model=answering(lambda messages: output(inferred(), "stop")),
        token_limit=1,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )
    assert log.status == "success", log.error
    assert {s.value for s in scores_of(log, "reflection_failed").values()} == {1}
    assert {s.reason for s in scores_of(log).values()} == {"cut off by a limit of the eval"}


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


# --- simulated people ---------------------------------------------------------------------------

NOTHING_KNOWN = {"emotion": None, "need": None, "big_five": None}
RIGHT = {
    "personality": "a reserved night porter",
    "emotion": "shame",
    "situation": make_row()["situation"],
    "need": "comfort",
}
"""What the card of `people.ENGLISH` says."""


def inferred(**changes: str) -> str:
    """A whole reflection as JSON: all of it right, but for the changes."""
    fields = {**RIGHT, **changes}
    return json.dumps({name: {"value": text, "evidence": "y"} for name, text in fields.items()})


def task_of(folder: Path, *rows: Mapping[str, object], **options: Any) -> Task:
    file = write_people(folder / "people.jsonl", rows)
    options = {"split": None, "users": str(file), **options}
    return reflection(source="personas", **options)


def scores_of(log: EvalLog, scorer: str = "person_recognised") -> dict[str, Score]:
    assert log.status == "success", log.error
    return {str(s.id): s.scores[scorer] for s in log.samples or [] if s.scores}


def results_of(log: EvalLog) -> dict[str, EvalScore]:
    assert log.results is not None
    return {score.name: score for score in log.results.scores}


def said(sample: Sample) -> list[str]:
    assert isinstance(sample.input, list)
    return [f"{m.role}: {m.text}" for m in sample.input]


@pytest.mark.parametrize("turns", [1, 3, 7, 20])
def test_everyone_tells_their_own_facts_and_a_hint_to_a_neutral_supporter(
    tmp_path: Path, turns: int
) -> None:
    row = make_row()
    first = next(iter(task_of(tmp_path, row, *make_strangers(3), turns=turns).dataset))
    told = [row["opening"], *(fact["text"] for fact in row["disclosure"])][:turns]
    told[-1] += " Everybody I know would call me a fool."
    assert said(first)[::2] == [f"user: {text}" for text in told]
    neutral = ["assistant: I'm listening.", "assistant: Go on."] * 3
    assert said(first)[1::2] == neutral[: len(told) - 1]
    assert first.metadata is not None
    assert first.metadata["turns"] == len(told) == min(turns, 7)


def test_a_sample_is_the_person_with_card_and_controls(tmp_path: Path) -> None:
    strangers = make_strangers(4)
    samples = list(task_of(tmp_path, *strangers, make_row()).dataset)
    last = samples[-1]
    assert last.id == "en-901"
    assert last.metadata is not None
    assert last.metadata["persona"] == "en-901"
    assert (last.metadata["need"], last.metadata["emotion"]) == ("validate", "shame")
    assert last.metadata["big_five"] == make_row()["big_five"]
    assert last.metadata["situation"] == make_row()["situation"]
    others = [row["situation"] for row in strangers]
    assert last.metadata["other_situations"] == others[:3]
    assert samples[2].metadata is not None
    assert samples[2].metadata["other_situations"] == [
        others[3],
        make_row()["situation"],
        others[0],
    ]


def test_a_card_without_opening_or_lines_begins_with_its_facts(tmp_path: Path) -> None:
    row = {k: v for k, v in make_row().items() if k not in ("opening", "lines")}
    first = next(iter(task_of(tmp_path, row, *make_strangers(3), turns=2).dataset))
    assert said(first) == [
        f"user: {row['disclosure'][0]['text']}",
        "assistant: I'm listening.",
        f"user: {row['disclosure'][1]['text']}",
    ]


def test_labels_are_compared_with_the_card(tmp_path: Path) -> None:
    row = make_row(opening=RIGHT["situation"])
    row["lines"]["hints"] = ["And so on."]
    named = {"Otto": {"Reserved", "Shame", "Comfort"}, "fool": {"Calm", "Anger", "Advice"}}

    def likelihood(prefix: str, answer: str) -> float:
        return -1.0 if any(w in prefix and answer in named[w] for w in named) else -5.0

    task = task_of(tmp_path, row, *make_strangers(3), turns=1)
    log = run(task, fake(likelihood).model, tmp_path / "logs")
    scores = scores_of(log)
    # the situation is quoted: the card's, and a hint without a content word
    assert scores["en-901"].value == {"need": 1, "emotion": 1, "personality": 1, "situation": 1}
    stranger = scores["en-s0"].value
    assert stranger == {"need": 0, "emotion": 0, "personality": 0, "situation": 0}
    results = results_of(log)
    assert results["need"].metrics["mean"].value == pytest.approx(1 / 4)
    assert results["emotion"].metrics["mean"].value == pytest.approx(1 / 4)
    assert results["need"].metrics["need_chance"].value == pytest.approx(1 / 6)
    assert results["emotion"].metrics["chance"].value == pytest.approx(1 / 10)
    assert results["need"].metrics["need_majority"].value == 1  # strangers have the same card
    assert results["emotion"].metrics["majority"].value == 1
    # of ten poles, the low extraversion of all four
    assert results["personality"].metrics["trait_majority"].value == 1
    assert results["reflection_failed"].metrics["failed_share"].value == 0
    assert log.results is not None
    assert log.results.headline is not None
    assert (log.results.headline.score, log.results.headline.metric) == ("need", "mean")
    assert log.eval.task_version == VERSION == "3-A"
    assert log.eval.viewer is not None
    assert not log.eval.viewer.trust_content


def generated_persons(
    tmp_path: Path, replies: Mapping[str, list[str]], *rows: Mapping[str, object], **options: Any
) -> EvalLog:
    """Each person is known by a word of theirs; the replies come one after the other."""
    left = {word: list(texts) for word, texts in replies.items()}

    def respond(messages: list[ChatMessage]) -> ModelOutput:
        [word] = [word for word in left if word in messages[1].text]
        return output(left[word].pop(0), "stop")

    log = run(
        task_of(tmp_path, *rows, strategy="generate", **options),
        answering(respond),
        tmp_path / "logs",
    )
    assert not any(left.values())
    return log


def person(id: str, **changes: Any) -> dict[str, Any]:
    """Somebody with the card of `people.ENGLISH`, whose first words are the id."""
    return {**make_strangers(1)[0], "id": id, "opening": f"{id} here.", **changes}


def test_what_cannot_be_compared_is_no_number(tmp_path: Path) -> None:
    situation = "Otto lost the deposit."  # nobody else has a word of it
    log = generated_persons(
        tmp_path,
        {
            "ann": [inferred(situation=situation)],
            "ben": [inferred(need="emotional support", emotion="overwhelmed", personality="tall")],
            "cai": ["I feel with you.", inferred(need="to be listened to", situation="Hard.")],
            "dot": ["I feel with you.", "Still no JSON."],
            "eve": [inferred(situation="母亲住进了养老院")],
        },
        person("ann", situation=situation),
        person("ben", need="advise", big_five={**make_row()["big_five"], "extraversion": None}),
        person("cai"),
        person("dot", emotion="anger"),
        person("eve", **NOTHING_KNOWN),
    )
    scores = scores_of(log)
    assert scores["ann"].value == {"need": 1, "emotion": 1, "personality": 1, "situation": 1}
    ben, cai, eve = (scores[who].value for who in ("ben", "cai", "eve"))
    assert isinstance(ben, dict) and isinstance(cai, dict) and isinstance(eve, dict)
    assert isnan(float(str(ben["need"])))
    assert ben["emotion"] == 0  # as for human dialogues: a word that is no label is wrong
    assert isnan(float(str(ben["personality"])))
    assert "need: none of the known needs is named in 'emotional support'" in str(
        scores["ben"].explanation
    )
    assert cai == {"need": 0, "emotion": 1, "personality": 1, "situation": 0}
    assert all(isnan(float(str(value))) for value in eve.values())
    assert str(scores["eve"].explanation).splitlines() == [
        "need: the card does not say",
        "emotion: the card does not say",
        "personality: the card does not say how much extraversion",
        "situation: told in another language than the card, no words to compare",
    ]
    dot = scores["dot"]
    assert isinstance(dot.value, float) and isnan(dot.value)
    assert dot.reason == "the reflection is not a JSON object"

    results = results_of(log)
    n_scored = {name: (r.scored_samples, r.unscored_samples) for name, r in results.items()}
    assert n_scored["need"] == (2, 3)
    assert n_scored["emotion"] == (3, 2)
    assert n_scored["personality"] == (2, 3)
    means = {name: r.metrics["mean"].value for name, r in results.items() if "mean" in r.metrics}
    assert means["need"] == pytest.approx(1 / 2)
    assert means["emotion"] == pytest.approx(2 / 3)
    assert means["personality"] == 1
    assert results["need"].metrics["stderr"].value == pytest.approx(1 / 2)
    assert results["need"].metrics["need_majority"].value == 1  # of ann and cai
    assert results["personality"].metrics["trait_majority"].value == 1
    assert results["reflection_failed"].metrics["failed_share"].value == pytest.approx(1 / 5)


def test_the_majority_trait_is_the_pole_of_most(tmp_path: Path) -> None:
    poles = ["low", "low", "high", None, None]
    traits = ("openness", "conscientiousness", "extraversion", "agreeableness", "neuroticism")
    rows = [
        person(id, big_five={**dict.fromkeys(traits), "extraversion": pole, "openness": other})
        for id, pole, other in zip(
            ("ann", "ben", "cai", "dot", "eve"),
            poles,
            (None, None, "high", None, None),
            strict=True,
        )
    ]
    replies = {row["id"]: [inferred()] for row in rows}
    results = results_of(generated_persons(tmp_path, replies, *rows))
    assert results["personality"].scored_samples == 3  # the majority is of these
    assert results["personality"].metrics["mean"].value == pytest.approx(2 / 3)
    assert results["personality"].metrics["trait_majority"].value == pytest.approx(2 / 3)


def test_chinese_people_in_chinese(tmp_path: Path) -> None:
    situations = [make_zh_row()["situation"], "猫走丢了", "考试没过", "工资拖欠"]
    rows = [
        make_zh_row(f"zh-{number}", situation=text, opening=f"我是{number}号。")
        for number, text in enumerate(situations)
    ]
    right = {
        "personality": "内向的钢琴师傅",
        "emotion": "内疚",
        "situation": situations[0],
        "need": "有人听他说完，不要建议",
    }
    other = {**right, "need": "安慰", "situation": "日子难", "personality": "很焦虑"}
    log = generated_persons(
        tmp_path,
        {"0号": [inferred(**right)], **{f"{n}号": [inferred(**other)] for n in (1, 2, 3)}},
        *rows,
        language="zh",
        turns=2,
    )
    scores = scores_of(log)
    assert scores["zh-0"].value == {"need": 1, "emotion": 1, "personality": 1, "situation": 1}
    assert scores["zh-1"].value == {"need": 0, "emotion": 1, "personality": 0, "situation": 0}
    assert log.samples is not None
    messages = log.samples[0].input
    assert isinstance(messages, list)
    assert [m.text for m in messages] == [
        "我是0号。",
        "我在听。",
        "上个月送我妈进去的，行李就一只箱子。家里没人肯坐下来。",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"turns": 0}, "turns=0: tells nothing"),
        ({"contexts": "c.jsonl"}, "contexts=c.jsonl: is not read with source=personas"),
        ({"path": "esconv"}, "path=esconv: is not read with source=personas"),
        ({"split": "dev"}, "split=dev"),
        ({"language": "zh"}, "nobody is left"),
    ],
)
def test_what_personas_cannot_do_is_said(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        task_of(tmp_path, *make_strangers(4), **options)


def test_a_control_needs_three_others(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 3 people, each of whom is compared with 3 others"):
        task_of(tmp_path, *make_strangers(3))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_shipped_people_can_be_reflected_on(language: str) -> None:
    task = reflection(source="personas", language=language, split="gate")  # type: ignore[arg-type]
    assert len(task.dataset) > 3
    assert all(len(said(sample)) == 7 for sample in task.dataset)
