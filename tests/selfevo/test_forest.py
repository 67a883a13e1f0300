"""What shares a beginning stands once, and every token sees its own sequence up to itself."""

from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.forest import Forest, Stretch, forest, visible

torch = pytest.importorskip("torch", reason="needs the [train] extra")

from selfevo import forest_attention  # noqa: E402

# three tokens only, so that many beginnings are equal
token = st.integers(0, 2)
sequences = st.lists(st.lists(token, min_size=1, max_size=14), min_size=1, max_size=7)
known = st.lists(st.lists(token, max_size=8), max_size=4)
layouts = settings(max_examples=60, deadline=None)


def beginnings(rows):
    return {tuple(row[:n]) for row in rows for n in range(1, len(row) + 1)}


def all_ids(laid: Forest, known_rows) -> np.ndarray:
    """The token of every key."""
    before = np.array([token for row in known_rows for token in row], dtype=np.int64)
    return np.concatenate([before, laid.ids])


# the layout


@layouts
@given(sequences, known, st.booleans())
def test_places_spell_the_sequences(rows, known_rows, last):
    laid = forest(rows, known_rows, last=last)
    ids = all_ids(laid, known_rows)
    assert laid.n_known == sum(map(len, known_rows))
    assert laid.n_keys == len(ids)
    assert len(laid.places) == len(rows)
    for row, places in zip(rows, laid.places, strict=True):
        assert ids[places].tolist() == row


@layouts
@given(sequences, known, st.booleans())
def test_a_position_is_the_place_in_every_sequence(rows, known_rows, last):
    laid = forest(rows, known_rows, last=last)
    unplaced = set(range(laid.n_known, laid.n_keys))
    for places in laid.places:
        for at, key in enumerate(places):
            if key >= laid.n_known:
                assert laid.positions[key - laid.n_known] == at
        unplaced -= set(places.tolist())
    assert not unplaced  # nothing is read that no sequence needs


@layouts
@given(sequences, known)
def test_a_beginning_is_read_once_and_a_known_one_never(rows, known_rows):
    laid = forest(rows, known_rows)
    assert len(laid.ids) == len(beginnings(rows) - beginnings(known_rows))


@layouts
@given(sequences, known)
def test_last_tokens_are_read_each_by_itself(rows, known_rows):
    laid = forest(rows, known_rows, last=True)
    before_the_last = beginnings(row[:-1] for row in rows) - beginnings(known_rows)
    assert len(laid.ids) == len(before_the_last) + len(rows)
    lasts = [places[-1] for places in laid.places]
    assert min(lasts) >= laid.n_known
    assert len(set(lasts)) == len(rows)


@layouts
@given(sequences, known)
def test_equal_beginnings_stand_at_the_same_places(rows, known_rows):
    laid = forest(rows, known_rows)
    where = {}
    for row, places in zip(rows, laid.places, strict=True):
        for n in range(1, len(row) + 1):
            assert where.setdefault(tuple(row[:n]), tuple(places[:n])) == tuple(places[:n])


@layouts
@given(sequences, known, st.booleans())
def test_paths_follow_each_other_and_branches_of_one_place_are_neighbours(rows, known_rows, last):
    laid = forest(rows, known_rows, last=last)
    at = laid.n_known
    for branches in laid.branches:
        for path in branches.paths:
            assert path.start == at < path.stop
            at = path.stop
        assert all(stretch.stop <= branches.paths[0].start for stretch in branches.beginning)
    assert at == laid.n_keys
    beginning = [branches.beginning for branches in laid.branches if branches.beginning]
    assert len(beginning) == len(set(beginning))


@layouts
@given(sequences, known, st.booleans())
def test_the_order_of_the_sequences_changes_no_size(rows, known_rows, last):
    one, other = forest(rows, known_rows, last=last), forest(rows[::-1], known_rows, last=last)
    assert len(one.ids) == len(other.ids)
    assert sorted(one.ids) == sorted(other.ids)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_the_trunk_of_a_dialogue_is_one_path(n_turns, turn, reply):
    trunk = list(range(n_turns * turn))
    rows = [
        trunk[: depth * turn] + [1000 * depth + 100 * side + i for i in range(reply)]
        for depth in range(1, n_turns + 1)
        for side in (1, 2)
    ]
    laid = forest(rows)
    assert laid.branches[0] == ((), (Stretch(0, len(trunk) + reply),))
    assert {branches.beginning for branches in laid.branches[1:]} == {
        (Stretch(0, depth * turn),) for depth in range(1, n_turns + 1)
    }
    for branches in laid.branches[1:]:
        deepest = branches.beginning[0].stop == len(trunk)
        assert len(branches.paths) == (1 if deepest else 2)


def test_a_small_forest_by_hand():
    laid = forest([[7, 8, 9], [7, 8, 5], [7, 6]], known=[[7]])
    assert laid.ids.tolist() == [8, 9, 6, 5]
    assert laid.positions.tolist() == [1, 2, 1, 2]
    assert [places.tolist() for places in laid.places] == [[0, 1, 2], [0, 1, 4], [0, 3]]
    assert visible(laid).astype(int).tolist() == [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1],
    ]


def test_of_two_known_copies_the_first_is_used():
    laid = forest([[1, 2, 3]], known=[[1, 2], [1, 2, 3]])
    assert laid.places[0].tolist() == [0, 1, 4]
    assert not len(laid.ids)


# who sees whom, as each attention is told


def seen_through_tiles(laid: Forest) -> np.ndarray:
    seen = np.zeros((len(laid.ids), laid.n_keys), dtype=int)
    for tile in forest_attention._tiles(laid):
        for stretch in tile.seen:
            seen[tile.queries, stretch] += 1
        seen[tile.queries, tile.own] += ~tile.hidden.numpy()
        assert tile.own == slice(
            tile.queries.start + laid.n_known, tile.queries.stop + laid.n_known
        )
    return seen


def seen_through_tables(laid: Forest) -> np.ndarray:
    path_of_key, offset, limit = forest_attention.visibility_tables(laid)
    keys = np.arange(laid.n_keys)
    mine, theirs = path_of_key[laid.n_known :, None], path_of_key[None, :]
    before = keys[None, :] <= keys[laid.n_known :, None]
    return np.where(mine == theirs, before, offset[None, :] < limit[mine, theirs])


@layouts
@given(sequences, known, st.booleans(), st.sampled_from([1, 2, 3, 5, 64]))
def test_tiles_show_every_token_its_sequence_once(rows, known_rows, last, tile):
    laid = forest(rows, known_rows, last=last)
    with mock.patch.object(forest_attention, "TILE", tile):
        assert np.array_equal(seen_through_tiles(laid), visible(laid))


@layouts
@given(sequences, known, st.booleans(), st.sampled_from([1, 2, 3, 5]))
def test_no_tile_is_larger_than_it_should_be(rows, known_rows, last, tile):
    laid = forest(rows, known_rows, last=last)
    with mock.patch.object(forest_attention, "TILE", tile):
        assert (
            max((len(found.hidden) for found in forest_attention._tiles(laid)), default=0) <= tile
        )


@layouts
@given(sequences, known, st.booleans())
def test_tables_show_every_token_its_sequence(rows, known_rows, last):
    laid = forest(rows, known_rows, last=last)
    assert np.array_equal(seen_through_tables(laid), visible(laid))
