"""Comparisons of methods by people or judges, as columns of numbers, and their sums by person.

    battles = Battles.of(first=["a", "b"], second=["b", "c"], winner=["A", "tie"],
                         person=["p1", "p2"], words=[12.0, -3.5])

A comparison shows two methods in two slots and ends with one of them or with a tie. Its person is
the cluster: comparisons of a person are not independent, so intervals resample people.

Left out: several judges in one table (rank each alone), weights of comparisons.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int32]

SCORES: Final[Mapping[str, float]] = {"A": 1.0, "B": 0.0, "tie": 0.5}
"""What the method in the first slot gets of the comparison, by winner."""
MAX_CLUSTERS: Final = 2000
"""More people than this are pooled at random into as many clusters of equal size, which are what
is resampled. The variance of a sum over people and that over random pools of them are the same in
expectation; with 2,000 pools it is known to 2%, as the 1,000 resamples know it."""


MIN_PEOPLE: Final = 10
"""Below, resamples of people say little of how far an answer would vary: two people who agree have
no spread at all."""


class RankingError(ValueError):
    """Methods cannot be ranked; the message is one line: what, and what to do."""


class Battles(NamedTuple):
    """A table of comparisons (suffix N: comparisons). Make it with `of`."""

    methods: tuple[str, ...]
    """Sorted; the numbers below index it."""
    first_N: IntArray
    second_N: IntArray
    score_N: FloatArray
    """Of the method in the first slot: 1 won, 0.5 tie, 0 lost."""
    person_N: IntArray
    n_people: int
    words_N: FloatArray | None
    """Mean words of the first method's replies minus the second's; None: not known."""

    @classmethod
    def of(
        cls,
        first: Sequence[str],
        second: Sequence[str],
        winner: Sequence[str],
        person: Sequence[str],
        words: Sequence[float] | FloatArray | None = None,
    ) -> "Battles":
        """A table from its columns.

        Args:
            first: Names of the methods in the first slot.
            second: Names of those in the second slot.
            winner: "A" (the first slot), "B" or "tie".
            person: Whose comparison it is.
            words: Mean words of the first minus mean words of the second.

        Raises:
            RankingError: unequal columns, a method against itself, an unknown winner, fewer than
                two methods or `MIN_PEOPLE` people, or a length that is not finite.
        """
        _check_columns(first, second, winner, person, words)
        methods, (first_N, second_N) = _numbered(first, second)
        people, (person_N,) = _numbered(person)
        if len(methods) < 2 or len(people) < MIN_PEOPLE:
            raise RankingError(
                f"a ranking needs 2 methods and {MIN_PEOPLE} people; got {len(methods)} and "
                f"{len(people)}"
            )
        same_N = first_N == second_N
        if same_N.any():
            row = int(same_N.argmax())
            raise RankingError(f"comparison {row + 1}: {first[row]!r} against itself; leave it out")
        return cls(
            methods=methods,
            first_N=first_N,
            second_N=second_N,
            score_N=_scores(winner),
            person_N=person_N,
            n_people=len(people),
            words_N=None if words is None else _lengths(words),
        )


class Tally(NamedTuple):
    """What a ranking needs of a table (suffixes: M methods, K pairs that met, G clusters)."""

    methods: tuple[str, ...]
    won_MM: FloatArray
    """Decisive comparisons that the row won against the column."""
    ties_MM: FloatArray
    n_people_M: npt.NDArray[np.intp]
    """People who compared the method."""
    low_K: npt.NDArray[np.intp]
    high_K: npt.NDArray[np.intp]
    """The two methods of a pair."""
    games_GK: FloatArray
    net_GK: FloatArray
    """Of the pair's first method: wins minus losses."""
    wins_GM: FloatArray
    """With ties as half wins."""

    @property
    def games_MM(self) -> FloatArray:
        """Comparisons of each two methods."""
        return self.won_MM + self.won_MM.T + self.ties_MM

    @property
    def wins_M(self) -> FloatArray:
        """With ties as half wins."""
        wins_M: FloatArray = (self.won_MM + self.ties_MM / 2).sum(axis=1)
        return wins_M


def tally(battles: Battles, rng: np.random.Generator) -> Tally:
    """Add up a table by pair and by cluster; `rng` pools people where there are many."""
    size = len(battles.methods)
    cell_N = battles.first_N * np.int32(size) + battles.second_N
    outcome_N = (battles.score_N * 2).astype(np.int32)
    counts = np.bincount(cell_N * np.int32(3) + outcome_N, minlength=3 * size * size)
    lost_MM, tied_MM, won_MM = np.moveaxis(counts.reshape(size, size, 3).astype(float), 2, 0)
    won_MM, ties_MM = won_MM + lost_MM.T, tied_MM + tied_MM.T
    games_MM = won_MM + won_MM.T + ties_MM
    low_K, high_K = np.nonzero(np.triu(games_MM))
    pair_MM = np.zeros((size, size), dtype=np.int32)
    pair_MM[low_K, high_K] = pair_MM[high_K, low_K] = np.arange(len(low_K))
    cluster_N, n_clusters = _clusters(battles, rng)
    pair_N = pair_MM.ravel()[cell_N]
    net_N = np.where(battles.first_N < battles.second_N, 2.0, -2.0) * (battles.score_N - 0.5)
    return Tally(
        methods=battles.methods,
        won_MM=won_MM,
        ties_MM=ties_MM,
        n_people_M=_people_of_methods(battles),
        low_K=low_K,
        high_K=high_K,
        games_GK=_sums(cluster_N, pair_N, n_clusters, len(low_K), None),
        net_GK=_sums(cluster_N, pair_N, n_clusters, len(low_K), net_N),
        wins_GM=_sums(cluster_N, battles.first_N, n_clusters, size, battles.score_N)
        + _sums(cluster_N, battles.second_N, n_clusters, size, 1 - battles.score_N),
    )


def _sums(
    row_N: npt.NDArray[np.int64],
    column_N: IntArray,
    n_rows: int,
    n_columns: int,
    weights_N: FloatArray | None,
) -> FloatArray:
    """Sums of a weight (None: counts) by row and column of a table."""
    cell_N = row_N * n_columns + column_N
    sums = np.bincount(cell_N, weights=weights_N, minlength=n_rows * n_columns)
    return sums.reshape(n_rows, n_columns).astype(np.float64, copy=False)


def _clusters(battles: Battles, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], int]:
    """The cluster of each comparison, and how many there are."""
    if battles.n_people <= MAX_CLUSTERS:
        return battles.person_N.astype(np.int64), battles.n_people
    pool_P = rng.permutation(battles.n_people) % MAX_CLUSTERS
    return pool_P[battles.person_N], MAX_CLUSTERS


def _people_of_methods(battles: Battles) -> npt.NDArray[np.intp]:
    size = len(battles.methods)
    seen_PM = np.zeros((battles.n_people, size), dtype=bool)
    seen_PM[battles.person_N, battles.first_N] = True
    seen_PM[battles.person_N, battles.second_N] = True
    return np.asarray(seen_PM.sum(axis=0), dtype=np.intp)


def _numbered(*columns: Collection[str]) -> tuple[tuple[str, ...], list[IntArray]]:
    """The names of some columns, sorted, and the columns as numbers of these."""
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new name gets the next number, in one pass
    raw = [np.fromiter(map(numbers.__getitem__, c), np.int32, count=len(c)) for c in columns]
    names = sorted(numbers)
    place = np.empty(len(names), dtype=np.int32)
    place[[numbers[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    return tuple(names), [place[column_N] for column_N in raw]


def _scores(winner: Sequence[str]) -> FloatArray:
    try:
        return np.fromiter(map(SCORES.__getitem__, winner), dtype=np.float64, count=len(winner))
    except KeyError:
        row = next(number for number, name in enumerate(winner) if name not in SCORES)
        raise RankingError(
            f"comparison {row + 1}: the winner is {winner[row]!r}; it must be A, B or tie"
        ) from None


def _lengths(words: Sequence[float] | FloatArray) -> FloatArray:
    words_N = np.asarray(words, dtype=np.float64)
    finite_N = np.isfinite(words_N)
    if not finite_N.all():
        row = int(finite_N.argmin())
        raise RankingError(
            f"comparison {row + 1}: the length difference is {words_N[row]}; give none for the "
            "whole table where some are not known"
        )
    return words_N


def _check_columns(*columns: Sequence[object] | FloatArray | None) -> None:
    lengths = [len(column) for column in columns if column is not None]
    if len(set(lengths)) > 1:
        raise RankingError(
            f"the columns have {_list(lengths)} entries; each comparison needs all of them"
        )


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)
