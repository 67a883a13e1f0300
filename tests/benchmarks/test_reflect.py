import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
)

from benchmarks.reflect import (
    EMOTIONS,
    MAX_SITUATION_WORDS,
    NEEDS,
    PERSONALITIES,
    QUESTIONS,
    Reflection,
    ReflectionFailed,
    extract_situation,
    label_scores,
    parse_reflection,
    reflect_by_generation,
    reflect_by_labels,
)

from .fakes import answering, fake, output

T = TypeVar("T")

VALID = {
    "personality": {"value": "worried", "evidence": "I always think of the worst."},
    "emotion": {"value": "fear", "evidence": "I am scared."},
    "situation": {"value": "The dog ran away.", "evidence": "My dog ran away."},
    "need": {"value": "comfort", "evidence": "I am scared."},
}
DIALOGUE: list[ChatMessage] = [
    ChatMessageUser(content="My dog ran away."),
    ChatMessageAssistant(content="When?"),
    ChatMessageUser(content="Today. I am scared."),
]


def wait(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def without(*path: str) -> dict[str, Any]:
    changed = json.loads(json.dumps(VALID))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    del parent[path[-1]]
    return cast(dict[str, Any], changed)


def with_value(value: object, *path: str) -> dict[str, Any]:
    changed = json.loads(json.dumps(VALID))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return cast(dict[str, Any], changed)


# labels


def test_a_label_is_weighed_against_the_empty_dialogue() -> None:
    logps = {
        ("My dog ran away.", "Sadness"): -1.0,  # likely here, but the model likes it anyway
        ("...", "Sadness"): -1.25,
        ("My dog ran away.", "Anger"): -2.0,
        ("...", "Anger"): -5.0,
    }
    question = QUESTIONS["emotion"]
    api = fake(lambda prefix, word: logps[prefix.removesuffix(f"\n\n{question}"), word]).api
    scores = wait(label_scores(api, "My dog ran away.", question, ["sadness", "anger"]))
    assert scores == {"sadness": 0.25, "anger": 3.0}


def test_a_label_of_several_tokens_is_their_sum() -> None:
    api = fake(lambda prefix, word: -2.0 if prefix.startswith("...") else -0.5).api
    scores = wait(label_scores(api, "Hi", "What?", ["to be listened to"]))
    assert scores == {"to be listened to": 4 * 1.5}


def likes(**favourites: str) -> Callable[[str, str], float]:
    """Each favourite label is likely after words that hold its keyword; "empty" words tell nothing.

    Every label has a level of its own, so that raw likelihood alone would choose wrongly.
    """

    def likelihood(prefix: str, word: str) -> float:
        level = -1.0 - len(word)
        for keyword, label in favourites.items():
            if keyword in prefix and label.capitalize().split()[0] == word:
                return level + 3 * prefix.count(keyword)
        return level

    return likelihood


def test_labels_are_found_with_the_words_they_rest_on() -> None:
    api = fake(likes(ran="fear", worst="worried", alone="comfort")).api
    words = ["My dog ran away.", "I think of the worst.", "I am alone with it."]
    found = wait(reflect_by_labels(api, words))
    assert (found.emotion.value, found.emotion.evidence) == ("fear", words[0])
    assert (found.personality.value, found.personality.evidence) == ("worried", words[1])
    assert (found.need.value, found.need.evidence) == ("comfort", words[2])
    assert found.situation.value == found.situation.evidence == words[1]
    assert found.emotion.value in EMOTIONS
    assert found.personality.value in PERSONALITIES
    assert found.need.value in NEEDS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["Hi there", "My dog ran away.", "ok"], "My dog ran away."),
        (["Hi", "Help"], "Hi\nHelp"),  # nothing tells more
        (["我的狗跑了，我很害怕。", "OK 好 的", "嗯"], "我的狗跑了，我很害怕。\nOK 好 的"),
    ],
)
def test_turns_that_tell_nothing_are_not_asked_about(words: list[str], told: str) -> None:
    api = fake(lambda prefix, word: -1.0).api
    wait(reflect_by_labels(api, words))
    asked_about = {prefix.rsplit("\n\n", 1)[0] for prefix, _ in api.asked}
    assert asked_about == {told, "...", *told.split("\n")}


def test_the_situation_is_the_longest_turn_cut_after_so_many_words() -> None:
    assert extract_situation(["Hi.", "My dog ran away."]) == "My dog ran away."
    assert extract_situation(["so " * 39 + "sad"]) == "so " * 39 + "sad"
    assert extract_situation(["very  " * 60 + "sad"]) == " ".join(["very"] * MAX_SITUATION_WORDS)
    assert extract_situation(["狗" * 60]) == "狗" * MAX_SITUATION_WORDS


# free text


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(VALID),
        f"Here it is:\n```json\n{json.dumps(VALID, indent=2)}\n```\nTake care.",
        json.dumps(with_value("  fear\n", "emotion", "value")),
    ],
)
def test_a_valid_answer_is_read_with_or_without_prose_around_it(text: str) -> None:
    assert parse_reflection(text) == Reflection.model_validate(VALID)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a JSON object"),
        ("I think she is afraid.", "not a JSON object"),
        ("}{", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        (json.dumps(VALID)[:-30], "not valid JSON"),
        (json.dumps(VALID)[:-1] + ', "need": {"value": "x"', "not valid JSON"),
        (json.dumps(VALID) + json.dumps(VALID), "not valid JSON"),
        ('{"personality": ' + '{"a": ' * 5000 + "1" + "}" * 5001, "not valid JSON|field"),
        ('{"personality": ' + "9" * 5000 + "}", "number out of range"),
        (json.dumps(with_value("\ud83d", "emotion", "value")), "not valid JSON"),
        ("{}", "field 'personality': Field required"),
        (json.dumps(without("need")), "field 'need': Field required"),
        (json.dumps(without("need", "evidence")), "field 'need.evidence': Field required"),
        (json.dumps(with_value("fear", "emotion")), "field 'emotion'"),
        (json.dumps(with_value(3, "emotion", "value")), "field 'emotion.value': .* string"),
        (json.dumps(with_value(None, "emotion", "value")), "field 'emotion.value': .* string"),
        (json.dumps(with_value("", "emotion", "value")), "field 'emotion.value': .* at least 1"),
        (json.dumps(with_value(" ", "emotion", "value")), "field 'emotion.value': .* at least 1"),
        (json.dumps(with_value("x", "mood")), "field 'mood': Extra"),
        (json.dumps(with_value(0.9, "emotion", "score")), "field 'emotion.score': Extra"),
    ],
)
def test_anything_else_fails_and_says_why(text: str, told: str) -> None:
    with pytest.raises(ReflectionFailed, match=told):
        parse_reflection(text)


class Answers:
    """A model that gives these answers in turn, and what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.left = list(texts)
        self.asked: list[list[ChatMessage]] = []

    def model(self) -> Model:
        return answering(self._next)

    def _next(self, messages: list[ChatMessage]) -> ModelOutput:
        self.asked.append(messages)
        return output(self.left.pop(0), "stop")


def reflect(answers: Answers, principles: str = "Be kind.") -> Reflection:
    return wait(
        reflect_by_generation(answers.model(), DIALOGUE, principles, GenerateConfig(max_tokens=9))
    )


def test_a_good_answer_needs_one_call() -> None:
    answers = Answers(json.dumps(VALID))
    assert reflect(answers) == Reflection.model_validate(VALID)
    [[system, user]] = answers.asked
    assert "Be kind." in system.text
    assert "{principles}" not in system.text
    assert user.text == "Person: My dog ran away.\nSupporter: When?\nPerson: Today. I am scared."


def test_a_bad_answer_is_repaired_once_with_the_complaint() -> None:
    answers = Answers(json.dumps(without("need")), json.dumps(VALID))
    assert reflect(answers) == Reflection.model_validate(VALID)
    first, second = answers.asked
    assert [m.text for m in second[:2]] == [m.text for m in first]
    assert second[2].text == json.dumps(without("need"))
    assert second[3].text.startswith("the reflection's field 'need': Field required. Answer")


def test_a_second_bad_answer_is_a_failure_with_its_own_reason() -> None:
    answers = Answers("{}", "I would rather not.", json.dumps(VALID))
    with pytest.raises(ReflectionFailed, match="not a JSON object"):
        reflect(answers)
    assert len(answers.asked) == 2


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            ("profile", "emotion", "situation"),
            "The dog ran away. I feel fear. I am a worried person and I need comfort.",
        ),
        (("emotion",), "I feel fear."),
        (("profile", "situation"), "The dog ran away. I am a worried person and I need comfort."),
        ((), ""),
    ],
)
def test_an_ablation_leaves_out_parts_of_the_text(parts: tuple[str, ...], text: str) -> None:
    assert Reflection.model_validate(VALID).text(parts) == text
