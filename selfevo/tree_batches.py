"""Which preference pairs are computed together: those of one dialogue, for they share its trunk.

A batch takes whole dialogues until it has enough pairs, or no other fits the token budget. A
dialogue beyond the budget is cut between two pairs, in the order of their depth; each piece reads
the trunk again up to its deepest reply. The batches are made once and shuffled every epoch, so
that their number, and with it the learning-rate schedule, stays the same.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler

from selfevo.forest import forest
from selfevo.seeds import derived_seed


class PairTokens(NamedTuple):
    """A preference pair as the trainer reads it."""

    dialogue: str
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


class TreeBatches(Sampler[list[int]]):
    """Batches of indices into `pairs`, for a `DataLoader`'s `batch_sampler`."""

    def __init__(
        self,
        pairs: Sequence[PairTokens],
        *,
        batch_size: int,
        token_budget: int,
        seed: int,
        n_processes: int = 1,
    ) -> None:
        """Make the batches.

        Args:
            pairs: All pairs of the training set.
            batch_size: Pairs after which a batch takes no further dialogue.
            token_budget: Distinct tokens of a batch; a single pair may exceed it.
            seed: Of the order.
            n_processes: The number of batches is a multiple of it: the first ones come twice.
        """
        self._seed = seed
        self._epoch = 0
        pieces = _pieces(pairs, token_budget)
        order = np.random.default_rng(derived_seed(seed, "pieces")).permutation(len(pieces))
        self.batches = _packed([pieces[i] for i in order], batch_size, token_budget)
        missing = -len(self.batches) % n_processes
        self.batches += [self.batches[i % len(self.batches)] for i in range(missing)]

    def __len__(self) -> int:
        return len(self.batches)

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer: another order in each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng(derived_seed(self._seed, "epoch", self._epoch))
        for index in rng.permutation(len(self.batches)):
            yield list(self.batches[index])


class _Piece(NamedTuple):
    """Pairs that are read together, and the tokens that they are."""

    pairs: list[int]
    n_tokens: int


def n_distinct(pairs: Sequence[PairTokens]) -> int:
    """Tokens of a batch of `pairs` when each shared beginning is read once."""
    sequences = [p.prompt + reply for p in pairs for reply in (p.chosen, p.rejected)]
    return len(forest(sequences).ids)


def _pieces(pairs: Sequence[PairTokens], token_budget: int) -> list[_Piece]:
    by_dialogue: dict[str, list[int]] = defaultdict(list)
    for index, pair in enumerate(pairs):
        by_dialogue[pair.dialogue].append(index)
    pieces: list[_Piece] = []
    for indices in by_dialogue.values():
        deepening = sorted(indices, key=lambda index: len(pairs[index].prompt))
        pieces += _cut(pairs, deepening, token_budget)
    return pieces


def _cut(pairs: Sequence[PairTokens], deepening: list[int], token_budget: int) -> Iterator[_Piece]:
    """The dialogue as one piece, or as the longest runs of pairs that fit."""
    while deepening:
        n, n_tokens = _longest_run(pairs, deepening, token_budget)
        yield _Piece(deepening[:n], n_tokens)
        deepening = deepening[n:]


def _longest_run(
    pairs: Sequence[PairTokens], deepening: list[int], token_budget: int
) -> tuple[int, int]:
    """How many pairs from the start fit the budget (at least one), and their tokens."""
    n = len(deepening)
    while True:
        n_tokens = n_distinct([pairs[index] for index in deepening[:n]])
        if n_tokens <= token_budget or n == 1:
            return n, n_tokens
        n -= 1


def _packed(pieces: Sequence[_Piece], batch_size: int, token_budget: int) -> list[list[int]]:
    """First fit: a piece joins the first open batch with room, which closes when it has enough."""
    open_batches: list[_Piece] = []
    closed: list[list[int]] = []
    for piece in pieces:
        fits = (b for b in open_batches if b.n_tokens + piece.n_tokens <= token_budget)
        batch = next(fits, _Piece([], 0))
        if batch.pairs:
            open_batches.remove(batch)
        joined = _Piece(batch.pairs + piece.pairs, batch.n_tokens + piece.n_tokens)
        if len(joined.pairs) >= batch_size:
            closed.append(joined.pairs)
        else:
            open_batches.append(joined)
    return closed + [batch.pairs for batch in open_batches]
