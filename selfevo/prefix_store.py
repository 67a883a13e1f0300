"""Keys and values of what was read and written before, found again by their tokens.

A tree of stretches: what several prompts begin with (principles, a system message, the first turns
of a dialogue) is kept once. The least recently used ends go when room runs out. Any beginning of a
stored sequence can be used, also one that stops within a stretch.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Ids = npt.NDArray[np.int64]


class Known(NamedTuple):
    """The stored beginnings of some sequences."""

    sequences: tuple[tuple[int, ...], ...]
    """Their token ids; some may begin alike."""
    is_first: npt.NDArray[np.bool_]
    """Of all these tokens, one sequence after another: whether no earlier one shares the token."""
    pieces: tuple[torch.Tensor, ...]
    """(layers, 2, heads, T, d) of the tokens that are first, in order."""


class _Stretch:
    """Tokens that follow their parent's, and their keys and values (layers, 2, heads, T, d)."""

    def __init__(self, ids: Ids, kv: torch.Tensor, parent: "_Stretch | None") -> None:
        self.ids = ids
        self.kv = kv
        self.parent = parent
        self.children: dict[int, _Stretch] = {}
        self.used_at = 0


class PrefixStore:
    """Bounded by `max_bytes`; 0 stores nothing."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.n_bytes = 0
        self._root = _Stretch(np.empty(0, dtype=np.int64), torch.empty(0), None)
        self._clock = 0

    def known(self, sequences: Sequence[Sequence[int]]) -> Known:
        """What is stored of the beginnings of `sequences`."""
        self._clock += 1
        used: dict[_Stretch, int] = {}
        for tokens in sequences:
            for stretch, n in self._path(np.asarray(tokens, dtype=np.int64)):
                stretch.used_at = self._clock
                used[stretch] = max(n, used.get(stretch, 0))
        inner = {stretch.parent for stretch in used}
        seen: set[_Stretch] = set()
        found, is_first, pieces = [], [np.empty(0, dtype=bool)], []
        for end in (stretch for stretch in used if stretch not in inner):
            path = _from_root(end)
            found.append(tuple(np.concatenate([s.ids[: used[s]] for s in path]).tolist()))
            is_first += [np.full(used[s], s not in seen) for s in path]
            pieces += [s.kv[..., : used[s], :] for s in path if s not in seen]
            seen.update(path)
        return Known(tuple(found), np.concatenate(is_first), tuple(pieces))

    def add(self, tokens: Sequence[int], kv: torch.Tensor) -> None:
        """Store the part of a sequence that is not stored yet, given all of its keys and values.

        Args:
            tokens: Its ids.
            kv: (layers, 2, heads, T, d) of them; copied.
        """
        self._clock += 1
        ids = np.asarray(tokens, dtype=np.int64)
        at, last = 0, self._root
        for stretch, n in self._path(ids):
            last = stretch if n == len(stretch.ids) else self._split(stretch, n)
            last.used_at = self._clock
            at += n
        n_bytes = kv[..., at:, :].nbytes
        if at == len(ids) or n_bytes > self.max_bytes:
            return
        stretch = _Stretch(ids[at:], kv[..., at:, :].clone(), last)
        stretch.used_at = self._clock
        last.children[int(ids[at])] = stretch
        self.n_bytes += n_bytes
        self._make_room()

    def _path(self, ids: Ids) -> Iterator[tuple[_Stretch, int]]:
        """The stretches along `ids`, and how many tokens of each are equal."""
        at, stretch = 0, self._root
        while at < len(ids):
            following = stretch.children.get(int(ids[at]))
            if following is None:
                return
            stretch = following
            n = _n_equal(stretch.ids, ids[at:])
            is_whole = n == len(stretch.ids)  # now: whoever takes it may cut the stretch
            yield stretch, n
            if not is_whole:
                return
            at += n

    def _split(self, stretch: _Stretch, n: int) -> _Stretch:
        """Cut a stretch after `n` tokens; the first part."""
        assert stretch.parent is not None
        head = _Stretch(stretch.ids[:n], stretch.kv[..., :n, :].clone(), stretch.parent)
        head.used_at = stretch.used_at
        stretch.parent.children[int(head.ids[0])] = head
        stretch.ids, stretch.kv = stretch.ids[n:], stretch.kv[..., n:, :].clone()
        stretch.parent = head
        head.children[int(stretch.ids[0])] = stretch
        return head

    def _make_room(self) -> None:
        while self.n_bytes > self.max_bytes:
            oldest = min(self._ends(), key=lambda stretch: stretch.used_at)
            assert oldest.parent is not None
            del oldest.parent.children[int(oldest.ids[0])]
            self.n_bytes -= oldest.kv.nbytes

    def _ends(self) -> Iterator[_Stretch]:
        waiting = list(self._root.children.values())
        while waiting:
            stretch = waiting.pop()
            if not stretch.children:
                yield stretch
            waiting += stretch.children.values()


def _from_root(end: _Stretch) -> list[_Stretch]:
    path, stretch = [end], end.parent
    while stretch is not None and stretch.parent is not None:
        path.append(stretch)
        stretch = stretch.parent
    return path[::-1]


def _n_equal(a: Ids, b: Ids) -> int:
    n = min(len(a), len(b))
    different = np.flatnonzero(a[:n] != b[:n])
    return int(different[0]) if len(different) else n
