"""Does a judge reward length more than people do?

People too may rate longer replies higher, so a judge is biased by its slope minus theirs. Left
out: what length stands for (detail, questions, repetition); the automatic measures show that.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from judges.agreement import Ratings
from judges.resampling import (
    MIN_SPREAD,
    N_RESAMPLES,
    AgreementUndefined,
    Bootstrap,
    FloatArray,
    Interval,
    Measure,
    slopes,
)


class LengthBias(BaseModel):
    """How the ratings rise with length: levels for one standard deviation of log length."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int
    judge: Interval
    human: Interval
    difference: Interval
    """Judge minus human: the bias, where people too rate longer replies higher."""


def length_slope(
    ratings: Ratings,
    lengths: Mapping[str, int],
    *,
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> Interval:
    """Levels by which the rating rises with one standard deviation of log length (least squares).

    Only the length is standardised. A correlation would also be divided by the spread of the
    ratings, so a noisy rater would seem less biased than a steady judge with the same slope.

    Args:
        ratings: Of a judge or of people.
        lengths: Words of each rated item, at least 1.
        clusters: Conversation of each item; None takes each item as its own.
        seed: Of the resamples.
        n_resamples: How many of them.

    Raises:
        AgreementUndefined: all lengths are equal, or there are fewer than two items.
    """
    items = sorted(ratings.keys() & lengths.keys())
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    return bootstrap.interval(_slope(ratings, _standard_log_lengths(lengths, items), items))


def length_bias(
    judge: Ratings,
    human: Ratings,
    lengths: Mapping[str, int],
    *,
    clusters: Mapping[str, str] | None = None,
    seed: int,
    n_resamples: int = N_RESAMPLES,
) -> LengthBias:
    """The slopes of judge and people on the items that both rated, and their difference."""
    items = sorted(judge.keys() & human.keys() & lengths.keys())
    bootstrap = Bootstrap.over(items, clusters, seed=seed, n_resamples=n_resamples)
    x_N = _standard_log_lengths(lengths, items)
    of_judge, of_human = _slope(judge, x_N, items), _slope(human, x_N, items)
    return LengthBias(
        n=len(items),
        judge=bootstrap.interval(of_judge),
        human=bootstrap.interval(of_human),
        difference=bootstrap.interval(lambda w: of_judge(w) - of_human(w)),
    )


def _slope(ratings: Ratings, x_N: FloatArray, items: Sequence[str]) -> Measure:
    y_N = np.array([ratings[item] for item in items], dtype=np.float64)
    return lambda weights_RN: slopes(weights_RN, x_N, y_N)


def _standard_log_lengths(lengths: Mapping[str, int], items: Sequence[str]) -> FloatArray:
    for item in items:
        if lengths[item] < 1:
            raise ValueError(f"item {item!r} has length {lengths[item]}; leave out what is empty")
    logs_N = np.log([lengths[item] for item in items])
    if logs_N.std() ** 2 < MIN_SPREAD:
        raise AgreementUndefined(f"all {len(items)} items have the same length")
    return np.asarray((logs_N - logs_N.mean()) / logs_N.std())
