"""Batches of whole dialogues: every pair once an epoch, within the budget."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the [train] extra")
accelerate_loader = pytest.importorskip("accelerate.data_loader", reason="needs the [train] extra")

from selfevo.tree_batches import PairTokens, TreeBatches, n_distinct  # noqa: E402

layouts = settings(max_examples=40, deadline=None)


def pair(dialogue: int, depth: int, reply: int) -> PairTokens:
    """Of a dialogue with its own trunk; the two replies share nothing."""
    trunk = [1000 * dialogue + i for i in range(depth)]
    return PairTokens(str(dialogue), trunk, [-1] * reply, [-2] * reply)


pairs_of_dialogues = st.lists(
    st.builds(pair, st.integers(0, 3), st.integers(1, 12), st.integers(1, 5)),
    min_size=1,
    max_size=16,
)
sizes, budgets = st.integers(1, 6), st.integers(1, 60)


def batches_of(pairs, size, budget, **options):
    return TreeBatches(pairs, batch_size=size, token_budget=budget, seed=3, **options)


def dialogues_of(batch, pairs):
    return {pairs[index].dialogue for index in batch}


@layouts
@given(pairs_of_dialogues, sizes, budgets)
def test_every_pair_once_an_epoch_in_as_many_batches(pairs, size, budget):
    batches = batches_of(pairs, size, budget)
    for epoch in range(3):
        batches.set_epoch(epoch)
        seen = list(batches)
        assert sorted(index for batch in seen for index in batch) == list(range(len(pairs)))
        assert len(seen) == len(batches)
        assert all(seen)


@layouts
@given(pairs_of_dialogues, sizes, budgets)
def test_the_budget_is_kept_except_by_a_single_pair(pairs, size, budget):
    for batch in batches_of(pairs, size, budget):
        assert len(batch) == 1 or n_distinct([pairs[index] for index in batch]) <= budget


@layouts
@given(pairs_of_dialogues, sizes, budgets)
def test_a_dialogue_that_fits_is_whole(pairs, size, budget):
    batches = list(batches_of(pairs, size, budget))
    for dialogue in {pair.dialogue for pair in pairs}:
        own = [pair for pair in pairs if pair.dialogue == dialogue]
        n_batches = sum(dialogue in dialogues_of(batch, pairs) for batch in batches)
        if n_distinct(own) <= budget:
            assert n_batches == 1


@layouts
@given(pairs_of_dialogues, sizes, budgets)
def test_no_dialogue_joins_a_batch_with_enough_pairs(pairs, size, budget):
    for batch in batches_of(pairs, size, budget):
        last = pairs[batch[-1]].dialogue
        before = [index for index in batch if pairs[index].dialogue != last]
        assert len(before) < size


def test_a_dialogue_beyond_the_budget_is_cut_in_order_of_depth():
    depths = (9, 3, 6, 12)
    pairs = [pair(0, depth, 2) for depth in depths]
    # 6 + 2 * 4 tokens for the first two, 12 + 2 * 4 for the others
    batches = sorted(batches_of(pairs, 1, 20).batches)
    assert batches == [[0, 3], [1, 2]]
    assert sorted(batches_of(pairs, 1, 19).batches) == [[0], [1, 2], [3]]


def test_tokens_are_counted_once():
    # trunk of 5, of which 3 are shared, and four replies of 2
    assert n_distinct([pair(0, 5, 2), pair(0, 3, 2)]) == 5 + 4 * 2
    assert n_distinct([pair(0, 5, 2), pair(1, 5, 2)]) == 2 * (5 + 2 * 2)


def test_the_order_is_another_each_epoch_and_the_same_each_time():
    pairs = [pair(dialogue, 4, 2) for dialogue in range(12)]

    def orders():
        batches = batches_of(pairs, 1, 100)
        for epoch in range(3):
            batches.set_epoch(epoch)
            yield list(batches)

    first, again = list(orders()), list(orders())
    assert first == again
    assert first[0] != first[1] != first[2] != first[0]
    assert sorted(first[0]) == sorted(first[1]) == sorted(first[2])


def test_another_seed_is_another_order():
    pairs = [pair(dialogue, 4, 2) for dialogue in range(12)]
    one, other = (
        list(TreeBatches(pairs, batch_size=1, token_budget=100, seed=seed)) for seed in (1, 2)
    )
    assert one != other


@layouts
@given(pairs_of_dialogues, sizes, budgets, st.integers(2, 3))
def test_processes_get_equally_many_and_together_all(pairs, size, budget, n_processes):
    batches = batches_of(pairs, size, budget, n_processes=n_processes)
    shards = [
        accelerate_loader.BatchSamplerShard(
            batches, num_processes=n_processes, process_index=rank, even_batches=False
        )
        for rank in range(n_processes)
    ]
    read = [list(shard) for shard in shards]
    assert len({len(part) for part in read}) == 1
    assert [len(part) for part in read] == [len(shard) for shard in shards]
    seen = {index for part in read for batch in part for index in batch}
    assert seen == set(range(len(pairs)))
    alone = batches_of(pairs, size, budget)
    assert 0 <= len(batches) - len(alone) < n_processes
