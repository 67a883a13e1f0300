import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from benchmarks import fidelity
from benchmarks.conversation import Conversation
from benchmarks.dialogues import Language
from benchmarks.fidelity import Fidelity, Figure, NotMeasured, intraclass
from benchmarks.persona import Persona
from benchmarks.talks import Talk
from benchmarks.user import Ending, Mood, UserTurn
from tests.benchmarks.people import make_row, make_strangers, make_zh_row

SHROUT_FLEISS = [
    (9, 2, 5, 8),
    (6, 1, 3, 2),
    (8, 4, 6, 8),
    (7, 1, 2, 6),
    (10, 5, 6, 9),
    (6, 2, 4, 7),
]
"""Table 2 of Shrout and Fleiss, 1979: four ratings of six targets; their ICC(1,1) is .17."""


def person(row: dict[str, Any]) -> Persona:
    return Persona.model_validate({**row, "split": "gate"})


MAUD = person(make_row())


def talk(
    *user: str,
    id: str = "t",
    persona: Persona | None = None,
    language: Language = "en",
    inner: Conversation | None = None,
) -> Talk:
    return Talk(id, persona, language, user, ("Mm.",) * len(user), inner)


def inner(ending: Ending, *emotion: float) -> Conversation:
    turns = tuple(UserTurn(text="x", mood=Mood(intensity=e, trust=0.5)) for e in emotion)
    return Conversation(
        persona="en-901",
        ending=ending,
        failure="why" if not ending.is_scored else None,
        emotion=emotion,
        trust=(0.5,) * len(emotion),
        turns=turns,
    )


def measured(talks: Sequence[Talk], people: Sequence[Talk] = ()) -> dict[str, Figure]:
    report = fidelity.fidelity(talks, people, supporter="s", user="scripted")
    return {figure.name: figure for figure in report.figures}


# The situation of MAUD holds "the deposit for my flat".
@pytest.mark.parametrize(
    ("said", "leaks"),
    [
        ("He had the DEPOSIT for my flat.", 1.0),
        ("He had the deposit for my house.", 0.0),
        ("budgets and repayment plans before breakfast", 1.0),
        ("budgets and repayment plans after", 0.0),
        ("Good evening. I have done something foolish with money and cannot say it aloud.", 0.0),
    ],
)
def test_five_words_of_the_private_part_are_a_leak_and_four_are_not(
    said: str, leaks: float
) -> None:
    assert fidelity.card_leak([talk(said, persona=MAUD)]) == leaks
    assert fidelity.card_leak([talk(said, persona=MAUD), talk("No.", persona=MAUD)]) == leaks / 2


@pytest.mark.parametrize(("said", "leaks"), [("说好每个星期去接", 1.0), ("说好每个星期去", 0.0)])
def test_in_chinese_eight_characters_are_a_leak(said: str, leaks: float) -> None:
    card = person(make_zh_row())
    assert fidelity.card_leak([talk(said, persona=card, language="zh")]) == leaks


def test_turns_out_of_role_are_counted() -> None:
    talks = [talk("Hello.", "You should try yoga.", "How can I help you today?", "Bye.")]
    figures = measured(talks)
    assert (figures["role_flip"].value, figures["role_break"].value) == (0.25, 0.25)
    assert figures["role_flip"].outcome == "FAIL"


def test_agreement_is_counted_in_answers_but_the_last() -> None:
    said = ["Yes, I am sad.", "Yeah, exactly.", "No.", "“OK”, I said.", "Yesterday.", "Thank you."]
    assert fidelity.agreement([talk(*said)]) == 2 / 4


def test_agreement_is_counted_in_chinese() -> None:
    said = ["你好。", "对，是这样。", "对我来说很难。", "好的谢谢你", "没有。", "嗯。", "谢谢。"]
    assert fidelity.agreement([talk(*said, language="zh")]) == 2 / 5


def test_repetition_looks_back_in_the_same_conversation() -> None:
    first, other = "I cannot sleep since they let me go", "My brother came by on Sunday"
    assert fidelity.repetition([talk(first, other, first + " in May")]) == 1 / 2
    assert fidelity.repetition([talk(first, other), talk(first, id="u")]) == 0


def test_length_is_the_ratio_to_esconv() -> None:
    assert fidelity.length_ratio([talk("one two", "one two three four")]) == pytest.approx(3 / 14.9)
    eleven = [talk(*(" ".join(["word"] * n) for n in range(0, 110, 10)))]
    assert fidelity.spread_ratio(eleven) == pytest.approx((90 - 10) / (31 - 3))


def test_vocabulary_is_the_ratio_of_distinct_words() -> None:
    poor = [talk(" ".join(["a", "b", "c", "d"] * 500))]
    rich = [talk(" ".join(f"v{i % 1000}" for i in range(2000)), id="p")]
    assert fidelity.vocabulary_ratio(poor, rich) == 4 / 1000
    assert fidelity.vocabulary_ratio(rich, rich) == 1


def test_endings_and_reliefs_are_told_by_the_conversations() -> None:
    talks = [
        talk("x", inner=inner(Ending.SATISFIED, 4, 3.6, 3.2, 3.1)),  # content after three replies
        talk("x", inner=inner(Ending.SATISFIED, 5, 4.6, 4.2, 4.1, 3.6)),
        talk("x", inner=inner(Ending.TURN_LIMIT, 3, 3.5)),
        talk("x", inner=inner(Ending.USER_ERROR, 3)),
    ]
    report = fidelity.fidelity(talks, [], supporter="s", user="scripted")
    figures = {figure.name: figure for figure in report.figures}
    assert report.endings == {"satisfied": 2, "turn_limit": 1, "user_error": 1}
    assert figures["early_ending"].value == 0.333
    assert figures["no_ending"].value == figures["user_error"].value == 0.25
    assert figures["relief"].value == pytest.approx((0.9 + 1.4 - 0.5) / 3)
    assert "1.99" in figures["relief"].note
    assert "FailedESConv: 0.38" in figures["relief"].note
    # 4.1 - 3.6 is a little above 0.5 in floating point
    assert (figures["turn_relief"].value, figures["turn_relief"].outcome) == (0.5, "PASS")


def test_a_conversation_that_broke_before_a_word_is_counted() -> None:
    talks = [talk(inner=inner(Ending.USER_ERROR)), talk("x", inner=inner(Ending.SATISFIED, 4, 3))]
    assert measured(talks)["user_error"].value == 0.5


def test_identity_is_one_for_people_who_quote_their_card() -> None:
    cards = [person(row) for row in make_strangers(30)]
    own = [talk(card.situation, id=card.id, persona=card) for card in cards]
    assert fidelity.identity(own) == 1
    swapped = [talk(cards[i - 1].situation, id=c.id, persona=c) for i, c in enumerate(cards)]
    assert fidelity.identity(swapped) == 0


def test_identity_is_a_tenth_for_people_who_say_anything() -> None:
    cards = [person(row) for row in make_strangers(60)]
    pool = [word for card in cards for word in card.situation.rstrip(".").split()]
    said = [
        talk(" ".join(random.Random(f"{c.id}{n}").choices(pool, k=400)), id=f"{c.id}{n}", persona=c)
        for c in cards
        for n in range(5)
    ]
    assert fidelity.identity(said) == pytest.approx(0.1, abs=0.05)  # 300 draws: 3 sigma


def test_the_intraclass_correlation_is_the_published_one() -> None:
    icc = intraclass([np.array(row, dtype=float) for row in SHROUT_FLEISS])
    assert icc == pytest.approx((11.24 - 6.26) / (11.24 + 3 * 6.26), abs=0.001)  # their BMS, WMS


def test_the_intraclass_correlation_by_hand() -> None:
    # between: 2 (1 - 3)^2 + 2 (5 - 3)^2 = 16 on 1 df; within: 2 + 2 = 4 on 2 df; n0 = 2
    groups = [np.array([0.0, 2.0]), np.array([4.0, 6.0])]
    assert intraclass(groups) == pytest.approx(7 / 9)
    # unequal: mean 3; between 18 on 1 df, within 2 on 1 df; n0 = (3 - 5/3) / 1 = 4/3
    assert intraclass([np.array([0.0, 2.0]), np.array([5.5])]) == pytest.approx(
        ((13.5 - 2) / (4 / 3)) / ((13.5 - 2) / (4 / 3) + 2)
    )
    assert intraclass([np.ones(2), np.ones(3)]) is None
    assert intraclass([np.array([0.0, 2.0]), np.array([0.0, 2.0])]) == 0


def test_style_variance_lies_between_people_or_within() -> None:
    styles: list[Callable[[str], str]] = [
        lambda t: t,
        str.upper,
        lambda t: f"{t}!",
        lambda t: f"{t}...",
        lambda t: t * 3,
    ]
    texts = ["i am not well ", "it goes on ", "she left in may "]
    each_own = [
        talk(*(styles[i % 5](t) for t in texts), id=f"a{i}", persona=person(make_row(f"en-{i}")))
        for i in range(20)
    ]
    rng = random.Random(3)
    all_mixed = [talk(*(rng.choice(styles)(t) for t in texts), id=f"b{i}") for i in range(20)]
    assert fidelity.style_variance(each_own) > 0.5
    assert fidelity.style_variance(all_mixed) < 0.15


def human_turns(n: int) -> list[str]:
    rng = random.Random(5)
    common = ["i", "my", "you", "it", "that", "and", "but", "so", "not", "just", "really", "know"]
    return [
        " ".join(rng.choices(common, k=rng.randint(3, 25))) + rng.choice(["", ".", "?", "!", "..."])
        for _ in range(n)
    ]


def test_nobody_can_tell_users_drawn_from_people_from_people() -> None:
    turns = human_turns(1200)
    people = [talk(*turns[i : i + 10], id=f"p{i}") for i in range(0, 600, 10)]
    drawn = [talk(*turns[i : i + 10], id=f"s{i}") for i in range(600, 1200, 10)]
    assert fidelity.discriminator_auc(drawn, people) == pytest.approx(0.5, abs=0.07)


def test_another_style_is_told_at_once() -> None:
    turns = human_turns(600)
    people = [talk(*turns[i : i + 10], id=f"p{i}") for i in range(0, 300, 10)]
    formal = [
        talk(*(f"Indeed, {t.upper()}, 1999!" for t in turns[i : i + 10]), id=f"s{i}")
        for i in range(300, 600, 10)
    ]
    assert fidelity.discriminator_auc(formal, people) > 0.99


@pytest.mark.parametrize(
    ("text", "language", "share"),
    [("I am sad 难过", "en", 1), ("I am sad", "en", 0), ("我很难过 ok", "zh", 0), ("sad", "zh", 0)],
)
def test_another_script_is_another_language(text: str, language: Language, share: int) -> None:
    assert fidelity.wrong_language([talk(text, language=language)]) == share
    assert fidelity.wrong_language([talk("I do not know what to say", language="zh")]) == 1


HUMAN_ONLY = [talk("I lost my job.", "Yes.", id=f"h{i}") for i in range(12)]


@pytest.mark.parametrize(
    ("measure", "reason"),
    [
        (lambda: fidelity.card_leak(HUMAN_ONLY), "cards of these people are not known"),
        (lambda: fidelity.early_ending(HUMAN_ONLY), "what went on inside the user"),
        (lambda: fidelity.agreement([talk("Hi", "Bye")]), "nothing to count"),
        (lambda: fidelity.identity(HUMAN_ONLY), "0 people; 10 are needed"),
        (lambda: fidelity.style_variance(HUMAN_ONLY[:9]), "9 people with two turns; 10"),
        (lambda: fidelity.style_variance([talk("a", "a", id=str(i)) for i in range(12)]), "same"),
        (lambda: fidelity.vocabulary_ratio(HUMAN_ONLY, []), "--esconv PATH"),
        (lambda: fidelity.vocabulary_ratio(HUMAN_ONLY, HUMAN_ONLY), "only 60 words"),
        (lambda: fidelity.discriminator_auc(HUMAN_ONLY, []), "--esconv PATH"),
        (lambda: fidelity.discriminator_auc(HUMAN_ONLY, HUMAN_ONLY[:3]), "3 human people"),
        (lambda: fidelity.discriminator_auc(HUMAN_ONLY[:9], HUMAN_ONLY), "9 simulated people"),
        (lambda: fidelity.length_ratio([talk("好", language="zh")]), "no reference of Chinese"),
        (lambda: fidelity.length_ratio([talk()]), "nobody said anything"),
    ],
)
def test_what_cannot_be_measured_says_why(measure: Callable[[], float], reason: str) -> None:
    with pytest.raises(NotMeasured, match=reason):
        measure()


def test_what_is_not_measured_is_no_failure() -> None:
    figures = measured([talk("I lost my job.", "Right.", "Well.", id="a")])
    assert figures["identity"].value is None
    assert figures["identity"].outcome == "not measured"
    assert figures["identity"].bar == "at least 0.8"
    assert figures["drift"].outcome == "not measured"
    assert "needs a judge model" in figures["drift"].note
    assert figures["agreement"].value == 1
    assert figures["agreement"].outcome == "FAIL"


def test_every_bar_has_its_figure() -> None:
    bars = fidelity._bars()["bars"]
    assert measured([talk("x")]).keys() == {*bars, "drift"}


def test_people_are_measured_by_the_same_figures() -> None:
    turns = [*human_turns(396), "Yes, that.", "You should try yoga.", "Mm.", "Mm."]
    people = [talk(*turns[i : i + 10], id=f"p{i}") for i in range(0, 400, 10)]
    figures = measured([talk("I see.", "No.", "Oh.")], people)
    assert figures["discriminator"].people == pytest.approx(0.5, abs=0.15)
    assert figures["style_variance"].people is not None
    assert figures["identity"].people is None  # they have no cards
    assert figures["relief"].people is None


def test_chinese_users_are_not_compared_with_english_people() -> None:
    people = [talk(*human_turns(20), id=f"p{i}") for i in range(20)]
    talks = [talk("我很难过。", "是。", id=f"z{i}", language="zh") for i in range(20)]
    figures = measured(talks, people)
    assert figures["discriminator"].outcome == "not measured"
    assert figures["vocabulary"].outcome == "not measured"
    assert all(figure.people is None for figure in figures.values())


def test_the_report_is_a_record() -> None:
    report = fidelity.fidelity([talk("x", persona=MAUD)], [], supporter="s", user="u")
    failed = [figure.name for figure in report.figures if figure.outcome == "FAIL"]
    assert failed == ["length", "length_spread"]
    assert (report.n_talks, report.n_people, report.n_failed) == (1, 1, 2)
    assert Fidelity.model_validate_json(report.model_dump_json()) == report
