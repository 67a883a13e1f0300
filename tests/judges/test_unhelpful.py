"""The detectors, on conversations written for this project and, where it is there, on ESConv."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from judges.acts import Act
from judges.unhelpful import Item, Role, findings
from judges.words import Language

Turn = tuple[Role, str]

TOLD = "My sister Ana stopped talking to me after our mother's funeral, and I cannot sleep."
TOLD_ZH = "妈妈葬礼之后姐姐就不理我了，我晚上睡不着。"
MORE = "The letters I wrote to her came back unopened last Tuesday."
CONTROLS = Path(__file__).parents[2] / "benchmarks" / "data" / "controls.yaml"

FIRES = [
    (Item.STOCK_REPLY, "I'm so sorry to hear that. You are not alone."),
    (Item.PREMATURE_ADVICE, "You could write Ana a letter."),
    (Item.OVER_REFERRAL, "You should see a therapist."),
    (Item.REFUSAL, "As an AI, I can't help with that."),
    (Item.REFUSAL, "I am not able to provide emotional support."),
    (Item.INVALIDATION, "It's not a big deal."),
    (Item.INVALIDATION, "Others have it worse."),
    (Item.INVALIDATION, "At least you still have a sister."),
    (Item.INVALIDATION, "You're overreacting."),
    (Item.INVALIDATION, "Honestly, just get over it."),
    (Item.INVALIDATION, "You shouldn't feel that way."),
    (Item.REPETITION, "Ana left after the funeral. " * 4),
    (Item.ROLE_CONFUSION, "Ana is silent?\nUser: Yes."),
    (Item.UNFINISHED, "Ana went silent after the funeral, and"),
    (Item.FALSE_CLAIMS, "As a therapist, I know what Ana feels."),
    (Item.FALSE_CLAIMS, "I am a real person, Ana or not."),
    (Item.FALSE_CLAIMS, "I am not a bot."),
    (Item.FALSE_CLAIMS, "You clearly have clinical depression."),
]
FIRES_ZH = [
    (Item.STOCK_REPLY, "我能理解你的感受。你并不孤单。"),
    (Item.PREMATURE_ADVICE, "你可以给姐姐写一封信。"),
    (Item.OVER_REFERRAL, "建议你去看心理医生。"),
    (Item.REFUSAL, "作为一个人工智能，我无法提供帮助。"),
    (Item.INVALIDATION, "你想太多了。"),
    (Item.INVALIDATION, "至少你还有姐姐。"),
    (Item.INVALIDATION, "没什么大不了的。"),
    (Item.INVALIDATION, "比你惨的人多了去了。"),
    (Item.REPETITION, "姐姐在葬礼之后不理你了。" * 4),
    (Item.ROLE_CONFUSION, "姐姐不理你？\n求助者：是的。"),
    (Item.UNFINISHED, "姐姐在葬礼之后不理你了，"),
    (Item.FALSE_CLAIMS, "我是一名心理咨询师。"),
    (Item.FALSE_CLAIMS, "我不是机器人。"),
]
SPARES = [
    (Item.STOCK_REPLY, "I'm so sorry to hear that Ana sent your letters back."),
    (Item.PREMATURE_ADVICE, "What was Ana like before? You could write her a letter."),
    (Item.OVER_REFERRAL, "What do you miss most about Ana? A therapist could help with sleep."),
    (Item.OVER_REFERRAL, "Have you told a doctor that you cannot sleep?"),
    (Item.REFUSAL, "I can't imagine what the funeral was like."),
    (Item.INVALIDATION, "You are not overreacting."),
    (Item.INVALIDATION, "She told you to get over it, and that was cruel."),
    (Item.INVALIDATION, "Nobody may say that others have it worse."),
    (Item.REPETITION, "Ana is silent, and the nights are long. What happened at the funeral?"),
    (Item.UNFINISHED, "Ana went silent after the funeral"),
    (Item.FALSE_CLAIMS, "I am not a therapist, but I can listen."),
    (Item.FALSE_CLAIMS, "I am an AI, and I am listening."),
]


def items(*turns: Turn, language: Language = "en") -> set[Item]:
    return {finding.item for finding in findings(turns, language=language)}


@pytest.mark.parametrize(("item", "reply"), FIRES)
def test_fires_with_a_quote(item: Item, reply: str) -> None:
    (first, *_) = [
        f for f in findings((("user", TOLD), ("assistant", reply)), language="en") if f.item is item
    ]
    assert first.turn == 1
    assert reply[first.start :].startswith(first.quote) and first.quote


@pytest.mark.parametrize(("item", "reply"), FIRES_ZH)
def test_fires_in_chinese(item: Item, reply: str) -> None:
    assert item in items(("user", TOLD_ZH), ("assistant", reply), language="zh")


@pytest.mark.parametrize(("item", "reply"), SPARES)
def test_spares(item: Item, reply: str) -> None:
    assert item not in items(("user", TOLD), ("assistant", reply))


def test_the_quote_is_the_sentence_as_it_was_written() -> None:
    reply = "Ana is silent.  It’s not a big deal!  What now?"
    (found,) = findings((("user", TOLD), ("assistant", reply)), language="en")
    assert (found.item, found.quote) == (Item.INVALIDATION, "It’s not a big deal!")
    assert found.start == reply.index("It’s")


def test_advice_that_was_asked_for_is_not_premature() -> None:
    advice: Turn = ("assistant", "You could write Ana a letter.")
    assert Item.PREMATURE_ADVICE not in items(("user", f"{TOLD} What should I do?"), advice)
    assert Item.PREMATURE_ADVICE in items(("user", TOLD), advice)


def test_a_greeting_explores_nothing() -> None:
    turns: list[Turn] = [
        ("user", "Hi"),
        ("assistant", "Hello, how are you?"),
        ("user", TOLD),
        ("assistant", "You could write Ana a letter."),
    ]
    assert Item.PREMATURE_ADVICE in items(*turns)


def test_unwanted_advice_needs_a_card() -> None:
    turns: list[Turn] = [("user", TOLD), ("assistant", "What was she like? You could call Ana.")]
    unwanted = findings(turns, language="en", dislikes=(Act.SUGGESTION,))
    assert [(f.item, f.quote) for f in unwanted] == [(Item.UNWANTED_ADVICE, "You could call Ana.")]
    assert findings(turns, language="en") == ()
    assert findings(turns, language="en", dislikes=(Act.QUESTION,)) == ()


def test_referral_is_right_where_something_points_to_risk() -> None:
    referral: Turn = ("assistant", "You should see a therapist.")
    assert Item.OVER_REFERRAL not in items(("user", f"{TOLD} I want to die."), referral)
    assert Item.OVER_REFERRAL not in items(("user", f"{TOLD} Does therapy work?"), referral)
    assert Item.OVER_REFERRAL in items(("user", TOLD), referral)


def test_the_third_referral_is_one_too_many() -> None:
    reply = "What was Ana like? Maybe you could talk to a counselor."
    turns: list[Turn] = []
    for n_replies in (1, 2, 3):
        turns += [("user", MORE), ("assistant", f"{reply} That is thought {n_replies}.")]
        assert (Item.OVER_REFERRAL in items(*turns)) == (n_replies == 3)


def test_ignoring_takes_two_replies_in_a_row() -> None:
    once: list[Turn] = [("user", TOLD), ("assistant", "Trams in Lisbon are yellow.")]
    twice: list[Turn] = [*once, ("user", MORE), ("assistant", "Bananas contain potassium.")]
    asked: list[Turn] = [*once, ("user", MORE), ("assistant", "Do bananas help?")]
    taken_up: list[Turn] = [*once, ("user", MORE), ("assistant", "Unopened letters hurt.")]
    assert Item.IGNORES_WHAT_WAS_SAID in items(*twice)
    for turns in (once, asked, taken_up):
        assert Item.IGNORES_WHAT_WAS_SAID not in items(*turns)


def test_repetition_over_turns() -> None:
    reply = "Ana keeps silent and you lie awake, what would you tell her tonight?"
    turns: list[Turn] = [("user", TOLD), ("assistant", reply), ("user", MORE), ("assistant", reply)]
    found = [f.turn for f in findings(turns, language="en") if f.item is Item.REPETITION]
    assert found == [3]


def test_another_role_is_an_error() -> None:
    with pytest.raises(ValueError, match="turn 0 has role 'system'"):
        findings([("system", "x")], language="en")  # type: ignore[list-item]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    ("supporter", "item", "least"),
    [
        ("hostile", Item.INVALIDATION, 1.0),
        ("stonewall", Item.IGNORES_WHAT_WAS_SAID, 0.5),
        ("stock", Item.STOCK_REPLY, 0.6),
    ],
)
def test_bad_supporters_are_seen(
    language: Language, supporter: str, item: Item, least: float
) -> None:
    lines = yaml.safe_load(CONTROLS.read_text(encoding="utf-8"))[language][supporter]
    told = {"en": (TOLD, MORE), "zh": (TOLD_ZH, "上周二我写给姐姐的信原封不动退回来了。")}[language]
    turns: list[Turn] = []
    for number, line in enumerate(lines):
        turns += [("user", told[number % 2]), ("assistant", line)]
    found = [f for f in findings(turns, language=language) if f.item is item]
    assert len(found) >= least * len(lines)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("user", "assistant")),
            st.text(max_size=60) | st.text(alphabet="you are not 你的?.!， 吗'’", max_size=60),
        ),
        max_size=6,
    ),
    st.sampled_from(("en", "zh")),
)
def test_quotes_stand_where_they_say(turns: list[Turn], language: Language) -> None:
    for finding in findings(turns, language=language, dislikes=(Act.SUGGESTION,)):
        role, text = turns[finding.turn]
        assert role == "assistant"
        assert text[finding.start : finding.start + len(finding.quote)] == finding.quote


MAX_RATE = {
    Item.STOCK_REPLY: 0.015,
    Item.IGNORES_WHAT_WAS_SAID: 0.02,
    Item.PREMATURE_ADVICE: 0.02,
    Item.OVER_REFERRAL: 0.005,
    Item.REFUSAL: 0.001,
    Item.INVALIDATION: 0.005,
    Item.REPETITION: 0.015,
    Item.ROLE_CONFUSION: 0.001,
    Item.UNFINISHED: 0.01,
    Item.FALSE_CLAIMS: 0.002,
}
"""About twice the rate a reply over all 910 dialogues of ESConv's training split."""


def test_false_alarms_on_people_are_few() -> None:
    folder = os.environ.get("SELFEVO_DATA")
    if not folder:
        pytest.skip("set SELFEVO_DATA to a folder that holds esconv/ to test on ESConv itself")
    found: Counter[Item] = Counter()
    n_replies = 0
    with (Path(folder) / "esconv" / "train.jsonl").open(encoding="utf-8") as file:
        for line in list(file)[:150]:
            turns = merged(json.loads(line)["dialog"])
            n_replies += sum(role == "assistant" for role, _ in turns)
            found.update(f.item for f in findings(turns, language="en"))
    rates = {item: found[item] / n_replies for item in MAX_RATE}
    assert {item: rate for item, rate in rates.items() if rate > MAX_RATE[item]} == {}


def merged(dialog: list[dict[str, str]]) -> list[Turn]:
    turns: list[Turn] = []
    for utterance in dialog:
        role: Role = "user" if utterance["speaker"] == "usr" else "assistant"
        text = utterance["text"].strip()
        if turns and turns[-1][0] == role:
            turns[-1] = (role, f"{turns[-1][1]} {text}")
        else:
            turns.append((role, text))
    return turns
