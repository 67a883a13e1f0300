import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.automatic import (
    UnhelpfulReason,
    asks_question,
    copied_spans,
    copy_rate,
    distinct_n,
    has_loop,
    is_parroting,
    n_words,
    repetition_rate,
    unhelpful_reasons,
)
from judges.words import Language

HISTORY = ["Hi.", "My boss yelled at me in front of everyone today."]
LOOP = "I am very sorry to hear that. " * 8
LOOP_ZH = "听到这个我真的很难过。" * 6
PLAIN = "Your boss shamed you in public; what would you have liked to answer him?"
PLAIN_ZH = "老板当众让你难堪，换作是我也会委屈，你当时最想说的是什么？"

words = st.sampled_from(["dog", "cat", "my", "boss", "yelled", "at", "me", "你", "好", "难"])
texts = st.lists(words, max_size=30).map(" ".join)
languages: st.SearchStrategy[Language] = st.sampled_from(["en", "zh"])


def test_copy_rate_by_hand() -> None:
    # 8 words, 5 4-grams: "boss yelled at me" and "yelled at me in" are in the history.
    assert copy_rate("So your boss yelled at me in bed", HISTORY, language="en") == 2 / 5


def test_copy_rate_of_a_copy_and_of_fresh_words() -> None:
    assert copy_rate(HISTORY[1], HISTORY, language="en") == 1
    assert copy_rate(PLAIN, HISTORY, language="en") == 0


def test_copy_rate_ignores_case_and_punctuation() -> None:
    assert copy_rate("YELLED, at me; in", HISTORY, language="en") == 1


def test_an_ngram_does_not_cross_messages() -> None:
    assert copy_rate("one two three four", ["one two", "three four"], language="en") == 0


def test_a_short_reply_is_one_ngram() -> None:
    assert copy_rate("my boss", HISTORY, language="en") == 1
    assert copy_rate("your boss", HISTORY, language="en") == 0


def test_copy_rate_is_undefined_without_words() -> None:
    assert copy_rate("...", HISTORY, language="en") is None
    assert copied_spans("...", HISTORY, language="en") == []


def test_copy_rate_chinese_uses_six_characters() -> None:
    history = ["我的老板今天骂了我"]
    # 8 characters, 3 6-grams: only "老板今天骂了" is in the history.
    assert copy_rate("老板今天骂了你呀", history, language="zh") == 1 / 3
    assert copy_rate("老板今天骂了你呀", history, language="zh", n=4) == 3 / 5


def test_copied_spans_by_hand() -> None:
    reply = "So your boss, yelled at me in bed"
    (span,) = copied_spans(reply, HISTORY, language="en")
    assert reply[span.start : span.end] == "boss, yelled at me in"


def test_two_copied_runs_are_two_spans() -> None:
    reply = "boss yelled at me? And in front of everyone!"
    spans = copied_spans(reply, HISTORY, language="en")
    assert [reply[s.start : s.end] for s in spans] == ["boss yelled at me", "in front of everyone"]


def test_three_of_four_words_are_no_copied_span() -> None:
    assert copied_spans("he yelled at me loudly", HISTORY, language="en") == []


def test_copied_span_chinese() -> None:
    reply = "你说老板今天骂了你"
    (span,) = copied_spans(reply, ["我的老板今天骂了我"], language="zh")
    assert reply[span.start : span.end] == "老板今天骂了"


@given(texts, st.lists(texts, max_size=3), languages)
def test_copying_invariants(reply: str, history: list[str], language: Language) -> None:
    rate = copy_rate(reply, history, language=language)
    spans = copied_spans(reply, history, language=language)
    end = -1
    for span in spans:
        assert end < span.start < span.end <= len(reply)
        end = span.end
    if rate is None:
        assert n_words(reply) == 0
    else:
        assert 0 <= rate <= 1
        assert (rate == 0) == (spans == [])
        if rate == 1:
            assert sum(n_words(reply[s.start : s.end]) for s in spans) == n_words(reply)


@given(texts, languages)
def test_a_reply_copies_itself(reply: str, language: Language) -> None:
    assert copy_rate(reply, [reply], language=language) in (1, None)


def test_repetition_of_a_loop_is_one() -> None:
    assert repetition_rate(LOOP, language="en") == 1
    assert repetition_rate(LOOP_ZH, language="zh") == 1


def test_repetition_by_hand() -> None:
    # 4-grams abcd bcda cdab dabc abcd: "abcd" stands there twice.
    assert repetition_rate("a b c d a b c d", language="en") == 2 / 5


def test_repetition_of_plain_and_short_text() -> None:
    assert repetition_rate(PLAIN, language="en") == 0
    assert repetition_rate("no no no", language="en") is None


@pytest.mark.parametrize(
    ("reply", "language", "is_loop"),
    [
        (LOOP, "en", True),
        (LOOP_ZH, "zh", True),
        (PLAIN, "en", False),
        (PLAIN_ZH, "zh", False),
        # A stretch of it, in a reply that is otherwise fine.
        (PLAIN + " I am here I am here I am here for your long walk back home now", "en", True),
        (PLAIN + " I am here I am here for your long walk back home now", "en", False),
        ("no no no, do not say that about yourself, please", "en", False),
        ("好的好的好的，我明白你想先把这件事放一放", "zh", False),
        ("", "en", False),
    ],
)
def test_has_loop(reply: str, language: Language, is_loop: bool) -> None:
    assert has_loop(reply, language=language) is is_loop


@given(texts, languages)
def test_repetition_is_a_share(reply: str, language: Language) -> None:
    rate = repetition_rate(reply, language=language)
    assert rate is None or 0 <= rate <= 1


@given(texts.filter(lambda text: len(text.split()) >= 5))
def test_saying_a_thing_three_times_is_a_loop(text: str) -> None:
    assert has_loop(f"{text} {text} {text}", language="en")


def test_distinct_n_by_hand() -> None:
    assert distinct_n(["a b a", "a b"], 1) == 2 / 5
    assert distinct_n(["a b a", "a b"], 2) == 2 / 3
    assert distinct_n(["你好你好"], 2) == 2 / 3
    assert distinct_n(["a", "b"], 2) is None


@given(st.lists(texts, max_size=5), st.integers(1, 3))
def test_distinct_n_is_a_share_and_falls_when_all_is_said_twice(replies: list[str], n: int) -> None:
    once, twice = distinct_n(replies, n), distinct_n(replies * 2, n)
    if once is None:
        assert twice is None
    else:
        assert 0 < once <= 1
        assert twice == pytest.approx(once / 2)


def test_n_words() -> None:
    assert (n_words("I'm fine."), n_words("我很好。"), n_words("")) == (2, 3, 0)


@pytest.mark.parametrize(
    ("reply", "asks"),
    [
        ("What happened then?", True),
        ("Oh no. How are you holding up", True),
        ("i see, have you told her", True),
        ("Is there anyone you trust", True),
        ("你愿意说说吗", True),
        ("你愿意说说吗？", True),
        ("I know what you mean.", False),
        ("That is how it is.", False),
        ("You have done a lot.", False),
        ("我明白你的意思。", False),
        ("吗啡是一种药。", False),
    ],
)
def test_asks_question(reply: str, asks: bool) -> None:
    assert asks_question(reply) is asks


def test_parroting_needs_length() -> None:
    assert is_parroting(HISTORY[1], HISTORY, language="en")
    assert not is_parroting("My boss yelled at me.", HISTORY, language="en")
    assert not is_parroting(PLAIN, HISTORY, language="en")


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        (PLAIN, ()),
        (" ... ", (UnhelpfulReason.EMPTY,)),
        ("I think that your boss was unfair, and", (UnhelpfulReason.UNFINISHED,)),
        ("That was unfair.\nSeeker: yes it was", (UnhelpfulReason.ROLE_CONFUSION,)),
        ("Revised reply: That was unfair of your boss.", (UnhelpfulReason.META_TEXT,)),
        (LOOP, (UnhelpfulReason.REPETITION, UnhelpfulReason.STOCK_REPLY)),
        (HISTORY[1], (UnhelpfulReason.PARROTING,)),
        ("I'm so sorry to hear that. You are not alone.", (UnhelpfulReason.STOCK_REPLY,)),
        ("Honestly, this is your own fault.", (UnhelpfulReason.DISMISSAL,)),
        ("Nobody may tell you that this is your own fault.", ()),
    ],
)
def test_unhelpful_reasons(reply: str, reasons: tuple[UnhelpfulReason, ...]) -> None:
    assert unhelpful_reasons(reply, HISTORY, language="en", stop_reason="stop") == reasons


def test_unhelpful_reasons_chinese() -> None:
    assert unhelpful_reasons(PLAIN_ZH, [], language="zh") == ()
    assert unhelpful_reasons("我能理解你的感受。加油！", [], language="zh") == (
        UnhelpfulReason.STOCK_REPLY,
    )
    assert unhelpful_reasons("说到底都是你自己的错。", [], language="zh") == (
        UnhelpfulReason.DISMISSAL,
    )


def test_a_stop_reason_makes_a_reply_unfinished() -> None:
    assert unhelpful_reasons(PLAIN, HISTORY, language="en", stop_reason="max_tokens") == (
        UnhelpfulReason.UNFINISHED,
    )
