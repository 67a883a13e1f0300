"""Does a judge say the same when asked the same again?

A steady judge may still be wrong, and always saying "4" is steadiest of all: read it beside the
agreement with people.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from pydantic import BaseModel, ConfigDict

from judges.resampling import N_RESAMPLES, Bootstrap, Interval, means


class Stability(BaseModel):
    """The same input judged again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    """Items with two or more ratings."""
    n_total: int
    flip_rate: Interval
    """Share of an item's pairs of ratings that differ, averaged over items."""
    icc: float | None
    """ICC(1,1) of Shrout and Fleiss: share of variance between items. None: nothing varies."""


def stability(
    repeats: Mapping[str, Sequence[float]],
    *,
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> Stability:
    """How far repeated ratings of the same input differ; items rated once are left out.

    Raises:
        AgreementUndefined: fewer than two items or conversations were rated twice.
    """
    items = [item for item in sorted(repeats) if len(repeats[item]) > 1]
    flips_N = np.array([_flip_rate(repeats[item]) for item in items])
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    return Stability(
        n=len(items),
        n_total=len(repeats),
        flip_rate=bootstrap.interval(lambda w: means(w, flips_N)),
        icc=icc_oneway([repeats[item] for item in items]),
    )


def icc_oneway(groups: Sequence[Sequence[float]]) -> float | None:
    """ICC(1,1): the one-way random-effects intraclass correlation of single ratings.

    Groups may differ in size. None where there is no variance, or nothing repeated to tell it from.
    """
    sizes = [len(group) for group in groups]
    n, k = sum(sizes), len(groups)
    if k < 2 or n <= k or min(sizes) < 1:
        return None
    centre = sum(math.fsum(group) for group in groups) / n
    averages = [statistics.fmean(group) for group in groups]
    between = sum(s * (m - centre) ** 2 for s, m in zip(sizes, averages, strict=True)) / (k - 1)
    squares = ((x - m) ** 2 for group, m in zip(groups, averages, strict=True) for x in group)
    within = math.fsum(squares) / (n - k)
    size = (n - sum(s * s for s in sizes) / n) / (k - 1)
    total = between + (size - 1) * within
    return (between - within) / total if total > 0 else None


def _flip_rate(ratings: Sequence[float]) -> float:
    return statistics.fmean(x != y for x, y in combinations(ratings, 2))
