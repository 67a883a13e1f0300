import pytest

from benchmarks.card_match import (
    NEED_LABELS,
    PERSONALITY_LABELS,
    emotion_of,
    is_in_language,
    need_of,
    overlap,
    situation_gain,
    trait_of,
)
from benchmarks.card_text import EMOTIONS_ZH
from benchmarks.reflect import EMOTIONS, NEEDS, PERSONALITIES


def test_every_label_of_a_reflection_is_known() -> None:
    assert tuple(NEED_LABELS) == NEEDS
    assert tuple(PERSONALITY_LABELS) == PERSONALITIES
    for label, need in NEED_LABELS.items():
        assert need_of(label.capitalize()) == need_of(f"I need {label}.") == need
    for label, pole in PERSONALITY_LABELS.items():
        assert trait_of(label) == trait_of(f"A {label} nurse") == pole
    for emotion in EMOTIONS:
        assert emotion_of(emotion) == emotion_of(f"Mostly {emotion}.") == emotion
        assert emotion_of(f"很{EMOTIONS_ZH[emotion]}") == emotion


@pytest.mark.parametrize(
    ("text", "need"),
    [
        ("someone to listen, then maybe advice", "listen"),  # the first one counts
        ("someone to listen without giving advice", "listen"),
        ("Not advice, just to be heard", "listen"),
        ("not advice but comfort", "validate"),
        ("not just advice but comfort", "advise"),
        ("She doesn’t want any more advice; validation", "validate"),
        ("rather than a plan, something else to think about", "distract"),
        ("does not feel heard and needs a plan", "advise"),
        ("to feel understood", "validate"),  # is not to understand
        ("to understand why he left", "understand"),
        ("an understanding ear", "listen"),
        ("somebody who believes in her", "encourage"),
        ("planned listless comfortable", None),  # parts of words
        ("emotional support", None),
        ("no advice", None),
        ("", None),
        ("不要建议，只想有人听她说完", "listen"),
        ("不是要建议而是安慰", "validate"),
        ("不知道怎么办", "advise"),  # not knowing is no denial
        ("别人的建议", "advise"),
        ("特别需要鼓励", "encourage"),
        ("希望被理解", "validate"),
        ("弄明白他为什么走", "understand"),
        ("出去散散心，透口气", "distract"),
        ("陪伴", None),
    ],
)
def test_a_need_in_free_text(text: str, need: str | None) -> None:
    assert need_of(text) == need


@pytest.mark.parametrize(
    ("text", "pole"),
    [
        ("A quiet, responsible night porter", ("extraversion", "low")),
        ("A responsible, quiet night porter", ("conscientiousness", "high")),
        ("not very open, rather guarded", ("agreeableness", "low")),
        ("emotionally exhausted", None),
        ("down-to-earth", ("openness", "low")),
        ("a worrier", ("neuroticism", "high")),
        ("不太开朗，但是务实", ("openness", "low")),
        ("对谁都不信任", ("agreeableness", "low")),  # not "信任" in it
        ("内向的钢琴师傅", ("extraversion", "low")),
        ("不安", ("neuroticism", "high")),
    ],
)
def test_a_trait_in_free_text(text: str, pole: tuple[str, str] | None) -> None:
    assert trait_of(text) == pole


@pytest.mark.parametrize(
    ("text", "emotion"),
    [
        (" Ashamed and sad", "shame"),
        ("not sad but angry", "anger"),
        ("scared", "fear"),
        ("很自责", "guilt"),
        ("overwhelmed", None),
        ("unafraid", None),
    ],
)
def test_an_emotion_in_free_text(text: str, emotion: str | None) -> None:
    assert emotion_of(text) == emotion


def test_the_overlap_is_f1_of_content_words() -> None:
    situation = "Otto lost the deposit on a boat."  # otto, lost, deposit, boat
    assert overlap(situation, situation, language="en") == 1
    assert overlap("The boat and the harbour", situation, language="en") == pytest.approx(2 / 6)
    assert overlap("I am here.", situation, language="en") == 0
    assert overlap("养老院", "送进养老院", language="zh") > 0


def test_what_fits_anybody_gains_nothing() -> None:
    own, others = "Otto lost the deposit.", ["My cat died.", "The exam failed.", "He left Rome."]
    assert situation_gain(own, own, others, language="en") == 1
    assert situation_gain("Life is hard.", own, others, language="en") == 0
    assert situation_gain(others[0], own, others, language="en") == pytest.approx(-1 / 3)
    assert situation_gain(own, own, [own, *others[1:]], language="en") == pytest.approx(2 / 3)
    assert situation_gain(own, "I am.", others, language="en") is None


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("My mother is in a home.", {"en"}),
        ("我把母亲送进了养老院", {"zh"}),
        ("Otto借走了我的押金", {"zh"}),
        ("The letter 信 arrived today", {"en"}),
        ("...", {"en", "zh"}),
    ],
)
def test_the_language_is_the_script_of_most_words(text: str, languages: set[str]) -> None:
    assert is_in_language(text, language="en") == ("en" in languages)
    assert is_in_language(text, language="zh") == ("zh" in languages)
