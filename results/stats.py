"""Statistics of a comparison: bounds of a mean difference, of a rate, and what missing scores hide.

The person is the unit: repeats, judges and orders of a person are averaged before they come here,
so that no function has to know of clusters, and resampling values is resampling people.

    d_N = candidate_N - champion_N
    paired_bounds(d_N, alpha=0.05).lower > 0                   # better
    equal_length(d_N, length_d_N, alpha=0.05).lower > 0        # and not for being longer

Arrays may have leading axes: the last one (`_N`) is the person, the others are rounds of a
simulation, which the same code serves at once. A result has the leading shape; without one it is a
plain number.

`paired_bounds` is what decides. `sign_flip_p` and `bca_interval` are shown beside it, for they
assume less; a decision between tests after the fact would be a choice of the result.

Left out: mixed models (averaging first is as good where everybody has about as many repeats), a
paired interval of a rate's difference (it goes by the t bound of people's rates).
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt
from scipy import stats

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

N_RESAMPLES: Final = 9999
"""Sign flips or bootstrap rounds."""
VALUES_A_BATCH: Final = 2_000_000
"""Resampled values held at once: 16 MB, whatever the number of people."""
FIRST_LOOK: Final = 50
"""People before which no bound is given of an evaluation that is looked at while it grows."""
ROUNDING: Final = 1e-12
"""A relative spread below it is rounding."""
MIN_LENGTH: Final = 1e-9
"""A difference in length below it is rounding."""
MIN_LENGTH_SPREAD: Final = 1e-6
"""Of the squashed length differences: below it they are one value, and no slope can be fitted."""


class Bound(NamedTuple):
    """A mean difference with one-sided t bounds at the same error rate."""

    mean: float
    lower: float
    upper: float
    sd: float
    n: int


class Bounds(NamedTuple):
    """As `Bound`, of a stack: arrays of the leading shape, or numbers where there is none."""

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    sd: FloatArray
    """Always `se * sqrt(n)`: what `people_needed` takes."""
    se: FloatArray
    n: int


class RateBound(NamedTuple):
    """A rate of rare events with its exact one-sided upper bound."""

    rate: FloatArray
    upper: FloatArray


def paired_bound(differences: Sequence[float], alpha: float) -> Bound:
    """Mean of paired differences with its two one-sided `1 - alpha` t bounds.

    Raises:
        ValueError: fewer than two differences, or one that is not finite.
    """
    found = paired_bounds(_finite(np.ravel(differences), "paired_bound"), alpha)
    return Bound(
        float(found.mean), float(found.lower), float(found.upper), float(found.sd), found.n
    )


def paired_bounds(d: npt.ArrayLike, alpha: npt.ArrayLike) -> Bounds:
    """Means of paired differences with their one-sided `1 - alpha` t bounds.

    Args:
        d: Differences, (..., N).
        alpha: Error of each bound by itself; one, or one for each round.

    Raises:
        ValueError: fewer than two people, or a difference that is not finite.
    """
    d_RN = _finite(d, "paired_bounds")
    mean, se = _mean_and_se(d_RN)
    return _bounds(mean, se, d_RN.shape[-1], alpha)


def paired_p(d: npt.ArrayLike) -> FloatArray:
    """One-sided p that the mean difference is above 0: below alpha as `paired_bounds` passes.

    For `holm`. Where nobody differs from another there is no spread to judge a gain by, and it is
    the chance of as many heads in a row.
    """
    d_RN = _finite(d, "paired_p")
    n = d_RN.shape[-1]
    mean, se = _mean_and_se(d_RN)
    t = np.divide(mean, se, out=np.zeros_like(mean), where=se > 0)
    return np.where(se > 0, stats.t.sf(t, n - 1), np.where(mean > 0, 0.5**n, 1.0))[()]


def equal_length(d: npt.ArrayLike, length_d: npt.ArrayLike, alpha: npt.ArrayLike) -> Bounds:
    """The mean difference that would be left if both sides wrote equally long.

    It is the intercept of a regression of `d` on `tanh(length_d / sd(length_d))` (as AlpacaEval 2
    controls length), with errors robust to unequal variances (HC3, which allows for the few people
    on whom a line leans) and t quantiles at N - 2.

    Where nobody's length differs it is `paired_bounds`. Where everybody's differs by (nearly) the
    same, or there are only two people, nothing tells length from quality: all is NaN, no comparison
    with NaN is true, and the gate holds.

    Between the two the price shows in `se`: 1.5 times that of `paired_bounds` where people's length
    differences have a mean of 1 sd, 3.5 times at 2 sd, for length 0 then lies at the rim of the
    data. Equal checkpoints pass at alpha 0.05 in 5 to 6% with 20 to 200 people, longer by 1 or 2
    sd (20,000 simulated rounds; with the plainer HC1 in 5 to 15%). That the shape is `tanh` is
    taken on trust.

    Raises:
        ValueError: as `paired_bounds`, or the shapes differ.
    """
    d_RN, length_RN = _finite(d, "equal_length"), _finite(length_d, "equal_length (length)")
    if d_RN.shape != length_RN.shape:
        raise ValueError(
            f"equal_length: differences have shape {d_RN.shape}, lengths {length_RN.shape}; "
            "give one length a difference"
        )
    raw = paired_bounds(d_RN, alpha)
    mean, se = _intercept(d_RN, _squashed(length_RN))
    same = (np.abs(length_RN) < MIN_LENGTH).all(axis=-1)
    freedom = np.where(same, raw.n - 1.0, max(1.0, raw.n - 2.0))
    mean, se = np.where(same, raw.mean, mean), np.where(same, raw.se, se)
    return _bounds(mean, se, raw.n, alpha, freedom=freedom)


def sign_flip_p(d_N: npt.ArrayLike, *, seed: int, n_resamples: int = N_RESAMPLES) -> float:
    """One-sided p that the mean difference is above 0, if signs were tossed for each person.

    It takes only that a difference is as likely as its opposite; exact for few people (13 and
    fewer with the usual number of flips), by random flips for more.
    """
    values_N = _finite(d_N, "sign_flip_p")
    found = stats.permutation_test(
        (values_N,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=n_resamples,
        batch=_batch(values_N.size),
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def bca_interval(d_N: npt.ArrayLike, alpha: float, *, seed: int) -> tuple[float, float]:
    """Bootstrap interval (BCa) of the mean difference; each end is a one-sided `1 - alpha` bound.

    It resamples people. Items of a person are averaged first, so this is the cluster bootstrap.
    With few people it is too narrow (7% at 20, 14% at 10); it is shown, not decided by.
    """
    values_N = _finite(d_N, "bca_interval")
    _check_alpha(alpha)
    if np.ptp(values_N) <= ROUNDING * np.abs(values_N).max():  # all the same: nothing to resample
        return float(values_N[0]), float(values_N[0])
    found = stats.bootstrap(
        (values_N,),
        np.mean,
        method="BCa",
        confidence_level=1 - 2 * alpha,
        n_resamples=N_RESAMPLES,
        batch=_batch(values_N.size),
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def rate_bound(events: npt.ArrayLike, n: int, alpha: float) -> RateBound:
    """Rate of events among people, with its exact (Clopper-Pearson) one-sided upper bound.

    A person is one trial, however many turns it had: 0 of 200 at alpha 0.05 gives 1.5%.

    Raises:
        ValueError: no people, or more events than people.
    """
    _check_alpha(alpha)
    count = np.asarray(events, dtype=np.float64)
    if n < 1 or (count < 0).any() or (count > n).any():
        raise ValueError(f"rate_bound: {events!r} events of {n} people; count each person once")
    inner = np.minimum(count, n - 1)  # where all had the event the bound is 1
    upper = stats.beta.ppf(1 - alpha, inner + 1, n - inner)
    return RateBound((count / n)[()], np.where(count == n, 1.0, upper)[()])


@overload
def missing_p(only_a: int, only_b: int) -> float: ...
@overload
def missing_p(only_a: npt.ArrayLike, only_b: npt.ArrayLike) -> FloatArray: ...
def missing_p(only_a: npt.ArrayLike, only_b: npt.ArrayLike) -> FloatArray | float:
    """Two-sided p that scores are missing alike on both sides (exact McNemar test).

    Args:
        only_a: Samples without a score on side A only; those missing on both tell nothing.
        only_b: The same of side B.
    """
    a, b = np.asarray(only_a), np.asarray(only_b)
    p = 2 * stats.binom.cdf(np.minimum(a, b), a + b, 0.5)
    return np.minimum(1.0, np.asarray(p, dtype=np.float64))[()]


def worst_case_values(
    values_N: npt.ArrayLike,
    n_scored_N: npt.ArrayLike,
    n_missing_N: npt.ArrayLike,
    fill: float,
) -> FloatArray:
    """People's means after each missing sample got the value `fill`.

    With the candidate's filled by the worst value of the scale and the champion's by the best, the
    bound of the difference holds whatever the missing samples would have scored.

    Args:
        values_N: Mean of the scored samples; anything, also NaN, where there are none.
        n_scored_N: Samples with a score.
        n_missing_N: Samples without.
        fill: Value of a missing one.

    Raises:
        ValueError: a person with no sample of either kind.
    """
    n_scored, n_missing = np.asarray(n_scored_N), np.asarray(n_missing_N)
    n_total = n_scored + n_missing
    if (n_total < 1).any():
        raise ValueError("worst_case_values: a person has no samples; leave out who was not asked")
    scored_sum = np.where(n_scored > 0, values_N, 0.0) * n_scored
    return np.asarray((scored_sum + fill * n_missing) / n_total, dtype=np.float64)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for being several, any of which would do (Holm's step-down).

    Not for a primary and its guards: where all must pass, each is at full alpha.
    """
    from statsmodels.stats.multitest import multipletests

    if not len(p_values):
        return []
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def confidence_sequence(
    d: npt.ArrayLike, *, alpha: float, n_star: int, burn_in: int = FIRST_LOOK
) -> FloatArray:
    """Lower bound of the mean difference after each person, all of which hold together.

    Looking after every person and stopping at the first bound above 0 is wrong in about `alpha` of
    the cases, so an evaluation may end early. It is the one-sided asymptotic confidence sequence of
    Waudby-Smith and others (2021, arXiv 2103.06476). At a fixed number of people it is wider than
    `paired_bounds`.

    Asymptotic, so it starts after `burn_in` people and when two of them differ. That is enough for
    averaged scores (3% wrong at alpha 0.05 in 200 people), not for rare, large losses: with those
    of an exponential distribution 11% are wrong, 6.5% from 50 people on. The t bound has the same
    weakness (11% at 20 people, 7% at 100). Rare events are for `rate_bound`.

    Args:
        d: Differences in the order in which people came, (..., N). The order is random or fixed
            beforehand.
        alpha: Error of the whole sequence, one-sided; below 0.5.
        n_star: Number of people at which the bound is to be tightest.
        burn_in: People at the first bound; it is minus infinity before.
    """
    d_RN = _finite(d, "confidence_sequence")
    _check_alpha(alpha)
    n_N = np.arange(1, d_RN.shape[-1] + 1)
    first_R1 = d_RN[..., :1]  # differences from it, or large means would swallow the variance
    mean_RN = np.cumsum(d_RN - first_R1, axis=-1) / n_N
    square_RN = np.cumsum((d_RN - first_R1) ** 2, axis=-1) / n_N
    sd_RN = np.sqrt(np.maximum(0.0, square_RN - mean_RN**2))
    width_N = sequence_width(n_N, alpha=alpha, n_star=n_star)
    lower_RN = first_R1 + mean_RN - sd_RN * width_N
    return np.where((n_N >= burn_in) & (sd_RN > 0), lower_RN, -np.inf)


def sequence_width(n: npt.ArrayLike, *, alpha: float, n_star: int) -> FloatArray:
    """Of `confidence_sequence` after `n` people, in standard deviations of a person."""
    n_N = np.asarray(n, dtype=np.float64)
    log_alpha = -2 * math.log(2 * alpha)
    nr_N = n_N * ((log_alpha + math.log(1 + log_alpha)) / n_star)
    width = np.sqrt(2 * (nr_N + 1) / (n_N * nr_N) * np.log1p(np.sqrt(nr_N + 1) / (2 * alpha)))
    return np.asarray(width)


def score_excludes(
    worse: npt.ArrayLike, better: npt.ArrayLike, n: npt.ArrayLike, margin: float, alpha: float
) -> BoolArray:
    """Whether a rise of a share by `margin` or more is excluded, from who changed.

    For measures that are 0 or 1 a person. Where few changed, their spread says too little: of 20
    people of whom nobody changed, the t bound excludes any harm, and the truth may be 14%. This is
    Tango's score test of a paired difference of proportions (1998, Statistics in Medicine 17, 891),
    and where nobody became better also the exact binomial test of those who became worse, for the
    score test alone is wrong in up to 7% there.

    Args:
        worse: People who went from 0 to 1 in a harm.
        better: People who went from 1 to 0.
        n: People.
        margin: Between 0 and 1.
        alpha: One-sided error.
    """
    _check_alpha(alpha)
    if not 0 < margin < 1:
        raise ValueError(f"score_excludes: margin {margin}; a share rises by between 0 and 1")
    b, c, n_all = (np.asarray(value, dtype=np.float64) for value in (worse, better, n))
    # the likeliest share of those who become better, were the rise exactly `margin`
    half = b + c - margin * (2 * n_all - b + c)
    q = (half + np.sqrt(half**2 + 8 * n_all * c * margin * (1 - margin))) / (4 * n_all)
    error = np.sqrt(n_all * (2 * q + margin * (1 - margin)))
    score = (b - c - n_all * margin) / error
    exact = (c > 0) | (stats.binom.cdf(b, n_all, margin) <= alpha)
    return np.asarray((score <= -stats.norm.ppf(1 - alpha)) & exact)


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


def sequence_people_needed(sd: float, effect: float, alpha: float, n_star: int) -> int:
    """People after whom `confidence_sequence` shows `effect`, if mean and spread stay.

    Raises:
        ValueError: the effect is not positive: no number of people would show it.
    """
    if effect <= 0:
        raise ValueError(
            f"sequence_people_needed: an effect of {effect} cannot be shown; it must be positive"
        )

    def shows(n: int) -> bool:
        return sd * float(sequence_width(n, alpha=alpha, n_star=n_star)) < effect

    enough = FIRST_LOOK
    while not shows(enough):  # the width falls towards 0
        enough *= 2
    return FIRST_LOOK + bisect_left(range(FIRST_LOOK, enough), True, key=shows)


def _finite(d: npt.ArrayLike, where: str) -> FloatArray:
    values = np.asarray(d, dtype=np.float64)
    n_finite = int(np.isfinite(values).sum())
    if values.ndim == 0 or values.shape[-1] < 2 or n_finite < values.size:
        raise ValueError(
            f"{where} needs two or more finite differences; "
            f"got {values.size}, of which {n_finite} are finite"
        )
    return values


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 0.5")


def _mean_and_se(d_RN: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard error; of equal values themselves and 0, which a sum may miss by a bit."""
    is_equal = np.ptp(d_RN, axis=-1) == 0
    mean = np.where(is_equal, d_RN[..., 0], d_RN.mean(axis=-1))
    se = d_RN.std(axis=-1, ddof=1) / math.sqrt(d_RN.shape[-1])
    return mean, np.where(is_equal, 0.0, se)


def _bounds(
    mean: FloatArray,
    se: FloatArray,
    n: int,
    alpha: npt.ArrayLike,
    *,
    freedom: FloatArray | None = None,
) -> Bounds:
    df = np.asarray(n - 1.0 if freedom is None else freedom)
    half = stats.t.ppf(1 - np.asarray(alpha), df) * se
    return Bounds(
        mean=mean[()],
        lower=(mean - half)[()],
        upper=(mean + half)[()],
        sd=(se * math.sqrt(n))[()],
        se=se[()],
        n=n,
    )


def _squashed(length_RN: FloatArray) -> FloatArray:
    """Length differences in standard deviations, with the far ones pulled in."""
    sd_R1 = length_RN.std(axis=-1, ddof=1, keepdims=True)
    return np.tanh(length_RN / np.where(sd_R1 > 0, sd_R1, 1.0))


def _intercept(y_RN: FloatArray, x_RN: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Of a least-squares line, with its HC3 standard error.

    NaN where x does not vary, or one person alone makes it vary.
    """
    n = x_RN.shape[-1]
    known = (np.ptp(x_RN, axis=-1) > MIN_LENGTH_SPREAD) & (n > 2)
    x_mean, y_mean = x_RN.mean(axis=-1), y_RN.mean(axis=-1)
    x_RN, y_RN = x_RN - x_mean[..., None], y_RN - y_mean[..., None]
    squares = np.where(known, (x_RN**2).sum(axis=-1), np.nan)
    slope = (x_RN * y_RN).sum(axis=-1) / squares
    weight_RN = 1 / n - (x_mean / squares)[..., None] * x_RN
    free_RN = 1 - 1 / n - x_RN**2 / squares[..., None]  # how little the line leans on a person
    rest_RN = np.divide(
        y_RN - slope[..., None] * x_RN,
        free_RN,
        out=np.full_like(y_RN, np.nan),
        where=free_RN > MIN_LENGTH_SPREAD,
    )
    return y_mean - slope * x_mean, np.sqrt(((weight_RN * rest_RN) ** 2).sum(axis=-1))


def _batch(n: int) -> int:
    return max(1, VALUES_A_BATCH // n)
