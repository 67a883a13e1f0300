"""One pass over many sequences that begin alike: every shared beginning is read once.

A dialogue's preference pairs are one tree: the dialogue is its trunk, each reply a branch that
leaves the trunk where it was given. Several dialogues are a forest. So are the questions about one
dialogue with their labels, and the turns of one conversation. This module only lays tokens out; the
attention over them is `forest_attention.py`.

The layout: each sequence is followed along those already laid out for as long as the tokens are
equal; what is new is a *path*, and its tokens stand next to each other. A token sees the tokens of
its own sequence up to itself, and no others. For a path these are a few stretches of its ancestors,
seen whole, and the path itself, each token up to itself.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]

_ROOT = -1


class Stretch(NamedTuple):
    """The keys `start` to `stop`, half open."""

    start: int
    stop: int


class Branches(NamedTuple):
    """Neighbouring paths that leave their ancestors at the same place."""

    beginning: tuple[Stretch, ...]
    """Keys that every token of them sees."""
    paths: tuple[Stretch, ...]
    """The paths, next to each other, as keys; each token also sees its path up to itself."""


class Forest(NamedTuple):
    """N tokens to read, laid out so that each stands once, after M that are known already.

    Keys are counted from the known tokens on (0 to M + N); token i to read is key M + i.
    """

    ids: Ids
    """(N,) the tokens to read."""
    positions: Ids
    """(N,) place of each token in its sequences."""
    places: tuple[Ids, ...]
    """Of each sequence, the keys of its tokens in order: where to find token t of sequence i."""
    branches: tuple[Branches, ...]
    """All paths, in the order of their keys: who sees whom."""
    n_known: int

    @property
    def n_keys(self) -> int:
        """M + N."""
        return self.n_known + len(self.ids)


def forest(
    sequences: Sequence[Sequence[int]], known: Sequence[Sequence[int]] = (), *, last: bool = False
) -> Forest:
    """Lay out `sequences` (none of them empty).

    Args:
        sequences: Token ids of each.
        known: Sequences whose keys and values exist, in this order, as the keys 0 to M.
        last: Read the last token of each sequence even if it is known: generation needs its output.
    """
    # longest first, so that a trunk is one path; its branches then in the order in which they
    # leave it, so that those of one place are neighbours and see the trunk together
    by_length = sorted(range(len(sequences)), key=lambda row: (-len(sequences[row]), row))
    builder = _Builder(known)
    draft = builder.copy()
    leaves_at = {row: draft.add(sequences[row], last=last).leaves_at for row in by_length}
    placed = {
        row: builder.add(sequences[row], last=last)
        for row in sorted(by_length, key=lambda row: leaves_at[row])
    }
    return Forest(
        ids=np.array(builder.ids, dtype=np.int64),
        positions=np.array(builder.positions, dtype=np.int64),
        places=tuple(placed[row].keys for row in range(len(sequences))),
        branches=tuple(builder.branches),
        n_known=builder.n_known,
    )


def visible(laid: Forest) -> npt.NDArray[np.bool_]:
    """(N, M + N) who sees whom: the dense mask that nobody should pay for, as the tests' truth."""
    seen = np.zeros((len(laid.ids), laid.n_keys), dtype=bool)
    for places in laid.places:
        for at, key in enumerate(places):
            if key >= laid.n_known:
                seen[key - laid.n_known, places[: at + 1]] = True
    return seen


class _Placed(NamedTuple):
    """Where a sequence stands."""

    keys: Ids
    leaves_at: int
    """The key after which it goes on alone; -1 if it shares nothing."""


class _Builder:
    """A trie of the tokens laid out so far; its nodes are the keys."""

    def __init__(self, known: Sequence[Sequence[int]]) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.branches: list[Branches] = []
        self._child: dict[tuple[int, int], int] = {}
        self._n_keys = 0
        for sequence in known:
            node = _ROOT
            for token in sequence:
                # of two known copies the first is used; the second keeps its keys
                node = self._child.setdefault((node, token), self._n_keys)
                self._n_keys += 1
        self.n_known = self._n_keys

    def copy(self) -> "_Builder":
        """One that knows the same, before anything is laid out."""
        other = _Builder(())
        other._child = self._child.copy()
        other._n_keys = other.n_known = self.n_known
        return other

    def add(self, tokens: Sequence[int], *, last: bool) -> _Placed:
        """Lay out what no sequence before began with, as a new path."""
        shared = self._walk(tokens[:-1] if last else tokens)
        leaves_at = shared[-1] if shared else _ROOT
        first = self._n_keys
        self._n_keys += len(tokens) - len(shared)
        node = leaves_at
        for key, token in zip(range(first, self._n_keys), tokens[len(shared) :], strict=True):
            node = self._child.setdefault((node, token), key)
        ancestors = np.array(shared, dtype=np.int64)
        if first < self._n_keys:
            self.ids += tokens[len(shared) :]
            self.positions += range(len(shared), len(tokens))
            self._join(_stretches(ancestors), Stretch(first, self._n_keys))
        return _Placed(np.append(ancestors, np.arange(first, self._n_keys)), leaves_at)

    def _join(self, beginning: tuple[Stretch, ...], path: Stretch) -> None:
        """A path stands with its neighbours if it leaves where they do."""
        last = self.branches[-1] if self.branches else None
        if last is not None and beginning and last.beginning == beginning:
            self.branches[-1] = last._replace(paths=(*last.paths, path))
        else:
            self.branches.append(Branches(beginning, (path,)))

    def _walk(self, tokens: Sequence[int]) -> list[int]:
        """Keys of the longest beginning of `tokens` that is laid out."""
        node, found = _ROOT, []
        for token in tokens:
            child = self._child.get((node, token))
            if child is None:
                break
            found.append(child)
            node = child
        return found


def _stretches(keys: Ids) -> tuple[Stretch, ...]:
    """Runs of consecutive keys."""
    if not len(keys):
        return ()
    runs = np.split(keys, np.flatnonzero(np.diff(keys) != 1) + 1)
    return tuple(Stretch(int(run[0]), int(run[-1]) + 1) for run in runs)
