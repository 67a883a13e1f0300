import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dialogues import SPLIT_NAMES, Dialogue, SplitName, Turn
from benchmarks.splits import (
    Leak,
    Splits,
    check_leakage,
    normalise_situation,
    split_dialogues,
)

TURNS = (Turn(speaker="seeker", text="Hi."), Turn(speaker="supporter", text="Hello."))


def dialogue(
    number: int, situation: str | None = None, published: SplitName | None = None
) -> Dialogue:
    return Dialogue(
        id=f"own-{number}",
        source="own",
        language="en",
        emotion=None,
        problem=None,
        situation=situation,
        published_split=published,
        turns=TURNS,
    )


def ids(dialogues: tuple[Dialogue, ...]) -> set[str]:
    return {item.id for item in dialogues}


def test_situations_are_compared_without_case_punctuation_and_spaces() -> None:
    spellings = ["I lost  my job!", "i lost my job", " I LOST, my job... ", "I lost\nmy job？"]
    assert {normalise_situation(spelling) for spelling in spellings} == {"i lost my job"}
    assert normalise_situation("失业了。") == normalise_situation("失业了！") == "失业了"
    assert normalise_situation(None) == normalise_situation("...") == ""


def test_published_splits_are_used_where_at_least_two_are_declared() -> None:
    dialogues = [dialogue(1, "a", "train"), dialogue(2, "b", "gate"), dialogue(3, "c", "final")]
    splits = split_dialogues(dialogues, seed=0)
    assert splits.is_published
    assert [ids(splits[name]) for name in SPLIT_NAMES] == [{"own-1"}, {"own-2"}, {"own-3"}]
    alone = [dialogue(number, str(number), "train") for number in range(40)]
    split_alone = split_dialogues(alone, seed=0)
    assert not split_alone.is_published
    assert split_alone.gate


def test_a_leaking_dialogue_is_removed_from_the_held_out_side() -> None:
    dialogues = [
        dialogue(1, "Lost my job.", "train"),
        dialogue(2, "lost my job", "gate"),
        dialogue(3, "Other", "gate"),
        dialogue(4, "other!", "final"),
        dialogue(5, "LOST MY JOB", "final"),
        dialogue(6, None, "final"),
        dialogue(7, "", "train"),
    ]
    splits = split_dialogues(dialogues, seed=0)
    assert [ids(splits[name]) for name in SPLIT_NAMES] == [{"own-1", "own-7"}, {"own-3"}, {"own-6"}]
    assert [(drop.where, drop.detail) for drop in splits.dropped] == [
        ("own-2", "its situation is in train"),
        ("own-4", "its situation is in gate"),
        ("own-5", "its situation is in train"),
    ]


def test_leaks_are_listed_with_their_dialogues() -> None:
    splits = Splits(
        train=(dialogue(1, "A b"), dialogue(2, "c")),
        gate=(dialogue(3, "a B."),),
        final=(dialogue(4, "d"),),
        is_published=True,
    )
    assert check_leakage(splits) == [Leak("a b", ("own-1", "own-3"), ("train", "gate"))]


def test_the_shares_are_what_was_asked_for() -> None:
    dialogues = [dialogue(number, str(number)) for number in range(4000)]
    splits = split_dialogues(dialogues, seed=3)
    assert len(splits.gate) / 4000 == pytest.approx(0.3, abs=0.03)
    assert len(splits.final) / 4000 == pytest.approx(0.1, abs=0.02)
    everything = split_dialogues(dialogues, seed=3, gate=0, final=0)
    assert len(everything.train) == 4000


def test_another_seed_gives_another_split() -> None:
    dialogues = [dialogue(number, str(number)) for number in range(100)]
    assert split_dialogues(dialogues, seed=1) != split_dialogues(dialogues, seed=2)


@pytest.mark.parametrize(("gate", "final"), [(-0.1, 0.1), (0.3, -0.1), (0.7, 0.3)])
def test_shares_that_leave_nothing_to_train_on_are_refused(gate: float, final: float) -> None:
    with pytest.raises(ValueError, match="must be >= 0 and leave some for train"):
        split_dialogues([dialogue(1)], seed=0, gate=gate, final=final)


situations = st.one_of(st.none(), st.sampled_from(["", "a", "A.", "b", "c d", "C-D", "e"]))
published = st.one_of(st.none(), st.sampled_from(SPLIT_NAMES))
collections = st.lists(st.tuples(situations, published), max_size=25).map(
    lambda items: [dialogue(number, *item) for number, item in enumerate(items)]
)


@given(collections, st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_split_is_a_partition_without_leaks_whatever_the_order(
    dialogues: list[Dialogue], seed: int, random: "object"
) -> None:
    splits = split_dialogues(dialogues, seed=seed)
    parts = [item.id for name in SPLIT_NAMES for item in splits[name]]
    dropped = [drop.where for drop in splits.dropped]
    assert sorted(parts + dropped) == sorted(item.id for item in dialogues)
    assert check_leakage(splits) == []
    assert splits.is_published or not dropped
    shuffled = list(dialogues)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    again = split_dialogues(shuffled, seed=seed)
    assert [ids(again[name]) for name in SPLIT_NAMES] == [ids(splits[name]) for name in SPLIT_NAMES]


@given(collections, st.integers(0, 5))
def test_adding_a_dialogue_moves_none(dialogues: list[Dialogue], seed: int) -> None:
    unpublished = [item.model_copy(update={"published_split": None}) for item in dialogues]
    before = split_dialogues(unpublished, seed=seed)
    after = split_dialogues([*unpublished, dialogue(99, "new")], seed=seed)
    for name in SPLIT_NAMES:
        assert ids(before[name]) <= ids(after[name])
