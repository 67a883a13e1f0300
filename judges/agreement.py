"""How far a judge agrees with people, how far people agree with each other, and how sure that is.

Kappa, Spearman, offset and exact agreement stand side by side because each hides what another
shows: a judge that rates everything 1.5 too high ranks well (Spearman) and agrees badly (kappa,
offset); one that says "4" to all agrees exactly more often than it knows anything (kappa 0).

    raters = [expert1, expert2, expert3]                       # item id -> rating, each
    judge_vs_people = agreement(judge, consensus(raters), levels=range(1, 6), clusters=..., seed=0)
    human_ceiling = ceiling(raters, levels=range(1, 6), clusters=..., seed=0)

Intervals are 95% percentile intervals of a bootstrap over conversations, because items of one
conversation are not independent. Items without a rating are left out and counted, never imputed.
What has no value (a constant rater has no rank correlation) is None with a reason, or an
`AgreementUndefined`; it is never NaN.

Left out: Krippendorff's alpha (Inspect has it as a metric of a log), and crowds in which each
person rated other items: take the mean of a crowd as one rating.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy import stats

from judges.resampling import (
    N_RESAMPLES,
    Bootstrap,
    FloatArray,
    Measure,
    kappas,
    mean_of,
    means,
    spearmans,
)
from judges.resampling import AgreementUndefined as AgreementUndefined
from judges.resampling import Interval as Interval

Ratings = Mapping[str, float]
"""Item id -> rating, of one rater in one dimension."""

MOST_LABELS: Final = 100_000
"""An answer of `labels_needed` beyond this is none: value and floor are the same in practice."""


class Agreement(BaseModel):
    """One judge (or rater) against ratings of people."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    """Items that both rated."""
    n_total: int
    """Items that people rated; the judge left `n_total - n` of them unscored."""
    kappa: Interval | None
    """With quadratic weights, over the whole scale."""
    spearman: Interval | None
    offset: Interval
    """Mean of judge minus people, in levels."""
    exact: Interval
    """Share of items with the same level."""
    undefined: dict[str, str]
    """Why a measure is None."""


class Ceiling(BaseModel):
    """Each rater against the median of the others, averaged over raters: what people reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_raters: int
    n: int
    """Items with two or more ratings."""
    kappa: Interval | None
    spearman: Interval | None
    exact: Interval
    kappas: tuple[float, ...] | None
    """Kappa of each rater in the order given, to see an odd one out."""
    undefined: dict[str, str]


def weighted_kappa(a: Sequence[int], b: Sequence[int], levels: Sequence[int]) -> float:
    """Kappa with quadratic weights over the whole scale.

    The scale is given, because levels that nobody used would else be left out and the distances
    between the others shrink.

    Raises:
        AgreementUndefined: both raters give one and the same level throughout, or nothing at all.
        ValueError: a rating is no level, or the lengths differ.
    """
    _check_lengths(a, b)
    _check_levels(levels)
    for rating in (*a, *b):
        if rating not in levels:
            raise ValueError(f"rating {rating} is none of the levels {_shown(levels)}")
    if len({*a, *b}) < 2:
        raise AgreementUndefined(f"kappa is undefined: {len(a)} items with one and the same level")
    from sklearn.metrics import cohen_kappa_score  # brings pandas: 0.4 s that no other verb needs

    return float(cohen_kappa_score(a, b, weights="quadratic", labels=list(levels)))


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation.

    Raises:
        AgreementUndefined: a rater is constant.
    """
    _check_lengths(a, b)
    if len(set(a)) < 2 or len(set(b)) < 2:
        raise AgreementUndefined(f"Spearman is undefined: a rater is constant over {len(a)} items")
    return float(stats.spearmanr(a, b).statistic)


def offset(judge: Sequence[float], human: Sequence[float]) -> float:
    """Mean of judge minus human: positive where the judge is more generous."""
    _check_lengths(judge, human)
    return statistics.fmean(j - h for j, h in zip(judge, human, strict=True))


def exact_agreement(a: Sequence[int], b: Sequence[int]) -> float:
    """Share of items with the same level."""
    _check_lengths(a, b)
    return statistics.fmean(x == y for x, y in zip(a, b, strict=True))


def consensus(raters: Sequence[Ratings]) -> dict[str, float]:
    """The median rating of every item that anyone rated; it may lie between two levels."""
    items = sorted(set().union(*raters))
    return {item: statistics.median(r[item] for r in raters if item in r) for item in items}


def agreement(
    judge: Ratings,
    human: Ratings,
    *,
    levels: Sequence[int],
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> Agreement:
    """Compare a judge with people on the items that both rated.

    A rating between two levels (a mean or median of people) is rounded to the nearer one, half to
    the even one, for kappa and exact agreement; Spearman and offset take it as it is.

    Args:
        judge: Ratings of the judge.
        human: Ratings of a person, or of several as one (`consensus`).
        levels: The whole scale, ascending.
        clusters: Conversation of each item; None takes each item as its own.
        seed: Of the resamples.
        n_resamples: How many of them.

    Raises:
        AgreementUndefined: fewer than two items or conversations were rated by both.
    """
    items = sorted(judge.keys() & human.keys())
    pair = _pair(judge, human, items, levels)
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    tried = bootstrap.tried({"kappa": pair.kappa, "spearman": pair.spearman})
    return Agreement(
        n=len(items),
        n_total=len(human),
        kappa=tried.intervals.get("kappa"),
        spearman=tried.intervals.get("spearman"),
        offset=bootstrap.interval(pair.offset),
        exact=bootstrap.interval(pair.exact),
        undefined=tried.undefined,
    )


def ceiling(
    raters: Sequence[Ratings],
    *,
    levels: Sequence[int],
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> Ceiling:
    """What a person reaches: each rater against the median of the others, averaged over raters.

    The median of two others is their mean; halves are rounded as in `agreement`. A judge is held
    against the median of *all* raters, which is less noisy than that of all but one, so a judge can
    exceed the ceiling without being better than a person: `judge_minus_human` compares fairly.

    Raises:
        AgreementUndefined: fewer than two items or conversations have two ratings.
    """
    items = [i for i in sorted(set().union(*raters)) if sum(i in r for r in raters) > 1]
    pairs = [_pair(one, rest, items, levels) for one, rest in _each_and_rest(raters)]
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    tried = bootstrap.tried(
        {
            "kappa": mean_of([pair.kappa for pair in pairs]),
            "spearman": mean_of([pair.spearman for pair in pairs]),
        }
    )
    each = tuple(bootstrap.observed(pair.kappa) for pair in pairs)
    return Ceiling(
        n_raters=len(raters),
        n=len(items),
        kappa=tried.intervals.get("kappa"),
        spearman=tried.intervals.get("spearman"),
        exact=bootstrap.interval(mean_of([pair.exact for pair in pairs])),
        kappas=None if any(map(math.isnan, each)) else each,
        undefined=tried.undefined,
    )


def pairwise_kappa(
    raters: Sequence[Ratings],
    *,
    levels: Sequence[int],
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Mean kappa of all pairs of raters, each pair on the items that both rated.

    Raises:
        AgreementUndefined: a pair has no kappa.
    """
    _check_raters(raters)
    items = sorted(set().union(*raters))
    pairs = [_pair(one, other, items, levels) for one, other in combinations(raters, 2)]
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    return bootstrap.interval(mean_of([pair.kappa for pair in pairs]))


def judge_minus_human(
    judge: Ratings,
    raters: Sequence[Ratings],
    *,
    levels: Sequence[int],
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Is the judge as good as one more human? Kappa of the judge minus kappa of a person.

    For each rater left out in turn, judge and left-out rater are held against the median of the
    rest, on the same items and in the same resamples; the differences are averaged over raters. A
    lower bound above 0 says better than one more human, an upper bound below 0 worse.

    Raises:
        AgreementUndefined: a kappa has no value, or fewer than two items or conversations count.
    """
    items = [i for i in sorted(judge) if sum(i in r for r in raters) > 1]
    contrasts = []
    for one, rest in _each_and_rest(raters):
        shared = {i: rest[i] for i in items if i in one and i in rest}
        of_judge = _pair(judge, shared, items, levels).kappa
        of_human = _pair(one, shared, items, levels).kappa
        contrasts.append(partial(_difference, of_judge, of_human))
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    return bootstrap.interval(mean_of(contrasts))


def labels_needed(interval: Interval, floor: float, n: int) -> int | None:
    """How many labelled items in all would put the whole interval on one side of the floor.

    The half width on the floor's side shrinks with 1/sqrt(items), if value and items per
    conversation stay as they are. `n` itself where the interval decides already; None where no
    number would: the value is at the floor, or so close that it takes more than `MOST_LABELS`.

    Args:
        interval: A value measured on `n` items.
        floor: What it must be above, or is below.
        n: Items behind the interval.
    """
    value = interval.value
    half = value - interval.lower if value > floor else interval.upper - value
    distance = abs(value - floor)
    if distance == 0:
        return None
    needed = n * (half / distance) ** 2
    return max(n, math.floor(needed) + 1) if needed < MOST_LABELS else None


class _Pair(NamedTuple):
    """Two raters over the same items, in numbers."""

    both_N: FloatArray
    """1 where both rated the item, else 0."""
    position_a_N: FloatArray
    """Of the nearest level, on the scale: 0 for the lowest."""
    position_b_N: FloatArray
    rating_a_N: FloatArray
    rating_b_N: FloatArray

    def kappa(self, weights_RN: FloatArray) -> FloatArray:
        return kappas(weights_RN * self.both_N, self.position_a_N, self.position_b_N)

    def spearman(self, weights_RN: FloatArray) -> FloatArray:
        return spearmans(weights_RN * self.both_N, self.rating_a_N, self.rating_b_N)

    def offset(self, weights_RN: FloatArray) -> FloatArray:
        return means(weights_RN * self.both_N, self.rating_a_N - self.rating_b_N)

    def exact(self, weights_RN: FloatArray) -> FloatArray:
        is_same_N = (self.position_a_N == self.position_b_N).astype(np.float64)
        return means(weights_RN * self.both_N, is_same_N)


def _pair(a: Ratings, b: Ratings, items: Sequence[str], levels: Sequence[int]) -> _Pair:
    _check_levels(levels)
    both_N = np.array([item in a and item in b for item in items], dtype=np.float64)
    # What stands in for a missing rating does not matter: its item has weight 0.
    rating_a_N = np.array([a.get(item, levels[0]) for item in items], dtype=np.float64)
    rating_b_N = np.array([b.get(item, levels[0]) for item in items], dtype=np.float64)
    return _Pair(
        both_N,
        _positions(items, rating_a_N, levels),
        _positions(items, rating_b_N, levels),
        rating_a_N,
        rating_b_N,
    )


def _positions(items: Sequence[str], ratings_N: FloatArray, levels: Sequence[int]) -> FloatArray:
    """Where each rating's nearest level stands on the scale; the even one of two as near."""
    for item, rating in zip(items, ratings_N, strict=True):
        if not levels[0] <= rating <= levels[-1]:
            raise ValueError(f"item {item!r} is rated {rating:g}; the levels are {_shown(levels)}")
    nearest = (min(levels, key=lambda level: (abs(level - r), level % 2)) for r in ratings_N)
    return np.array([levels.index(level) for level in nearest], dtype=np.float64)


def _each_and_rest(raters: Sequence[Ratings]) -> Iterator[tuple[Ratings, Ratings]]:
    """Every rater with the median of the others."""
    _check_raters(raters)
    for index, one in enumerate(raters):
        yield one, consensus([*raters[:index], *raters[index + 1 :]])


def _difference(a: Measure, b: Measure, weights_RN: FloatArray) -> FloatArray:
    return a(weights_RN) - b(weights_RN)


def _check_raters(raters: Sequence[Ratings]) -> None:
    if len(raters) < 2:
        raise AgreementUndefined(
            f"{len(raters)} rater(s); people agree with each other from two on"
        )


def _check_levels(levels: Sequence[int]) -> None:
    if len(levels) < 2 or list(levels) != sorted(set(levels)):
        raise ValueError(f"levels are {_shown(levels)}; give two or more in ascending order")


def _check_lengths(a: Sequence[float], b: Sequence[float]) -> None:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} ratings against {len(b)}; give both raters the same items")
    if not a:
        raise AgreementUndefined("no item was rated by both")


def _shown(levels: Sequence[int]) -> str:
    return ", ".join(map(str, levels))
