"""Paired statistics for small numbers of people.

The person is the unit; repeats of a person are averaged before they come here.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Bound(NamedTuple):
    """A mean difference with one-sided t bounds at the same error rate."""

    mean: float
    lower: float
    upper: float
    sd: float
    n: int


def paired_bound(differences: Sequence[float], alpha: float) -> Bound:
    """Mean of paired differences with its two one-sided `1 - alpha` t bounds.

    Raises:
        ValueError: fewer than two differences, or one that is not finite.
    """
    values = np.asarray(differences, dtype=float)
    n_finite = int(np.isfinite(values).sum())
    if values.size < 2 or n_finite < values.size:
        raise ValueError(
            f"paired_bound needs two or more finite differences; "
            f"got {values.size}, of which {n_finite} are finite"
        )
    mean, sd, n = float(values.mean()), float(values.std(ddof=1)), int(values.size)
    half = float(stats.t.ppf(1 - alpha, n - 1)) * sd / math.sqrt(n)
    return Bound(mean, mean - half, mean + half, sd, n)


def people_needed(sd: float, effect: float, alpha: float, power: float = 0.8) -> int:
    """People for a paired one-sided t test to find `effect` with `power`.

    The normal approximation plus two people, for the t quantile is wider than the normal one.

    Raises:
        ValueError: the effect is not positive: no number of people would show it.
    """
    if effect <= 0:
        raise ValueError(
            f"people_needed: an effect of {effect} cannot be shown; it must be positive"
        )
    z = float(stats.norm.ppf(1 - alpha) + stats.norm.ppf(power))
    return math.ceil((z * sd / effect) ** 2) + 2
