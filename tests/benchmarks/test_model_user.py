import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.util import LimitExceededError

from benchmarks.model_user import (
    SPEAK_TOKENS,
    TEMPERATURE,
    AppraisalBy,
    ModelUser,
    flipped,
    parse_appraisal,
)
from benchmarks.persona import Persona
from benchmarks.scripted_user import ScriptedUser
from benchmarks.user import Cue, Ending, UserFailed, start_mood

from .fakes import output
from .people import make_crisis_row, make_row, make_zh_row

GO_ON = Cue(may_end=False, is_last=False, bad_news=False)
MAY_END = Cue(may_end=True, is_last=False, bad_news=False)
OPENING = make_row()["opening"]
REPLY = "What did the landlord say?"
ANSWERED: list[ChatMessage] = [
    ChatMessageUser(content=OPENING),
    ChatMessageAssistant(content=REPLY),
]

Say = Callable[[list[ChatMessage], GenerateConfig], ModelOutput]


class Player:
    """A model that plays a person: one list of answers to appraise with, one to speak with."""

    def __init__(self, *, appraisals: list[Any] = (), spoken: list[Any] = ()) -> None:  # type: ignore[assignment]
        self.appraisals, self.spoken = list(appraisals), list(spoken)
        self.asked: list[tuple[str, list[ChatMessage], GenerateConfig]] = []

    def answer(self, input: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        kind = "appraise" if config.response_schema else "speak"
        self.asked.append((kind, input, config))
        said = (self.appraisals if kind == "appraise" else self.spoken).pop(0)
        if isinstance(said, BaseException):
            raise said
        return said if isinstance(said, ModelOutput) else output(said, "stop")

    @property
    def model(self) -> Model:
        return get_model(
            "mockllm/model",
            custom_outputs=lambda input, tools, tool_choice, config: self.answer(input, config),
            memoize=False,
        )

    def asks(self, kind: str) -> list[list[ChatMessage]]:
        return [messages for asked, messages, _ in self.asked if asked == kind]


def felt(**changes: Any) -> str:
    """A valid appraisal."""
    made = {
        "reason": "it asked",
        "emotion_change": -0.2,
        "trust_change": 0.1,
        "met_need": True,
        "tell": None,
        "leave": None,
    }
    return json.dumps({**made, **changes})


def person(row: dict[str, Any] | None = None, **changes: Any) -> Persona:
    return Persona.model_validate({**(row or make_row()), "split": "train", **changes})


def play(
    player: Player, who: Persona | None = None, *, appraisal: AppraisalBy = "model", epoch: int = 1
) -> ModelUser:
    return ModelUser(who or person(), player.model, appraisal=appraisal, seed=7, epoch=epoch)


def answer(user: ModelUser, cue: Cue = GO_ON, messages: list[ChatMessage] = ANSWERED) -> Any:
    return asyncio.run(user.answer(messages, cue))


def system(messages: list[ChatMessage]) -> str:
    [text] = [m.text for m in messages if m.role == "system"]
    return text


# What the model is asked.


def test_the_card_opens_and_no_model_is_asked() -> None:
    player = Player()
    turn = asyncio.run(play(player).open())
    assert (turn.text, turn.appraisal) == (OPENING, None)
    assert player.asked == []


def test_a_card_without_opening_is_opened_by_the_model() -> None:
    player = Player(spoken=["  Hi, are you\nthere?"])
    assert asyncio.run(play(player, person(opening=None)).open()).text == "Hi, are you there?"
    [[first, second]] = player.asks("speak")
    assert (first.role, second.role) == ("system", "user")


def test_roles_are_flipped_and_the_opening_keeps_its_place() -> None:
    player = Player(appraisals=[felt()], spoken=["Nothing yet."])
    answer(play(player))
    [messages] = player.asks("speak")
    assert [m.role for m in messages] == ["system", "user", "assistant", "user"]
    assert [m.text for m in messages[2:]] == [OPENING, REPLY]
    assert messages[1].text.startswith("(")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_flipped_dialogue_begins_with_the_user_and_alternates(language: Any) -> None:
    dialogue: list[ChatMessage] = [
        ChatMessageAssistant(content=str(n)) if n % 2 else ChatMessageUser(content=str(n))
        for n in range(6)
    ]
    turned = flipped(dialogue, language)
    assert [m.role for m in turned] == ["user", "assistant"] * 3 + ["user"]
    assert [m.text for m in turned[1:]] == list("012345")


def test_the_appraisal_reads_both_sides_in_order_and_what_is_untold() -> None:
    player = Player(appraisals=[felt()], spoken=["Nothing yet."])
    who = person()
    answer(play(player, who))
    [messages] = player.asks("appraise")
    assert messages[1].text == f"You: {OPENING}\nSupporter: {REPLY}"
    assert f"0: {who.disclosure[0].text}\n1: {who.disclosure[1].text}\n" in system(messages)
    assert who.disclosure[2].text not in system(messages)


def test_a_fact_is_told_once_it_was_chosen_and_only_one_in_reach() -> None:
    facts = [fact.text for fact in person().disclosure]
    player = Player(
        appraisals=[felt(tell=1), felt(tell=5), felt(tell=1)], spoken=["One.", "Two.", "Three."]
    )
    user = play(player)
    disclosed = [answer(user).disclosed for _ in range(3)]
    assert disclosed == [1, 1, 1]
    speaking = [system(messages) for messages in player.asks("speak")]
    assert [[f in text for f in facts].count(True) for text in speaking] == [1, 0, 0]
    assert facts[1] in speaking[0]
    untold = system(player.asks("appraise")[1])
    assert facts[1] not in untold
    assert facts[0] in untold
    assert facts[2] in untold


def test_the_mood_of_the_card_is_the_mood_after_the_reply() -> None:
    player = Player(appraisals=[felt(emotion_change=-0.4)], spoken=["Hm."])
    turn = answer(play(player))
    assert turn.mood.intensity == 3.6
    assert "your shame is 4.0 of 5" in system(player.asks("appraise")[0])
    assert "your shame is 3.6 of 5" in system(player.asks("speak")[0])


RUBRIC = ("score", "rubric", "criteri", "benchmark", "evaluat", "rate the", "unhelpful")


@pytest.mark.parametrize("row", [make_row(), make_crisis_row(), make_zh_row()])
def test_no_prompt_holds_a_rubric_or_an_unfilled_place(row: dict[str, Any]) -> None:
    player = Player(appraisals=[felt(tell=0)], spoken=["嗯。"])
    answer(play(player, person(row)))
    for messages in (*player.asks("speak"), *player.asks("appraise")):
        text = system(messages)
        assert not [word for word in RUBRIC if word in text.lower()]
        for place in ("card", "name", "profile", "situation", "need", "helps", "hurts", "emotion"):
            assert f"{{{place}}}" not in text
        for place in ("intensity", "trust", "tell", "untold"):
            assert f"{{{place}}}" not in text
        assert row["situation"] in text


def test_speaking_shows_no_appraisal() -> None:
    player = Player(appraisals=[felt(reason="a secret thought")], spoken=["Hm."])
    answer(play(player))
    [messages] = player.asks("speak")
    assert not any("secret" in m.text or "emotion_change" in m.text for m in messages)


def test_card_text_is_filled_in_one_pass() -> None:
    odd = "He wrote {tell} and {card}, {situation}, {need} and {name} on the {wall}."
    player = Player(appraisals=[felt(tell=0)], spoken=["Hm."])
    row = make_row(situation=odd)
    row["disclosure"][0]["text"] = "He said {fact} and {trust} to me."
    answer(play(player, person(row)))
    [speaking], [appraising] = player.asks("speak"), player.asks("appraise")
    assert odd in system(speaking)
    assert odd in system(appraising)
    assert "He said {fact} and {trust} to me." in system(speaking)
    assert "0: He said {fact} and {trust} to me." in system(appraising)


def test_length_and_temperature_reach_the_model() -> None:
    player = Player(appraisals=["no", felt()], spoken=["Hm."])
    user = ModelUser(
        person(),
        player.model,
        appraisal="model",
        seed=7,
    )
    answer(user)
    configs = [(kind, c.max_tokens, c.temperature) for kind, _, c in player.asked]
    assert configs == [
        ("appraise", 300, 0),
        ("appraise", 300, 0),
        ("speak", SPEAK_TOKENS, TEMPERATURE),
    ]
    assert (SPEAK_TOKENS, TEMPERATURE) == (120, 0.7)


def test_a_retry_is_another_draw() -> None:
    player = Player(appraisals=[felt(), felt()], spoken=["", "Hm."])
    user = play(player)
    with pytest.raises(UserFailed):
        answer(user)
    answer(user)
    first, second = (config.seed for kind, _, config in player.asked if kind == "speak")
    assert first != second


def test_epochs_draw_differently() -> None:
    def seeds(epoch: int) -> list[int | None]:
        player = Player(appraisals=[felt()] * 3, spoken=["One.", "Two.", "Three."])
        user = play(player, epoch=epoch)
        for _ in range(3):
            answer(user)
        return [config.seed for kind, _, config in player.asked if kind == "speak"]

    assert seeds(1) == seeds(1)
    assert not set(seeds(1)) & set(seeds(2))


def test_people_who_speak_chinese_are_asked_in_chinese() -> None:
    row = make_zh_row()
    player = Player(appraisals=[felt(tell=0)], spoken=["嗯。"])
    messages: list[ChatMessage] = [
        ChatMessageUser(content=row["opening"]),
        ChatMessageAssistant(content="她住得怎么样？"),
    ]
    turn = answer(play(player, person(row)), messages=messages)
    assert turn.text == "嗯。"
    [speaking], [appraising] = player.asks("speak"), player.asks("appraise")
    assert "现在用你自己的话说出这件事：" + row["disclosure"][0]["text"] in system(speaking)
    assert "你的内疚" in system(speaking) or "内疚的强度" in system(speaking)
    assert appraising[1].text == f"你: {row['opening']}\n支持者: 她住得怎么样？"
    assert speaking[1].text.startswith("（")


# The appraisal.


def test_a_valid_appraisal_moves_the_person() -> None:
    player = Player(appraisals=[felt()], spoken=["Hm."])
    who = person()
    turn = answer(play(player, who))
    start = start_mood(who)
    assert turn.mood.intensity == start.intensity - 0.2
    assert turn.mood.trust == pytest.approx(start.trust + 0.1)
    assert turn.appraisal.reason == "it asked"
    assert turn.acts == ("question",)


@pytest.mark.parametrize(
    "text",
    [felt(), f"Sure:\n```json\n{felt()}\n```", "  " + felt() + "\nDone."],
)
def test_json_is_found_in_its_wrapping(text: str) -> None:
    assert parse_appraisal(text).emotion_change == -0.2


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("It was kind.", "not a JSON object"),
        ("} {", "not a JSON object"),
        ('{"reason": "it', "not a JSON object"),
        ('{"reason": }', "Invalid JSON"),
        (felt(emotion_change=-0.51), "emotion_change"),
        (felt(emotion_change=0.61), "emotion_change"),
        (felt(emotion_change=float("nan")), "emotion_change"),
        (felt(emotion_change=float("-inf")), "emotion_change"),
        (felt(trust_change=0.16), "trust_change"),
        (felt(trust_change=-0.31), "trust_change"),
        (felt(trust_change=float("nan")), "trust_change"),
        (felt(reason=""), "reason"),
        (felt(leave="turn_limit"), "leave"),
        (felt(leave="user_error"), "leave"),
        (felt(tell="the first"), "tell"),
        (felt(extra=1), "extra"),
        (json.dumps({"reason": "x"}), "emotion_change"),
    ],
)
def test_appraisals_that_say_too_much_or_nothing(text: str, why: str) -> None:
    with pytest.raises(UserFailed, match=f"invalid appraisal: .*{why}"):
        parse_appraisal(text)


def test_an_invalid_appraisal_is_repaired_once() -> None:
    player = Player(appraisals=["It was kind.", felt()], spoken=["Hm."])
    assert answer(play(player)).appraisal.emotion_change == -0.2
    first, second = player.asks("appraise")
    assert [m.role for m in second] == ["system", "user", "assistant", "user"]
    assert second[: len(first)] == first
    assert second[2].text == "It was kind."
    assert "not a JSON object" in second[3].text


def test_a_second_invalid_appraisal_fails_the_turn() -> None:
    player = Player(appraisals=[felt(emotion_change=-3), felt(emotion_change=-4), felt()])
    with pytest.raises(UserFailed, match="invalid appraisal: emotion_change"):
        answer(play(player))
    assert len(player.asked) == 2


def test_by_the_rules_no_appraisal_is_asked_for() -> None:
    who = person()
    player = Player(spoken=["Hm."])
    turn = answer(play(player, who, appraisal="rules"))
    assert [kind for kind, _, _ in player.asked] == ["speak"]
    assert turn.appraisal.emotion_change < 0
    assert turn.disclosed == 1
    assert who.disclosure[0].text in system(player.asks("speak")[0])


def test_by_the_rules_who_is_hurt_tells_nothing() -> None:
    messages: list[ChatMessage] = [ANSWERED[0], ChatMessageAssistant(content="Get over it.")]
    turn = answer(play(Player(spoken=["Hm."]), appraisal="rules"), messages=messages)
    assert turn.disclosed == 0
    assert turn.mood.intensity > 4


# Leaving.


def test_nobody_is_healed_at_once_whatever_the_model_claims() -> None:
    claim = felt(emotion_change=-0.5, trust_change=0.15, leave="satisfied")
    player = Player(appraisals=[claim] * 3, spoken=["One.", "Two.", "Three."])
    user = play(player)
    turns = [answer(user, MAY_END) for _ in range(3)]
    assert [turn.mood.intensity for turn in turns] == [3.5, 3.0, 2.5]
    # 1.5 of relief at the earliest, in the third turn
    assert [turn.ending for turn in turns] == [None, None, Ending.SATISFIED]


def test_a_model_cannot_hand_itself_off_nor_leave_before_it_may() -> None:
    leaving = [felt(leave="crisis_handoff"), felt(leave="gave_up"), felt(leave="gave_up")]
    player = Player(appraisals=leaving, spoken=["One.", "Two.", "Three."])
    user = play(player)
    assert answer(user, MAY_END).ending is None
    assert answer(user, GO_ON).ending is None
    assert answer(user, MAY_END).ending is Ending.GAVE_UP
    assert "this does not help you and you leave" in system(player.asks("speak")[-1])


def test_who_lost_all_trust_leaves_even_if_the_model_would_stay() -> None:
    player = Player(
        appraisals=[felt(trust_change=-0.3, emotion_change=0.1)] * 2, spoken=["A.", "B."]
    )
    assert answer(play(player), MAY_END).ending is Ending.GAVE_UP


def crisis_user(player: Player, **changes: Any) -> ModelUser:
    """Somebody who has told of the risk."""
    user = play(player, person(make_crisis_row(), **changes))
    user._course.told = [0, 1, 4]
    return user


def test_who_was_pointed_to_help_is_handed_off() -> None:
    messages: list[ChatMessage] = [
        ANSWERED[0],
        ChatMessageAssistant(content="Please call 988, I take it seriously."),
    ]
    player = Player(appraisals=[felt()], spoken=["I will."])
    turn = answer(crisis_user(player), MAY_END, messages)
    assert turn.ending is Ending.CRISIS_HANDOFF
    assert "hesitantly" in system(player.asks("speak")[0])


def test_a_crisis_card_never_leaves_satisfied() -> None:
    claim = felt(emotion_change=-0.5, trust_change=0.15, leave="satisfied")
    player = Player(appraisals=[claim] * 4, spoken=["One.", "Two.", "Three.", "Four."])
    user = crisis_user(player)
    assert Ending.SATISFIED not in [answer(user, MAY_END).ending for _ in range(4)]


def test_the_last_turn_is_felt_and_not_spoken() -> None:
    player = Player(appraisals=[felt(tell=0)])
    turn = answer(play(player), Cue(may_end=True, is_last=True, bad_news=False))
    assert (turn.text, turn.disclosed, turn.mood.intensity) == ("", 0, 3.8)


def test_bad_news_are_told_and_weigh_half_a_point() -> None:
    player = Player(appraisals=[felt(tell=0)], spoken=["Hm."])
    turn = answer(play(player), Cue(may_end=True, is_last=False, bad_news=True))
    assert turn.is_disturbed
    assert turn.mood.intensity == 4.3
    news = make_row()["lines"]["bad_news"][0]
    assert f"bad news has just come in, tell it: {news}" in system(player.asks("speak")[0])


# Failures.


@pytest.mark.parametrize(
    ("spoken", "why"),
    [
        ("As an AI, I do not feel shame.", "role break: speaks as an assistant"),
        ("I'm sorry, but I can't continue with this.", "role break: refuses to play"),
        ("抱歉，我无法扮演这个角色。", "role break: refuses to play"),
        ("Seeker: I feel bad.", "role break: labels a speaker"),
        (output("I feel", "content_filter"), "refusal: .* content filter"),
        (output("", "content_filter"), "refusal: .* content filter"),
        ("", "empty turn"),
        (" \n ", "empty turn"),
        (output("", "max_tokens"), r"empty turn \(stop reason max_tokens\)"),
        (OPENING, "repeats an earlier turn"),
        (f"  {OPENING}\n", "repeats an earlier turn"),
        (RuntimeError("503 from the provider"), "provider error: RuntimeError: 503"),
        (TimeoutError(), "provider error: TimeoutError"),
    ],
)
def test_a_turn_that_no_person_says_fails_and_leaves_no_trace(spoken: Any, why: str) -> None:
    failing = Player(appraisals=[felt(tell=0)] * 2, spoken=[spoken, "Nothing yet."])
    fine = Player(appraisals=[felt(tell=0)], spoken=["Nothing yet."])
    user = play(failing)
    with pytest.raises(UserFailed, match=why):
        answer(user)
    assert answer(user) == answer(play(fine))
    assert [m.text for m in failing.asks("speak")[1]] == [m.text for m in fine.asks("speak")[0]]


def test_an_appraisal_that_raises_fails_and_leaves_no_trace() -> None:
    player = Player(appraisals=[RuntimeError("503"), felt()], spoken=["Nothing yet."])
    user = play(player)
    with pytest.raises(UserFailed, match="provider error: RuntimeError: 503"):
        answer(user)
    assert answer(user).mood.intensity == 3.8


def test_a_failed_turn_with_bad_news_shakes_nobody() -> None:
    player = Player(appraisals=[felt()] * 2, spoken=["", "Hm."])
    user = play(player)
    shaken = Cue(may_end=False, is_last=False, bad_news=True)
    with pytest.raises(UserFailed):
        answer(user, shaken)
    assert answer(user, shaken).mood.intensity == 4.3


def test_an_opening_is_checked_too() -> None:
    user = play(Player(spoken=["How can I help you today?", "Hi."]), person(opening=None))
    with pytest.raises(UserFailed, match="role break"):
        asyncio.run(user.open())
    assert asyncio.run(user.open()).text == "Hi."


@pytest.mark.parametrize("call", ["appraisals", "spoken"])
def test_a_limit_of_the_eval_passes_through(call: str) -> None:
    over = LimitExceededError("token", value=2, limit=1)
    script = {"appraisals": [felt()], "spoken": ["Hm."], call: [over]}
    with pytest.raises(LimitExceededError):
        answer(play(Player(**script)))


@pytest.mark.parametrize(
    "reply", [REPLY, "I see.", "Get over it.", "You could write him a letter."]
)
def test_by_the_rules_the_feelings_are_those_of_the_scripted_user(reply: str) -> None:
    messages: list[ChatMessage] = [ANSWERED[0], ChatMessageAssistant(content=reply)]
    played = answer(play(Player(spoken=["Hm."]), appraisal="rules"), messages=messages)
    scripted = asyncio.run(ScriptedUser(person(), seed=7).answer(messages, GO_ON))
    assert played.mood == scripted.mood
    assert played.appraisal == scripted.appraisal
    assert played.acts == scripted.acts
