"""Bootstrap intervals over conversations, and the measures computed for all resamples at once.

A resample is a row of weights: how often each item was drawn. So resampling whole conversations,
leaving items out and the observed data itself (all weights 1) are one case, and thousands of
resamples are a few matrix products. A measure gives one value a resample, NaN where it has none
there; NaN never leaves this module: a value is an `Interval` or an `AgreementUndefined`.

Intervals are percentile intervals at 95%. They are somewhat too narrow where conversations are few
(coverage of kappa: see `tests/judges/test_resampling.py`); BCa is left out.

Suffixes name axes: R resamples, N items, C conversations, V distinct values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat

FloatArray = npt.NDArray[np.float64]
Measure = Callable[[FloatArray], FloatArray]
"""From weights (R, N) to one value a resample (R)."""

N_RESAMPLES: Final = 2000
CONFIDENCE: Final = 0.95

MAX_UNDEFINED: Final = 0.05
"""With a larger share of resamples without a value, the rest say too little about the spread."""

BATCH_CELLS: Final = 2**21
"""Weights held at a time: 16 MB, so that memory does not grow with the number of items."""

MIN_SPREAD: Final = 1e-12
"""A variance below this is rounding: the values are constant."""


class AgreementUndefined(ValueError):
    """There is no such number: a rater is constant, or too little was rated."""


class Interval(BaseModel):
    """A value with its 95% bootstrap interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat


class Tried(NamedTuple):
    """Intervals of the measures that have one, and why the others have none."""

    intervals: dict[str, Interval]
    undefined: dict[str, str]


class Bootstrap(NamedTuple):
    """Resamples of whole conversations; every measure of one bootstrap sees the same ones."""

    cluster_N: tuple[str, ...]
    seed: int
    n_resamples: int

    @classmethod
    def over(
        cls,
        items: Sequence[str],
        clusters: Mapping[str, str] | None,
        *,
        seed: int,
        n_resamples: int,
    ) -> Self:
        """The bootstrap of these items, each its own conversation where `clusters` is None.

        Raises:
            AgreementUndefined: fewer than two conversations, which have no spread.
            ValueError: an item has no conversation.
        """
        lost = [item for item in items if clusters is not None and item not in clusters]
        if lost:
            raise ValueError(f"item {lost[0]!r} is in no cluster; name the cluster of every item")
        cluster_N = tuple(items if clusters is None else (clusters[item] for item in items))
        if len(set(cluster_N)) < 2:
            what = f"{len(items)} rated items in {len(set(cluster_N))} conversations"
            raise AgreementUndefined(f"{what}; an interval needs two conversations or more")
        return cls(cluster_N, seed, n_resamples)

    def observed(self, measure: Measure) -> float:
        """The measure on the data as they are; NaN where it has no value."""
        return float(measure(np.ones((1, len(self.cluster_N))))[0])

    def interval(self, measure: Measure) -> Interval:
        """The measure and its percentile interval.

        Raises:
            AgreementUndefined: no value on the data, or in too many resamples.
        """
        value = self.observed(measure)
        if math.isnan(value):
            raise AgreementUndefined("no value: the ratings, or what they go with, are constant")
        values = self._values(measure)
        defined = values[~np.isnan(values)]
        n_lost = len(values) - len(defined)
        if n_lost > MAX_UNDEFINED * len(values):
            what = f"no value in {n_lost} of {len(values)} resamples"
            raise AgreementUndefined(f"{what}: nearly constant; label items that differ more")
        tail = (1 - CONFIDENCE) / 2
        lower, upper = np.quantile(defined, [tail, 1 - tail])
        return Interval(value=value, lower=float(lower), upper=float(upper))

    def tried(self, measures: Mapping[str, Measure]) -> Tried:
        """The intervals of several measures; one without a value does not spoil the others."""
        found = Tried({}, {})
        for name, measure in measures.items():
            try:
                found.intervals[name] = self.interval(measure)
            except AgreementUndefined as error:
                found.undefined[name] = str(error)
        return found

    def _values(self, measure: Measure) -> FloatArray:
        names, cluster_N = np.unique(np.asarray(self.cluster_N), return_inverse=True)
        rng = np.random.default_rng(self.seed)
        share_C = np.full(len(names), 1 / len(names))
        batch = max(1, BATCH_CELLS // len(cluster_N))
        values = []
        for start in range(0, self.n_resamples, batch):
            size = min(batch, self.n_resamples - start)
            drawn_RC = rng.multinomial(len(names), share_C, size=size)
            values.append(measure(drawn_RC[:, cluster_N].astype(np.float64)))
        return np.concatenate(values)


def kappas(weights_RN: FloatArray, a_N: FloatArray, b_N: FloatArray) -> FloatArray:
    """Kappa with quadratic weights: 1 - observed / expected squared difference.

    From the positions of the levels on the scale, this needs sums of whole numbers only and no
    table of counts, so it is exact. NaN where both raters give one and the same level throughout.
    """
    n_R = weights_RN.sum(axis=1)
    observed_R = n_R * (weights_RN @ (a_N - b_N) ** 2)
    expected_R = n_R * (weights_RN @ (a_N**2 + b_N**2)) - 2 * (weights_RN @ a_N) * (
        weights_RN @ b_N
    )
    return 1 - _divided(observed_R, expected_R)


def spearmans(weights_RN: FloatArray, a_N: FloatArray, b_N: FloatArray) -> FloatArray:
    """Spearman's correlation with mean ranks for ties; NaN where a rater is constant."""
    ranks_a_RN, ranks_b_RN = _centred_ranks(weights_RN, a_N), _centred_ranks(weights_RN, b_N)
    product_R = np.einsum("rn,rn,rn->r", weights_RN, ranks_a_RN, ranks_b_RN)
    square_a_R = np.einsum("rn,rn,rn->r", weights_RN, ranks_a_RN, ranks_a_RN)
    square_b_R = np.einsum("rn,rn,rn->r", weights_RN, ranks_b_RN, ranks_b_RN)
    return _divided(product_R, np.sqrt(square_a_R * square_b_R))


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of several measures; without a value where one of them has none."""
    return lambda weights_RN: np.mean([measure(weights_RN) for measure in measures], axis=0)


def means(weights_RN: FloatArray, values_N: FloatArray) -> FloatArray:
    """Mean of the drawn values; NaN where nothing was drawn."""
    return _divided(weights_RN @ values_N, weights_RN.sum(axis=1))


def slopes(weights_RN: FloatArray, x_N: FloatArray, y_N: FloatArray) -> FloatArray:
    """Least-squares slope of y on x; NaN where x is constant. Give x with a deviation near 1."""
    n_R = weights_RN.sum(axis=1)
    x_R, y_R = weights_RN @ x_N, weights_RN @ y_N
    covariance_R = n_R * (weights_RN @ (x_N * y_N)) - x_R * y_R
    variance_R = n_R * (weights_RN @ x_N**2) - x_R**2
    variance_R[variance_R < MIN_SPREAD * n_R**2] = 0
    return _divided(covariance_R, variance_R)


def _centred_ranks(weights_RN: FloatArray, values_N: FloatArray) -> FloatArray:
    """Twice the mean rank less its average, for every item in every resample: whole numbers."""
    distinct_V, value_N = np.unique(values_N, return_inverse=True)
    counts_RV = weights_RN @ np.eye(len(distinct_V))[value_N]
    below_or_equal_RV = np.cumsum(counts_RV, axis=1)
    ranks_RV = 2 * below_or_equal_RV - counts_RV - below_or_equal_RV[:, -1:]
    return np.asarray(ranks_RV[:, value_N])


def _divided(top_R: FloatArray, bottom_R: FloatArray) -> FloatArray:
    out = np.full_like(top_R, np.nan)
    return np.divide(top_R, bottom_R, out=out, where=bottom_R != 0)
