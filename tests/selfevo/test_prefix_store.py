from itertools import chain

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the [train] extra")

from selfevo.prefix_store import PrefixStore  # noqa: E402

SEQUENCES = st.lists(st.integers(0, 2), min_size=1, max_size=8)
BYTES = 2 * 4 * 3
"""Of one token in `kv`."""


def kv(tokens):
    """(1 layer, 2, 1 head, T, 3): of each token a number that says which tokens came before it."""
    paths = [hash(tuple(tokens[: i + 1])) % 2**20 for i in range(len(tokens))]
    found = torch.tensor(paths, dtype=torch.float32)
    return torch.stack([found, -found]).reshape(1, 2, 1, -1, 1).expand(-1, -1, -1, -1, 3)


def filled(sequences, max_bytes=2**20):
    store = PrefixStore(max_bytes)
    for tokens in sequences:
        store.add(tokens, kv(tokens))
    return store


def n_known(store, tokens):
    found = store.known([tokens])
    return int(found.is_first.sum())


def test_any_beginning_of_what_is_stored_is_known():
    store = filled([[1, 2, 3, 4], [1, 2, 9]])
    assert [n_known(store, t) for t in ([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 9], [1, 8], [2])] == [
        3,
        4,
        3,
        1,
        0,
    ]
    assert store.n_bytes == 5 * BYTES


@example(stored=[[1, 0], [1, 0, 1], [1, 1]], asked=[[1, 1]])  # a cut must not lead into its rest
@given(stored=st.lists(SEQUENCES, max_size=8), asked=st.lists(SEQUENCES, min_size=1, max_size=5))
def test_known_is_the_longest_common_beginning_with_its_keys_once(stored, asked):
    store = filled(stored)
    found = store.known(asked)
    tokens = list(chain.from_iterable(found.sequences))
    paths = list(chain.from_iterable(kv(s)[0, 0, 0, :, 0].tolist() for s in found.sequences))
    assert len(found.is_first) == len(tokens)
    pieces = [piece[0, 0, 0, :, 0] for piece in found.pieces]
    listed = torch.cat(pieces).tolist() if pieces else []
    assert listed == [p for p, first in zip(paths, found.is_first, strict=True) if first]
    assert len(set(listed)) == len(listed) and set(listed) == set(paths)
    beginnings = {tuple(s[:n]) for s in stored for n in range(1, len(s) + 1)}
    covered = {tuple(s[:n]) for s in found.sequences for n in range(1, len(s) + 1)}
    wanted = {tuple(s[:n]) for s in asked for n in range(1, len(s) + 1)}
    assert covered == beginnings & wanted


@settings(max_examples=60)
@given(stored=st.lists(SEQUENCES, max_size=12), room=st.integers(0, 12))
def test_what_is_kept_has_its_right_keys_and_fits(stored, room):
    store = filled(stored, room * BYTES)
    assert store.n_bytes <= room * BYTES
    everything = store.known(stored or [[0]])
    assert int(everything.is_first.sum()) * BYTES <= store.n_bytes
    for sequence in everything.sequences:
        alone = store.known([sequence])
        assert alone.sequences == (sequence,)
        assert torch.equal(torch.cat(alone.pieces, -2), kv(sequence))


def test_the_longest_unused_end_goes_first():
    store = filled([[1, 2, 3], [1, 2, 4], [1, 2, 5]], 5 * BYTES)
    store.known([[1, 2, 3]])
    store.add([7], kv([7]))
    assert [n_known(store, [1, 2, last]) for last in (3, 4, 5)] == [3, 2, 3]
    assert n_known(store, [7]) == 1


def test_a_sequence_larger_than_the_store_is_not_stored():
    store = filled([[1, 2]], 2 * BYTES)
    store.add([3, 4, 5], kv([3, 4, 5]))
    assert n_known(store, [3, 4, 5]) == 0
    assert n_known(store, [1, 2]) == 2


def test_stored_keys_do_not_change_with_their_source():
    tokens = [1, 2, 3]
    source = kv(tokens).clone()
    store = PrefixStore(2**20)
    store.add(tokens, source)
    source.zero_()
    assert torch.equal(torch.cat(store.known([tokens]).pieces, -2), kv(tokens))


def test_an_empty_store_knows_nothing():
    found = PrefixStore(2**20).known([[1, 2], [3]])
    assert found.sequences == found.pieces == ()
    assert found.is_first.dtype == np.bool_ and len(found.is_first) == 0
