"""What an evaluation can show, told before it is run.

The last logs say how much people differ and how much the repeats of a person do; from these follow
the smallest gain that the gate would find, the people that a given gain needs, and how often a
guard lets an unchanged model pass.

    components = variance_components(d_N, within_a, within_b, repeats=4)
    se = components.standard_error(n=100, repeats=4)
    minimum_detectable_effect(se, n=100, alpha=0.05, delta_min=0.1)

The chances are of the gate's whole primary, not of its t test alone: the lower bound above 0, the
mean at `delta_min` or more, and the bound at equal length above 0. Means are taken as normal, and
length as having nothing to do with the gain.

Variances as in Miller (2024, arXiv 2411.00640), section 5. Left out: how uncertain the variances
themselves are, which with few people is much (20 people know a standard deviation to 16%).
"""

import bisect
import math
from functools import cache, lru_cache
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, FiniteFloat
from scipy import optimize, special, stats

N_NODES: Final = 96
"""Of the integrals over the standard deviation and the mean; within 4e-5, and 0.006 where
`delta_min` decides and the inflation is just below 1, for the integrand then has a step."""
NO_NOISE: Final = 1e-4
"""A smaller difference between the two estimates is none; it changes the chance by about 1e-5."""
MAX_PEOPLE: Final = 1_000_000
"""An effect that needs more is told to be out of reach."""


class VarianceComponents(BaseModel):
    """Where the spread of the people's differences comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    between: Annotated[FiniteFloat, Ge(0)]
    """Variance of the true difference of a person: more people help, more repeats do not."""
    within_a: Annotated[FiniteFloat, Ge(0)]
    """Variance between a person's samples with A; the judge's noise is in it."""
    within_b: Annotated[FiniteFloat, Ge(0)]
    repeats: Annotated[FiniteFloat, Gt(0)]
    """Samples of a person on each side, on average, that this was estimated from."""

    def sd(self, repeats: float) -> float:
        """Standard deviation of people's mean differences with so many samples of each."""
        return math.sqrt(self.between + (self.within_a + self.within_b) / repeats)

    def standard_error(self, n: int, repeats: float) -> float:
        """Of the mean difference over `n` people."""
        return self.sd(repeats) / math.sqrt(n)


def variance_components(
    d_N: npt.ArrayLike, within_a: float | None, within_b: float | None, repeats: float
) -> VarianceComponents:
    """What the last comparison says of the next.

    Args:
        d_N: People's mean differences.
        within_a: Variance between the samples of a person, pooled; None where nobody has two. All
            spread then counts as between people, and more repeats promise nothing.
        within_b: The same of B.
        repeats: Samples of a person, on each side, behind the differences.

    Raises:
        ValueError: fewer than two people.
    """
    values_N = np.asarray(d_N, dtype=np.float64)
    if values_N.size < 2:
        raise ValueError(
            f"variance_components: {values_N.size} people; the last comparison needs two or more"
        )
    a, b = within_a or 0.0, within_b or 0.0
    between = max(0.0, float(values_N.var(ddof=1)) - (a + b) / repeats)
    return VarianceComponents(between=between, within_a=a, within_b=b, repeats=repeats)


def pass_chance(
    effect: float,
    se: float,
    n: int,
    *,
    alpha: float,
    delta_min: float = 0.0,
    inflation: float = 1.0,
) -> float:
    """How often the gate's primary passes if the true mean difference is `effect`.

    Args:
        effect: True mean difference.
        se: True standard error of the mean difference; 0 is allowed.
        n: People.
        alpha: Error of each one-sided bound.
        delta_min: What the mean must reach.
        inflation: Standard error at equal length over the raw one, as in a log of about as many
            people; 1 where length is not looked at.

    Raises:
        ValueError: fewer than two people, or an inflation that is not finite and positive (lengths
            that cannot be told from quality: nothing would pass).
    """
    if n < 2 or not 0 < inflation < math.inf:
        raise ValueError(
            f"pass_chance: {n} people, inflation {inflation}; give two people or more and a finite "
            "positive inflation"
        )
    if se == 0:
        return float(effect > 0 and effect >= delta_min)
    u_S, weight_S = _nodes()
    t_S = _critical(alpha, n)
    raw = (np.maximum(t_S, delta_min / se) - effect / se, 1.0)
    level = (t_S * inflation - effect / se, inflation)
    # The one with the smaller error is the better estimate of the same; the other is it plus noise.
    (cut_S, spread), (other_S, other_spread) = (raw, level) if inflation >= 1 else (level, raw)
    noise = math.sqrt(other_spread**2 - spread**2)
    tail_S = special.ndtr(-cut_S / spread)
    if noise < NO_NOISE:  # the bound at equal length is the raw one
        return float(weight_S @ tail_S)
    x_SU = -spread * special.ndtri(tail_S[:, None] * u_S)
    both_S = special.ndtr((x_SU - other_S[:, None]) / noise) @ weight_S
    return float(weight_S @ (tail_S * both_S))


def minimum_detectable_effect(
    se: float,
    n: int,
    *,
    alpha: float,
    power: float = 0.8,
    delta_min: float = 0.0,
    inflation: float = 1.0,
) -> float:
    """The true mean difference at which the gate's primary passes with chance `power`.

    Arguments and errors as `pass_chance`.
    """
    _check_power(alpha, power)

    def lack(effect: float) -> float:
        chance = pass_chance(effect, se, n, alpha=alpha, delta_min=delta_min, inflation=inflation)
        return power - chance

    if se == 0:
        return delta_min
    high = max(delta_min, se)
    while lack(high) > 0:
        high *= 2
    return float(optimize.brentq(lack, 0.0, high, xtol=1e-9 * high))


def people_for(
    effect: float,
    components: VarianceComponents,
    repeats: float,
    *,
    alpha: float,
    power: float = 0.8,
    delta_min: float = 0.0,
    inflation: float = 1.0,
) -> int:
    """The fewest people with whom the gate's primary passes with chance `power`.

    `stats.people_needed` is the quick answer for the t test alone.

    Raises:
        ValueError: the effect is not positive, or not above `delta_min`, or too small for
            `MAX_PEOPLE`.
    """
    _check_power(alpha, power)

    def chance(n: int) -> float:
        return pass_chance(
            effect,
            components.standard_error(n, repeats),
            n,
            alpha=alpha,
            delta_min=delta_min,
            inflation=inflation,
        )

    if effect <= 0 or chance(MAX_PEOPLE) < power:
        raise ValueError(
            f"people_for: {MAX_PEOPLE:,} people do not show an effect of {effect:g} where "
            f"{delta_min:g} is wanted; look for a larger one"
        )
    return bisect.bisect_left(range(MAX_PEOPLE), power, lo=2, key=chance)


def guard_power(sd: float, n: int, margin: float, alpha: float) -> float:
    """How often a guard passes a model that did not change.

    It passes where harm of `margin` is ruled out, so with few people it holds a good model back.

    Args:
        sd: Standard deviation of people's differences in the guarded metric.
        n: People.
        margin: Harm that is not accepted, as a positive number.
        alpha: Error of the one-sided bound.
    """
    return pass_chance(margin, sd / math.sqrt(n), n, alpha=alpha)


@lru_cache(maxsize=1000)
def _critical(alpha: float, n: int) -> npt.NDArray[np.float64]:
    """What the mean must reach to pass the t test, in true standard errors, at each node.

    At a node the sample's variance takes one of its values, from small to large.
    """
    u_S, _ = _nodes()
    variance_S = stats.chi2.ppf(u_S, n - 1) / (n - 1)
    critical_S: npt.NDArray[np.float64] = stats.t.ppf(1 - alpha, n - 1) * np.sqrt(variance_S)
    return critical_S


@cache
def _nodes() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of a Gauss-Legendre integral from 0 to 1, with their weights."""
    node, weight = np.polynomial.legendre.leggauss(N_NODES)
    return (node + 1) / 2, weight / 2


def _check_power(alpha: float, power: float) -> None:
    if not 0 < alpha < power < 1:
        raise ValueError(f"alpha {alpha} and power {power}: give 0 < alpha < power < 1")
