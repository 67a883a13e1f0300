"""Means of several methods over the same people: intervals, ranks and tied groups.

    compared = compare_means(values_PM, resampled_people(n_people, seed=7), better="up")

Every number rests on the same people for every method, so differences are paired. People are what
is resampled, the same ones for all methods at once. Intervals of means hold one by one. Those of
differences hold all together (max-t over all pairs of methods): ranks and groups come from them,
never from intervals of means that overlap or do not.

Both are widened for few people as a t interval is: the bootstrap divides by N where N - 1 is due,
and takes the spread for known.

Left out: a correction over several measures; each is a table of its own.
"""

from string import ascii_letters
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]
Better = Literal["up", "down"]
"""The direction of a measure that is better."""

ALPHA: Final = 0.05
N_RESAMPLES: Final = 1000
MANY_PEOPLE: Final = 30
"""Of fewer, the largest deviation in a resample is too small, the more so the more methods there
are: differences are at least as wide as Bonferroni's then. Found by simulation with equal methods;
of 12 methods any two were told apart on 55% of the boards with 3 people, on 11% with 12."""
WORST_SHARE: Final = 0.1
"""Of the people, in the mean of the worst tenth."""
ROUNDING: Final = 1e-9
"""Two means, or a spread, below it apart are equal."""


class Compared(NamedTuple):
    """Methods side by side (suffix M: methods)."""

    mean_M: FloatArray
    lower_M: FloatArray
    upper_M: FloatArray
    difference_MM: FloatArray
    """Row minus column."""
    half_MM: FloatArray
    """Half the simultaneous interval of a difference; NaN where too few people, all with the same
    difference, leave no spread to make one from."""
    rank_M: IntArray
    """1 plus the methods with a better mean."""
    rank_lower_M: IntArray
    """1 plus the methods shown to be better."""
    rank_upper_M: IntArray
    """The number of methods less those shown to be worse."""
    group_M: tuple[str, ...]
    """Letters; two methods that share one are not shown to differ."""


class Tail(NamedTuple):
    """Mean over each method's own worst tenth of the people (suffix M: methods)."""

    n: int
    mean_M: FloatArray
    lower_M: FloatArray
    upper_M: FloatArray


def resampled_people(n_people: int, *, seed: int, n_resamples: int = N_RESAMPLES) -> FloatArray:
    """How often each person is in each resample, (resamples, people)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_people, np.full(n_people, 1 / n_people), n_resamples).astype(float)


def compare_means(
    values_PM: FloatArray, counts_BP: FloatArray, *, better: Better, alpha: float = ALPHA
) -> Compared:
    """Means with intervals, all pairwise differences, ranks and groups.

    Args:
        values_PM: A finite value for each person and method.
        counts_BP: From `resampled_people`.
        better: The direction that is better.
        alpha: Error of each mean's interval, and of all differences together.

    Raises:
        ValueError: fewer than two people, or a value that is not finite.
    """
    n_people = len(values_PM)
    if n_people < 2 or not np.isfinite(values_PM).all():
        raise ValueError(
            f"compare_means needs two or more people and finite values; got {n_people}"
        )
    mean_M, mean_BM = values_PM.mean(axis=0), counts_BP @ values_PM / n_people
    lower_M, upper_M = _interval(mean_BM, n_people, alpha)
    difference_MM = mean_M[:, None] - mean_M[None, :]
    half_MM = _half_widths(values_PM, mean_BM, difference_MM, alpha)
    gain_MM = difference_MM if better == "up" else -difference_MM
    shown_MM = gain_MM > np.maximum(half_MM, ROUNDING)  # with NaN it is not shown
    rank_M = 1 + (gain_MM < -ROUNDING).sum(axis=1)
    return Compared(
        mean_M=mean_M,
        lower_M=lower_M,
        upper_M=upper_M,
        difference_MM=difference_MM,
        half_MM=half_MM,
        rank_M=rank_M,
        rank_lower_M=1 + shown_MM.sum(axis=0),
        rank_upper_M=len(mean_M) - shown_MM.sum(axis=1),
        group_M=group_letters(shown_MM | shown_MM.T, rank_M),
    )


def worst_tenth(
    values_PM: FloatArray, counts_BP: FloatArray, *, better: Better, alpha: float = ALPHA
) -> Tail:
    """For each method the mean over the tenth of the people whom it served worst, at least one."""
    n_people = len(values_PM)
    n_worst = max(1, round(WORST_SHARE * n_people))
    order_PM = np.argsort(values_PM if better == "up" else -values_PM, axis=0, kind="stable")
    mean_M = np.take_along_axis(values_PM, order_PM[:n_worst], axis=0).mean(axis=0)
    mean_BM = np.empty((len(counts_BP), len(mean_M)))
    for m, order_P in enumerate(order_PM.T):
        taken_BP = np.minimum(np.cumsum(counts_BP[:, order_P], axis=1), n_worst)
        mean_BM[:, m] = np.diff(taken_BP, axis=1, prepend=0) @ values_PM[order_P, m] / n_worst
    return Tail(n_worst, mean_M, *_interval(mean_BM, n_people, alpha))


def group_letters(apart_MM: BoolArray, rank_M: IntArray) -> tuple[str, ...]:
    """Letters of the largest groups in which nobody is shown to differ, `a` for the best.

    A method may be in several groups. Piepho (2004): start from one group of all, and split it at
    each pair that differs; a group inside another one goes.
    """
    groups = [frozenset(range(len(rank_M)))]
    for i, j in np.argwhere(np.triu(apart_MM)).tolist():
        split = [
            part
            for group in groups
            for part in ((group - {i}, group - {j}) if {i, j} <= group else (group,))
        ]
        groups = [
            group for group in dict.fromkeys(split) if not any(group < other for other in split)
        ]
    groups.sort(key=lambda group: sorted((int(rank_M[m]), m) for m in group))
    return tuple(
        "".join(_letter(number) for number, group in enumerate(groups) if m in group)
        for m in range(len(rank_M))
    )


def _letter(number: int) -> str:
    """One character: `a` to `z`, `A` to `Z`, then what follows the Greek alpha."""
    return ascii_letters[number] if number < len(ascii_letters) else chr(ord("α") + number - 52)


def _half_widths(
    values_PM: FloatArray, mean_BM: FloatArray, difference_MM: FloatArray, alpha: float
) -> FloatArray:
    """Half of each pair's simultaneous interval."""
    n_people, n_methods = values_PM.shape
    covariance_MM = np.atleast_2d(np.cov(values_PM, rowvar=False))
    variance_M = np.diag(covariance_MM)
    se_MM = np.sqrt(
        np.maximum(variance_M[:, None] + variance_M[None, :] - 2 * covariance_MM, 0) / n_people
    )
    n_pairs = n_methods * (n_methods - 1) // 2
    is_exact = 2.0 ** (1 - n_people) <= alpha / max(n_pairs, 1)
    spread_MM = se_MM > ROUNDING
    # everybody differs by the same: by a sign-flip test it is shown as soon as people are enough
    half_MM = np.where((np.abs(difference_MM) <= ROUNDING) | is_exact, 0.0, np.nan)
    low_K, high_K = np.nonzero(np.triu(spread_MM))
    if len(low_K):
        deviation_BK = mean_BM[:, low_K] - mean_BM[:, high_K] - difference_MM[low_K, high_K]
        largest_B = (np.abs(deviation_BK) / se_MM[low_K, high_K]).max(axis=1)
        normal = np.quantile(largest_B, 1 - alpha) * np.sqrt(n_people / (n_people - 1))
        factor = float(stats.t.isf(stats.norm.sf(normal), n_people - 1))
        if n_people < MANY_PEOPLE:
            factor = max(factor, float(stats.t.isf(alpha / 2 / n_pairs, n_people - 1)))
        half_MM = np.where(spread_MM, factor * se_MM, half_MM)
    return half_MM


def _interval(mean_BM: FloatArray, n_people: int, alpha: float) -> tuple[FloatArray, FloatArray]:
    """Percentiles, further out than `alpha` by what few people ask for (Hesterberg, 2015)."""
    widened = np.sqrt(n_people / (n_people - 1)) * stats.t.isf(alpha / 2, n_people - 1)
    tail = float(stats.norm.sf(widened))
    lower_M, upper_M = np.quantile(mean_BM, [tail, 1 - tail], axis=0)
    return lower_M, upper_M
