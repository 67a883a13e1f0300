import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.contexts import Context, contexts_of, sample_contexts
from benchmarks.dialogues import SPEAKERS, Dialogue, Turn


def dialogue(n_turns: int, name: str = "own-1") -> Dialogue:
    turns = tuple(
        Turn(
            speaker=SPEAKERS[index % 2],
            text=f"{name} turn {index}",
            strategies=("question",) if index % 2 else (),
        )
        for index in range(n_turns)
    )
    return Dialogue(
        id=name,
        source="own",
        language="en",
        emotion="fear",
        problem="exam",
        situation="finals",
        published_split=None,
        turns=turns,
    )


def test_a_context_is_everything_before_a_supporter_turn() -> None:
    first, second = contexts_of(dialogue(7))
    assert (first.id, first.turn, first.dialogue_id) == ("own-1-3", 3, "own-1")
    assert [(message.role, message.content) for message in first.messages] == [
        ("user", "own-1 turn 0"),
        ("assistant", "own-1 turn 1"),
        ("user", "own-1 turn 2"),
    ]
    assert (first.human_reply, first.human_strategies) == ("own-1 turn 3", ("question",))
    assert (first.emotion, first.problem, first.situation) == ("fear", "exam", "finals")
    assert first.seeker_words() == ["own-1 turn 0", "own-1 turn 2"]
    assert second.id == "own-1-5"


def test_the_first_reply_can_be_asked_for() -> None:
    assert [context.turn for context in contexts_of(dialogue(4), min_seeker_turns=1)] == [1, 3]


@pytest.mark.parametrize(("max_messages", "n"), [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (9, 5)])
def test_only_the_last_messages_are_kept_and_the_seeker_begins(max_messages: int, n: int) -> None:
    messages = contexts_of(dialogue(6), max_messages=max_messages)[-1].messages
    assert len(messages) == n
    assert messages[0].role == messages[-1].role == "user"
    assert messages[-1].content == "own-1 turn 4"


def test_chat_messages_are_those_of_inspect() -> None:
    (context,) = contexts_of(dialogue(4))
    messages = context.chat_messages()
    assert [(message.role, message.text) for message in messages] == [
        (message.role, message.content) for message in context.messages
    ]


def test_importing_contexts_does_not_import_inspect() -> None:
    code = "import sys, benchmarks.contexts; sys.exit('inspect_ai' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.integers(2, 15), st.integers(0, 4), st.one_of(st.none(), st.integers(1, 6)))
def test_every_context_ends_with_the_seeker_and_holds_the_next_reply(
    n_turns: int, min_seeker_turns: int, max_messages: int | None
) -> None:
    whole = dialogue(n_turns)
    contexts = contexts_of(whole, min_seeker_turns=min_seeker_turns, max_messages=max_messages)
    for context in contexts:
        assert context.messages[-1].role == context.messages[0].role == "user"
        assert context.messages[-1].content == whole.turns[context.turn - 1].text
        assert whole.turns[context.turn].speaker == "supporter"
        assert context.human_reply == whole.turns[context.turn].text
        assert max_messages is None or len(context.messages) <= max_messages
    n_replies = n_turns // 2
    assert len(contexts) == max(0, n_replies - max(1, min_seeker_turns) + 1)


def ids(contexts: list[Context]) -> list[str]:
    return [context.id for context in contexts]


def test_no_dialogue_gives_two_while_another_gave_none() -> None:
    dialogues = [dialogue(20, f"own-{number}") for number in range(8)]
    five = sample_contexts(dialogues, n=5, per_dialogue=3, seed=1)
    assert len({context.dialogue_id for context in five}) == 5
    twelve = sample_contexts(dialogues, n=12, per_dialogue=3, seed=1)
    assert ids(twelve)[:5] == ids(five)
    assert sorted(Counter(context.dialogue_id for context in twelve).values()) == [1] * 4 + [2] * 4
    everything = sample_contexts(dialogues, n=1000, per_dialogue=3, seed=1)
    assert len(everything) == 24


def test_a_sample_depends_on_the_seed_and_not_on_the_order() -> None:
    dialogues = [dialogue(20, f"own-{number}") for number in range(8)]
    sample = sample_contexts(dialogues, n=6, per_dialogue=1, seed=1)
    assert sample == sample_contexts(dialogues[::-1], n=6, per_dialogue=1, seed=1)
    assert sample != sample_contexts(dialogues, n=6, per_dialogue=1, seed=2)


def test_dialogues_that_are_too_short_are_passed_over() -> None:
    dialogues = [dialogue(2, "own-short"), dialogue(6, "own-long")]
    assert len(sample_contexts(dialogues, n=2, per_dialogue=5, seed=0)) == 2
    assert sample_contexts(dialogues[:1], n=2, per_dialogue=5, seed=0) == []
    kept = sample_contexts(
        dialogues, n=9, per_dialogue=9, seed=0, min_seeker_turns=1, max_messages=1
    )
    assert {len(context.messages) for context in kept} == {1}
    assert len(kept) == 4


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="n=0 and per_dialogue=1 must be at least 1"):
        sample_contexts([dialogue(6)], n=0, per_dialogue=1, seed=0)
    with pytest.raises(ValueError, match="max_messages=0 must be at least 1, or None"):
        contexts_of(dialogue(6), max_messages=0)
