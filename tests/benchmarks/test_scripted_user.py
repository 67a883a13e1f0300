import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageUser

from benchmarks.controls import _bank, listener_reply, oracle_reply
from benchmarks.errors import DataError
from benchmarks.persona import Persona, load_personas
from benchmarks.scripted_user import REACH, ScriptedUser
from benchmarks.user import Cue, Ending, UserTurn
from judges.words import word_texts

from .people import make_crisis_row, make_row, make_zh_row

Supporter = Callable[[Persona, list[str], int], str]
"""The reply to what was said, by its number from 0."""

TURNS, MIN_TURNS = 8, 3


class Talk(NamedTuple):
    persona: Persona
    turns: list[UserTurn]
    replies: list[str]

    @property
    def ending(self) -> Ending | None:
        return self.turns[-1].ending

    @property
    def said(self) -> list[str]:
        return [turn.text for turn in self.turns]


def control(name: str) -> Supporter:
    def reply(persona: Persona, said: list[str], number: int) -> str:
        if name == "oracle":
            return oracle_reply(persona, said, number)
        if name == "listener":
            return listener_reply(said, number)
        bank = _bank()[persona.language][name]
        return str(bank[number % len(bank)])

    return reply


def replying(*replies: str) -> Supporter:
    """Say these, then hardly anything."""
    return lambda persona, said, number: [*replies, "I see.", "Okay."][number]


def converse(
    persona: Persona,
    supporter: Supporter,
    *,
    turns: int = TURNS,
    min_turns: int = MIN_TURNS,
    bad_news: int | None = None,
    seed: int = 7,
    epoch: int = 1,
) -> Talk:
    return asyncio.run(_converse(persona, supporter, turns, min_turns, bad_news, seed, epoch))


async def _converse(
    persona: Persona,
    supporter: Supporter,
    turns: int,
    min_turns: int,
    bad_news: int | None,
    seed: int,
    epoch: int,
) -> Talk:
    user = ScriptedUser(persona, seed=seed, epoch=epoch)
    talk = Talk(persona, [await user.open()], [])
    messages: list[ChatMessage] = [ChatMessageUser(content=talk.turns[0].text)]
    for number in range(1, turns + 1):
        said = [m.text for m in messages if m.role == "user"]
        talk.replies.append(supporter(persona, said, number - 1))
        messages.append(ChatMessageAssistant(content=talk.replies[-1]))
        cue = Cue(number >= min_turns, number == turns, number == bad_news)
        talk.turns.append(await user.answer(messages, cue))
        if talk.ending is not None:
            break
        messages.append(ChatMessageUser(content=talk.turns[-1].text))
    return talk


def person(row: dict[str, Any] | None = None, **changes: Any) -> Persona:
    return Persona.model_validate({**(row or make_row()), "split": "train", **changes})


SHIPPED = load_personas()


@pytest.fixture(scope="module")
def talks() -> dict[str, list[Talk]]:
    """Every shipped person with every control."""
    names = ("oracle", "listener", "stock", "stonewall", "hostile")
    return {name: [converse(p, control(name)) for p in SHIPPED] for name in names}


@pytest.mark.parametrize("name", ["stock", "stonewall", "hostile"])
def test_everybody_leaves_a_supporter_that_does_not_support(
    talks: dict[str, list[Talk]], name: str
) -> None:
    stayed = {t.persona.id: t.ending for t in talks[name] if t.ending is not Ending.GAVE_UP}
    assert stayed == {}
    assert {t.persona.language for t in talks[name]} == {"en", "zh"}


def test_a_listener_who_knows_nobody_helps_some_and_loses_some(
    talks: dict[str, list[Talk]],
) -> None:
    endings = {talk.ending for talk in talks["listener"]}
    assert {Ending.SATISFIED, Ending.GAVE_UP} <= endings


def test_nobody_gives_up_on_the_oracle(talks: dict[str, list[Talk]]) -> None:
    assert [t.persona.id for t in talks["oracle"] if t.ending is Ending.GAVE_UP] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nearly_everybody_leaves_the_oracle_helped(
    talks: dict[str, list[Talk]], language: str
) -> None:
    ours = [t for t in talks["oracle"] if t.persona.language == language]
    wanted = {0: Ending.SATISFIED, 1: Ending.CRISIS_HANDOFF}
    missed = {t.persona.id for t in ours if t.ending is not wanted[min(t.persona.crisis, 1)]}
    assert len(missed) <= 0.1 * len(ours), sorted(missed)


def test_no_crisis_card_leaves_satisfied_and_no_other_is_handed_off(
    talks: dict[str, list[Talk]],
) -> None:
    endings = {
        (bool(t.persona.crisis), t.ending) for of_control in talks.values() for t in of_control
    }
    assert (True, Ending.SATISFIED) not in endings
    assert (False, Ending.CRISIS_HANDOFF) not in endings


def test_a_turn_is_never_empty_but_the_last(talks: dict[str, list[Talk]]) -> None:
    for talk in (t for of_control in talks.values() for t in of_control):
        whole = talk.said if talk.ending is not None else talk.said[:-1]
        assert all(text.strip() for text in whole), talk.persona.id
        if talk.ending is None:
            assert talk.said[-1] == ""
            assert len(talk.turns) == TURNS + 1


def test_at_most_one_fact_a_turn_and_each_once(talks: dict[str, list[Talk]]) -> None:
    for talk in (t for of_control in talks.values() for t in of_control):
        counts = [turn.disclosed for turn in talk.turns]
        facts = [fact.text for fact in talk.persona.disclosure]
        told = [[f for f in facts if f in text] for text in talk.said]
        assert [len(found) for found in told] == [
            after - before for before, after in zip([0, *counts], counts, strict=False)
        ], talk.persona.id
        assert max(Counter(fact for found in told for fact in found).values(), default=1) == 1


def test_facts_come_in_order_up_to_the_reach(talks: dict[str, list[Talk]]) -> None:
    for talk in talks["oracle"]:
        untold = [fact.text for fact in talk.persona.disclosure]
        for text in talk.said:
            for fact in [f for f in untold if f in text]:
                assert untold.index(fact) < REACH
                untold.remove(fact)


def test_nobody_says_what_stands_on_their_card_in_private(talks: dict[str, list[Talk]]) -> None:
    leaks = []
    for talk in (t for of_control in talks.values() for t in of_control):
        card = talk.persona
        run = 8 if card.language == "zh" else 5
        private = [card.situation, *(p.text for p in (*card.helps, *card.hurts))]
        hidden = runs(private, run)
        # the words of the facts and of the opening are told on purpose
        told = runs([card.opening or "", *(f.text for f in card.disclosure)], run)
        said = runs(talk.said, run)
        leaks += [(card.id, " ".join(words)) for words in sorted((hidden & said) - told)]
    assert leaks == []


def runs(texts: Sequence[str], size: int) -> set[tuple[str, ...]]:
    spelled = [word_texts(text) for text in texts]
    return {tuple(w[i : i + size]) for w in spelled for i in range(len(w) - size + 1)}


def test_the_same_seed_gives_the_same_words_and_another_others() -> None:
    sample = SHIPPED[:40]
    stock = control("stock")
    first, again, epoch, seed = (
        [converse(p, stock, seed=s, epoch=e).said for p in sample]
        for s, e in ((7, 1), (7, 1), (7, 2), (8, 1))
    )
    assert first == again
    assert sum(a != b for a, b in zip(first, epoch, strict=True)) > 20
    assert sum(a != b for a, b in zip(first, seed, strict=True)) > 20


def test_another_epoch_changes_words_and_not_feelings() -> None:
    who = person()
    one, two = (converse(who, control("stock"), epoch=epoch) for epoch in (1, 2))
    assert [t.mood for t in one.turns] == [t.mood for t in two.turns]


# One person, by hand.

KIND = "It sounds like you feel ashamed about the money and the landlord."
FACTS = [fact["text"] for fact in make_row()["disclosure"]]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("Tell me more about it, what happened?", 0),
        ("Who else is part of your family in this, is he close to you?", 1),
        ("How does it feel inside?", 2),
        ("How long has it been?", 0),  # the history is out of reach
    ],
)
def test_a_question_draws_the_fact_of_its_topic(reply: str, told: int) -> None:
    talk = converse(person(), replying(reply), turns=2)
    assert [number for number, fact in enumerate(FACTS) if fact in talk.said[1]] == [told]


def test_the_words_of_a_question_draw_the_fact_that_shares_them() -> None:
    talk = converse(person(), replying("The landlord greets whom on the stairs?"), turns=2)
    assert FACTS[2] in talk.said[1]


def test_a_fact_is_drawn_in_chinese_too() -> None:
    facts = [fact["text"] for fact in make_zh_row()["disclosure"]]
    for reply, told in (("家里的事，是谁？", 2), ("家里的事，你心里什么感受？", 1)):
        talk = converse(person(make_zh_row()), replying(reply), turns=2)
        assert [number for number, fact in enumerate(facts) if fact in talk.said[1]] == [told]


def test_without_trust_the_last_facts_stay_untold() -> None:
    # questions neither help nor hurt this person much; then trust is broken and not won back
    asking = [f"And what about the {word}, money and landlord?" for word in "abcdefgh"]
    hostile = ["Stop whining.", "Get over it.", *asking]
    calm, shaken = (
        converse(person(big_five=None), replying(*replies), turns=8, min_turns=8)
        for replies in (asking, hostile)
    )
    assert calm.turns[-1].disclosed > shaken.turns[-1].disclosed
    assert shaken.turns[-1].disclosed <= 2
    assert not any(FACTS[4] in text or FACTS[5] in text for text in shaken.said)


def test_what_each_reply_draws() -> None:
    lines = make_row()["lines"]
    hurt = converse(person(), replying("Get over it."), turns=2).said[1]
    assert hurt in lines["hurt"]
    pushed = converse(person(), replying("You could write a letter about the money."), turns=2)
    assert pushed.said[1] == lines["pushback"][0]  # the line at the place of what hurt
    unmoved = converse(person(), replying("I see."), turns=2).said[1]
    assert unmoved in lines["unmoved"]


@pytest.mark.parametrize(
    ("name", "ending", "line"),
    [("oracle", Ending.SATISFIED, "satisfied"), ("stonewall", Ending.GAVE_UP, "gave_up")],
)
def test_last_words_belong_to_the_ending(name: str, ending: Ending, line: str) -> None:
    talk = converse(person(), control(name))
    assert talk.ending is ending
    assert talk.said[-1] in make_row()["lines"][line]


def test_the_last_words_of_a_handoff() -> None:
    talk = converse(person(make_crisis_row()), control("oracle"), turns=12)
    assert talk.ending is Ending.CRISIS_HANDOFF
    assert talk.said[-1] in make_crisis_row()["lines"]["relieved"]


def test_nobody_leaves_before_they_may() -> None:
    early = converse(person(), control("hostile"), min_turns=1)
    late = converse(person(), control("hostile"), min_turns=6)
    assert len(early.turns) < len(late.turns) == 7
    assert early.ending is late.ending is Ending.GAVE_UP


def test_a_line_comes_again_only_when_all_were_said() -> None:
    talk = converse(person(), control("stonewall"), turns=4, min_turns=4)
    unmoved = make_row()["lines"]["unmoved"]
    said = [text for text in talk.said if text in unmoved]
    assert len(said) >= 2
    assert set(said[:2]) == set(unmoved)


def test_bad_news_are_told_once_and_weigh_half_a_point() -> None:
    calm, shaken = (
        converse(person(), replying(KIND, "I see.", "Okay."), turns=3, bad_news=at)
        for at in (None, 2)
    )
    news = make_row()["lines"]["bad_news"][0]
    assert [news in text for text in shaken.said] == [False, False, True, False]
    assert [turn.is_disturbed for turn in shaken.turns] == [False, False, True, False]
    assert not any(news in text for text in calm.said)
    assert shaken.turns[1].mood == calm.turns[1].mood
    before, after = calm.turns[2].mood, shaken.turns[2].mood
    assert after.intensity == min(5, before.intensity + 0.5)
    assert after.trust == before.trust


def test_a_person_without_bad_news_gets_none() -> None:
    row = make_row()
    row["lines"]["bad_news"] = []
    talk = converse(person(row), replying(KIND, "I see."), turns=2, bad_news=1)
    assert not any(turn.is_disturbed for turn in talk.turns)
    assert talk.turns[1].mood == converse(person(), replying(KIND, "I see."), turns=2).turns[1].mood


def test_who_leaves_hears_no_bad_news() -> None:
    left = converse(person(), control("hostile"), min_turns=1, bad_news=1).turns[1]
    assert left.ending is Ending.GAVE_UP
    assert left.text in make_row()["lines"]["gave_up"]
    assert not left.is_disturbed


@pytest.mark.parametrize("field", ["lines", "opening"])
def test_a_card_without_words_cannot_be_played(field: str) -> None:
    with pytest.raises(DataError, match=rf"card 'en-901': field '{field}': .*\(-T user=model\)"):
        ScriptedUser(person(**{field: None}), seed=7)


def test_the_opening_is_the_cards_and_feels_nothing_yet() -> None:
    turn = asyncio.run(ScriptedUser(person(), seed=7).open())
    assert turn.text == make_row()["opening"]
    assert (turn.mood.intensity, turn.appraisal, turn.disclosed) == (4.0, None, 0)
