import pytest
from hypothesis import given
from hypothesis import strategies as st

from judges.words import as_tokens, clauses, ngrams, split_words, word_texts, words


def test_english_words_keep_apostrophes_and_lose_punctuation() -> None:
    assert word_texts("I’m SORRY -- it's 3 o'clock!") == (
        *("i'm", "sorry", "it's", "3", "o'clock"),
    )


def test_chinese_characters_are_words_and_a_name_inside_is_one() -> None:
    assert word_texts("我在IBM工作，3年了。") == (*"我在", "ibm", *"工作3年了")


def test_spans_index_the_text() -> None:
    assert words("Oh, 你好") == [("oh", 0, 2), ("你", 4, 5), ("好", 5, 6)]


def test_rare_han_characters_count() -> None:
    assert len(words("𠮷野")) == 2


def test_no_word() -> None:
    assert words(" ... 🙂 _ ") == []


def test_as_tokens() -> None:
    assert (as_tokens(4, "en"), as_tokens(4, "zh"), as_tokens(3, "zh")) == (4, 6, 5)


def test_clauses() -> None:
    assert clauses("Oh no! I see, well... 🙂") == ["Oh no", " I see", " well"]


def test_ngrams() -> None:
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a"], 2) == []
    with pytest.raises(ValueError, match="n is 0"):
        ngrams(["a"], 0)


@given(st.text() | st.text(alphabet="aB9 '’-_.\n", max_size=12))
def test_short_cuts_change_no_word(text: str) -> None:
    assert split_words(text) == [word.text for word in words(text)]
    assert list(word_texts(text)) == split_words(text)


@given(st.text())
def test_spans_are_ordered_and_inside(text: str) -> None:
    end = 0
    for word in words(text):
        assert end <= word.start < word.end <= len(text)
        assert len(word.text) >= 1
        end = word.end
