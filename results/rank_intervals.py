"""What resamples of people show of strengths: intervals, rank intervals, tied groups.

An interval says how well one strength is known and not which of two methods is better: two whose
intervals overlap can be shown apart, for both rise and fall with the same people. So ranks and
groups come from differences. Method i is *shown better* than j if their difference, in its own
errors, exceeds the 95% quantile of the largest such deviation over all pairs (max-t): with 95% all
statements of a ranking are true together.
"""

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from results.battles import MIN_PEOPLE, FloatArray

BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]

SMALLEST_ERROR: Final = 1e-6
"""Of a difference: people who agree in everything have no spread but that of the search."""
LETTERS: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""Of groups; a 53rd group is written [53]."""


class RankIntervals(NamedTuple):
    """What differences show (suffix M: methods, in the table's order)."""

    better_MM: BoolArray
    """The row is shown better than the column."""
    lower_M: IndexArray
    upper_M: IndexArray


def percentile_intervals(
    strength_BM: FloatArray, n_people_M: IndexArray, alpha: float
) -> tuple[FloatArray, FloatArray]:
    """Expanded percentile intervals of strengths in resamples."""
    z_M = expansion(n_people_M, alpha) * special.ndtri(1 - alpha / 2)
    tails_M2 = np.stack([special.ndtr(-z_M), special.ndtr(z_M)], axis=1)
    ends_M2 = [
        np.quantile(strength_B, tails)
        for strength_B, tails in zip(strength_BM.T, tails_M2, strict=True)
    ]
    lower_M, upper_M = np.transpose(ends_M2)
    return lower_M, upper_M


def expansion(n_people: IndexArray, alpha: float) -> FloatArray:
    """How much wider than the bootstrap's an interval of a mean over so many people must be.

    Resamples of n have a variance too small by (n - 1) / n and know of no t quantile (Hesterberg
    2015, "What Teachers Should Know About the Bootstrap", The American Statistician 69, 371).
    """
    n = np.maximum(n_people, 2).astype(np.float64)
    normal = special.ndtri(1 - alpha / 2)
    wider: FloatArray = special.stdtrit(n - 1, 1 - alpha / 2) * np.sqrt(n / (n - 1)) / normal
    return wider


def rank_intervals(
    strength_M: FloatArray, strength_BM: FloatArray, n_people_M: IndexArray, alpha: float
) -> RankIntervals:
    """Which methods are shown better than which, all together at `1 - alpha`.

    Args:
        strength_M: Fitted strengths.
        strength_BM: Strengths in the resamples.
        n_people_M: People who compared the method; below `MIN_PEOPLE` nothing is shown of it.
        alpha: Chance of any false statement.
    """
    size = len(strength_M)
    enough_M = n_people_M >= MIN_PEOPLE
    enough_MM = enough_M[:, None] & enough_M[None, :]
    low_K, high_K = np.nonzero(np.triu(enough_MM, 1))
    better_MM = np.zeros((size, size), dtype=bool)
    if len(low_K):
        difference_K = strength_M[low_K] - strength_M[high_K]
        difference_BK = strength_BM[:, low_K] - strength_BM[:, high_K]
        error_K = np.maximum(difference_BK.std(axis=0, ddof=1), SMALLEST_ERROR)
        largest_B = (np.abs(difference_BK - difference_K) / error_K).max(axis=1)
        wider_K = expansion(np.minimum(n_people_M[low_K], n_people_M[high_K]), alpha)
        critical_K = wider_K * np.quantile(largest_B, 1 - alpha)
        shown_K = np.abs(difference_K) > critical_K * error_K
        better_MM[low_K, high_K] = shown_K & (difference_K > 0)
        better_MM[high_K, low_K] = shown_K & (difference_K < 0)
    return RankIntervals(better_MM, 1 + better_MM.sum(axis=0), size - better_MM.sum(axis=1))


def group_letters(apart_MM: BoolArray) -> list[str]:
    """Letters of methods in order of strength: a letter for each longest run not shown apart.

    Args:
        apart_MM: Which two are shown apart; symmetric, best method first.
    """
    size = len(apart_MM)
    ends = []
    for begin in range(size):
        end = begin + 1
        while end < size and not apart_MM[begin:end, end].any():
            end += 1
        ends.append(end)
    # A run that ends where the one before it ends lies inside that one.
    runs = [(0, ends[0])] + [
        (begin, end) for begin, (before, end) in enumerate(pairwise(ends), 1) if end > before
    ]
    return [
        "".join(_letter(number) for number, (begin, end) in enumerate(runs) if begin <= i < end)
        for i in range(size)
    ]


def _letter(number: int) -> str:
    return LETTERS[number] if number < len(LETTERS) else f"[{number + 1}]"
