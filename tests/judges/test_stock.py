import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.stock import is_stock, stock_phrases, stock_share
from judges.words import Language, words


@pytest.mark.parametrize(("language", "at_least"), [("en", 80), ("zh", 50)])
def test_lists_are_long_enough_and_clean(language: Language, at_least: int) -> None:
    phrases = stock_phrases(language)
    assert len(phrases) >= at_least
    assert len(set(phrases)) == len(phrases)
    assert all(words(phrase) and not phrase.startswith("#") for phrase in phrases)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_phrase_is_stock(language: Language) -> None:
    assert [p for p in stock_phrases(language) if not is_stock(p, language=language)] == []


@pytest.mark.parametrize(
    ("reply", "language"),
    [
        ("I’m sorry to hear that!", "en"),
        ("I am really so sorry to hear this.", "en"),
        ("im sorry to hear that", "en"),
        ("I'm sorry to hear that it must be hard for you", "en"),
        ("Oh, that sounds really difficult. I'm here for you. You're not alone.", "en"),
        ("I see.", "en"),
        ("听到这个我很难过，我能理解你的感受。一切都会好起来的！", "zh"),
        ("加油，你可以的", "zh"),
    ],
)
def test_stock_replies(reply: str, language: Language) -> None:
    assert is_stock(reply, language=language)


@pytest.mark.parametrize(
    ("reply", "language"),
    [
        ("I'm sorry to hear that your dog ran away on Monday.", "en"),
        ("I see him every day", "en"),
        ("I understand why your boss scares you", "en"),
        ("How can I help your sister?", "en"),
        ("What did your sister say?", "en"),
        ("我理解你对妹妹的愧疚", "zh"),
        ("你妹妹后来怎么说？", "zh"),
        ("...", "en"),
    ],
)
def test_near_misses_are_not_stock(reply: str, language: Language) -> None:
    assert not is_stock(reply, language=language)


def test_share_by_hand() -> None:
    # "i am sorry to hear that" are 6 of the 11 forms; "I'm" is two.
    assert stock_share("I'm sorry to hear that your dog ran away yesterday", language="en") == (
        6 / 11
    )
    assert stock_share("Your dog ran away.", language="en") == 0


def test_share_chinese_by_hand() -> None:
    assert stock_share("我能理解你的感受，你的狗跑了", language="zh") == 8 / 13


def test_share_is_undefined_only_without_words() -> None:
    assert stock_share("🙂 !", language="en") is None
    assert stock_share("Really?", language="en") == 0


@given(st.text(), st.sampled_from(["en", "zh"]))
def test_share_is_a_share(reply: str, language: Language) -> None:
    share = stock_share(reply, language=language)
    assert (share is None) == (not words(reply))
    assert share is None or 0 <= share <= 1
