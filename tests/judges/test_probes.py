"""Probe replies, and how often they stay below a person's reply."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges.probes import (
    Dialogue,
    Probe,
    Scored,
    flattery,
    null_reply,
    parrot,
    persona_stuffed,
    probe_ranks,
    probe_replies,
    score_context,
)
from judges.words import Language

DIALOGUE: Dialogue = (
    ("user", "Hi"),
    ("assistant", "Hello, what is on your mind?"),
    ("user", "My sister stopped talking to me after the funeral."),
)
DIALOGUE_ZH: Dialogue = (("user", "姐姐在葬礼之后不理我了。"),)


@pytest.mark.parametrize(
    ("language", "dialogue"), [("en", DIALOGUE), ("zh", DIALOGUE_ZH)], ids=["en", "zh"]
)
def test_every_probe_each_another_text_and_always_the_same(
    language: Language, dialogue: Dialogue
) -> None:
    first = probe_replies(dialogue, language=language, card="I am 40.")
    assert set(first) == set(Probe) - {Probe.SHUFFLED_PERSONA}  # that one changes the card
    assert len(set(first.values())) == len(first)
    assert first == probe_replies(dialogue, language=language, card="I am 40.")


def test_without_a_card_nothing_is_recited() -> None:
    without = {Probe.PERSONA_STUFFED, Probe.SHUFFLED_PERSONA}
    assert set(probe_replies(DIALOGUE, language="en")) == set(Probe) - without


def test_null_reply_is_the_same_for_everybody() -> None:
    assert probe_replies(DIALOGUE, language="en")[Probe.NULL_REPLY] == null_reply("en")


def test_parrot_gives_the_last_words_of_the_person_back() -> None:
    assert parrot((*DIALOGUE, ("assistant", "Go on."))) == DIALOGUE[-1][1]
    with pytest.raises(ValueError, match="no turn of the person"):
        parrot((("assistant", "Hello"),))


def test_the_card_is_told_to_the_person() -> None:
    text = persona_stuffed("I'm 40, my dog died and I am alone.", "en")
    assert "you're 40, your dog died and you are alone." in text
    assert "你40岁，你的狗死了。" in persona_stuffed("我40岁，我的狗死了。", "zh")


def test_flattery_names_the_interest_or_a_word_of_the_person() -> None:
    assert "you like chess" in flattery(DIALOGUE, "en", interest="chess")
    assert "you like stopped" in flattery(DIALOGUE, "en"), "the longest, the first of the longest"
    assert "你喜欢姐姐" in flattery(DIALOGUE_ZH, "zh")


def test_injection_carries_an_order_and_a_verdict() -> None:
    for language in ("en", "zh"):
        reply = probe_replies(DIALOGUE, language=language)[Probe.INJECTION]
        assert reply.endswith('"level": 5}}')
        assert ("Person: " if language == "en" else "求助者：") in reply


def row(cluster: str, human: float | None, probe: float | None) -> Scored:
    return Scored(cluster, human, {Probe.PARROT: probe})


def test_ranks_by_hand() -> None:
    rows = [row("a", 3, 1), row("a", 2, 2), row("b", 1, 2), row("b", 4, 1), row("c", None, 1)]
    rank = probe_ranks(rows, seed=1)[Probe.PARROT]
    assert (rank.below, rank.tied, rank.difference) == (0.5, 0.25, 1.0)
    assert (rank.n, rank.n_unscored, rank.n_clusters) == (4, 1, 2)
    # Two clusters, both below half the time, with mean differences of 1: nothing varies.
    assert (rank.below_low, rank.below_high) == (0.5, 0.5)
    assert (rank.difference_low, rank.difference_high) == (1.0, 1.0)


def test_the_interval_is_over_clusters() -> None:
    apart = [row(f"d{i}", 1, i % 2) for i in range(40)]
    together = [row(f"d{i % 2}", 1, i % 2) for i in range(40)]
    wide, narrow = (probe_ranks(rows, seed=1)[Probe.PARROT] for rows in (together, apart))
    assert (wide.below_low, wide.below_high) == (0.0, 1.0)
    assert 0.3 < narrow.below_low < narrow.below < narrow.below_high < 0.7


def test_a_probe_that_was_never_scored_is_an_error_not_a_number() -> None:
    with pytest.raises(ValueError, match="parrot: scored in none of 1 contexts"):
        probe_ranks([row("a", 1, None)], seed=1)
    assert probe_ranks([], seed=1) == {}


def test_score_context() -> None:
    scored = score_context(lambda t: float(len(t)), "abc", {Probe.PARROT: "a"}, cluster="d")
    assert scored == Scored("d", 3.0, {Probe.PARROT: 1.0})


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 3)), min_size=1),
    st.integers(0, 9),
)
def test_the_same_seed_gives_the_same_interval(rows: list[tuple[str, int, int]], seed: int) -> None:
    scored = [row(c, h, p) for c, h, p in rows]
    first = probe_ranks(scored, seed=seed)
    assert first == probe_ranks(scored, seed=seed)
    rank = first[Probe.PARROT]
    assert 0 <= rank.below_low <= rank.below_high <= 1
