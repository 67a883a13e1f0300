"""A mean from few labels of people and many of a judge, with an interval that holds.

A judge is cheap and biased, people are dear and are what counts. The prediction-powered estimate
takes the mean of the people's labels and moves it by how the judge's mean on the labelled items
differs from that on the others, so the judge's bias cancels and only its sense of which items are
better is used. The weight of that move is fitted: a useless judge gets about 0, and the interval is
then the people's own.

    difference_estimate(human_a, judge_a, human_b, judge_b, alpha=0.1).lower > 0     # B is better

The estimate is PPI++ for a mean (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453; PPI: Science
382, 669). It is our own for want of a library that fits: `ppi-python` 0.2.3 brings numba (277 MB in
all), knows no clusters and takes normal quantiles; `glide-py` 0.11 needs Python 3.12; `cje-eval`
0.9.3 is 20,000 lines around another method, wants bounded scales, and gave intervals 17% wider in
100 rounds of our simulation. The tests compare with stored results of the first two. Two things
differ: variances are sums over people (clusters), and since the weight is fitted the interval is
that of a regression, with a t quantile at (labelled people - 2), for 40 labels are few.

Three conditions, of which the last is enforced and the others cannot be:

* The labelled items are a random subset of the judged ones. Labels of complaints, or of what looked
  interesting, give a wrong answer with a confident interval. `label_shift` hints at it, no more.
* The judge's values are of one judge, one prompt and one rubric, for every item of the sample: one
  that failed on some items has chosen the sample.
* In a comparison people labelled both checkpoints. A judge corrected on one side only can turn the
  sign of the difference around (arXiv 2605.06939), so an unlabelled side is refused.

Left out: other quantities than means, weights of items, labels by several people (average first).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat
from scipy import special

FloatArray = npt.NDArray[np.float64]

FITTED: Final = 2
"""The mean and the judge's weight."""
MIN_LABELS: Final = 20
"""Labelled people on each side; below, the fitted weight and the interval are not to be trusted.
With fewer people than this left unlabelled the judge gets no weight: it has little to add."""


class Interval(BaseModel):
    """A value with its two-sided interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat


class Estimate(BaseModel):
    """A mean, or a mean difference, from people and judge together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat
    lower: FiniteFloat
    upper: FiniteFloat
    alpha: float
    """Two-sided: a one-sided decision at 0.05 reads `lower` at 0.1."""
    n_human: int
    """Items with a label of people."""
    n_people: int
    """Labelled clusters: the number that the interval rests on."""
    n_judge: int
    """Items that the judge rated, the labelled ones too."""
    n_left_out: int
    """Of a difference: items with a label, or a judge's value, on one side only. It is not used."""
    human_only: Interval
    """From the labels alone."""
    judge_only: FiniteFloat
    """Mean of the judge's values, to see its bias; never to decide by."""
    judge_weight: float
    """What the judge's move counts; 0 leaves the labels alone."""
    gain: float
    """Variance with labels alone over variance of this: 1.5 is as good as half as many labels more.
    Just below 1 for a judge that knows nothing."""
    label_shift: float | None
    """Judge's mean on labelled items minus that on the others, in standard errors. Beyond 3 in
    either direction the labelled items were hardly drawn at random. None: nothing to compare."""

    @property
    def standard_error(self) -> float:
        """Of `value`: half the interval over its quantile."""
        return (self.upper - self.lower) / 2 / _quantile(self.alpha, self.n_people - FITTED)


def mean_estimate(
    human: Mapping[str, float],
    judge: Mapping[str, float],
    *,
    alpha: float = 0.05,
    clusters: Mapping[str, str] | None = None,
) -> Estimate:
    """The mean that people would give to all items, of which they labelled a random subset.

    Args:
        human: Item -> label of people.
        judge: Item -> value of the judge, for every item; any scale.
        alpha: Error of the two-sided interval.
        clusters: Item -> person it belongs to; None takes each item as a person of its own.

    Raises:
        ValueError: fewer than `MIN_LABELS` people labelled, all labels equal, a labelled item
            without a value of the judge, or a value that is not finite.
    """
    _check_people(human, clusters, "mean_estimate: ")
    return _estimate(human, judge, alpha, clusters, n_left_out=0)


def difference_estimate(
    human_a: Mapping[str, float],
    judge_a: Mapping[str, float],
    human_b: Mapping[str, float],
    judge_b: Mapping[str, float],
    *,
    alpha: float = 0.05,
    clusters: Mapping[str, str] | None = None,
) -> Estimate:
    """The mean difference B minus A over items (people) that both checkpoints served.

    Items with a label, or a value of the judge, on one side only are counted and left out.

    Raises:
        ValueError: as `mean_estimate`, for each side, and for the items labelled on both.
    """
    for side, labels in (("A", human_a), ("B", human_b)):
        _check_people(labels, clusters, f"difference_estimate: side {side}: ")
    human, judge = _differences(human_a, human_b), _differences(judge_a, judge_b)
    _check_people(human, clusters, "difference_estimate: both sides: ")
    one_sided = (human_a.keys() ^ human_b.keys()) | (judge_a.keys() ^ judge_b.keys())
    return _estimate(human, judge, alpha, clusters, n_left_out=len(one_sided))


class _Parts(NamedTuple):
    """Labelled and other items, and what each person adds to the means (suffix P: people)."""

    human_mean: float
    move: float
    """Judge's mean on the other items minus that on the labelled ones; 0 without others."""
    human_P: FloatArray
    judge_P: FloatArray
    n_people: int
    has_others: bool
    """Enough other people, and a judge that varies over labelled and other items."""


def _estimate(
    human: Mapping[str, float],
    judge: Mapping[str, float],
    alpha: float,
    clusters: Mapping[str, str] | None,
    n_left_out: int,
) -> Estimate:
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}; it must lie between 0 and 1")
    parts = _parts(human, judge, clusters)
    weight = _weight(parts)
    error = _standard_error(parts, weight)
    value = parts.human_mean + weight * parts.move
    half = _quantile(alpha, parts.n_people - FITTED) * error
    human_error = _standard_error(parts, None)
    human_half = _quantile(alpha, parts.n_people - 1) * human_error
    shift_error = math.sqrt(float(parts.judge_P @ parts.judge_P))
    return Estimate(
        value=value,
        lower=value - half,
        upper=value + half,
        alpha=alpha,
        n_human=len(human),
        n_people=parts.n_people,
        n_judge=len(judge),
        n_left_out=n_left_out,
        human_only=Interval(
            value=parts.human_mean,
            lower=parts.human_mean - human_half,
            upper=parts.human_mean + human_half,
        ),
        judge_only=math.fsum(judge.values()) / len(judge),
        judge_weight=weight,
        gain=(human_error / error) ** 2,
        label_shift=-parts.move / shift_error if parts.has_others else None,
    )


def _parts(
    human: Mapping[str, float], judge: Mapping[str, float], clusters: Mapping[str, str] | None
) -> _Parts:
    _check_values(human, judge)
    labelled, others = sorted(human), sorted(judge.keys() - human.keys())
    people = _people([*labelled, *others], clusters)
    person_N, other_person_N = people[: len(labelled)], people[len(labelled) :]
    size = int(people.max()) + 1
    label_N = np.array([human[item] for item in labelled], dtype=np.float64)
    judge_N = np.array([judge[item] for item in labelled], dtype=np.float64)
    other_N = np.array([judge[item] for item in others], dtype=np.float64)
    if np.ptp(label_N) == 0:
        raise ValueError(
            f"all {len(labelled)} labels are {label_N[0]:g}: there is no spread to make an "
            "interval from; label more items, or use an exact interval of a rate"
        )
    n_other_people = len(np.unique(other_person_N))
    has_others = n_other_people >= MIN_LABELS and np.ptp(judge_N) > 0 and np.ptp(other_N) > 0
    judge_P = _shares(judge_N, person_N, size)
    return _Parts(
        human_mean=float(label_N.mean()),
        move=float(other_N.mean() - judge_N.mean()) if has_others else 0.0,
        human_P=_shares(label_N, person_N, size),
        judge_P=judge_P - _shares(other_N, other_person_N, size) if has_others else judge_P,
        n_people=len(np.unique(person_N)),
        has_others=bool(has_others),
    )


def _weight(parts: _Parts) -> float:
    """The weight with the least estimated variance: PPI++'s lambda, with variances over people.

    Not below 0, for a judge that ranks the other way round is a broken one; PPI++ also stops at 1,
    which would waste a judge on a narrower scale.
    """
    if not parts.has_others:
        return 0.0
    return max(0.0, float(parts.human_P @ parts.judge_P) / float(parts.judge_P @ parts.judge_P))


def _standard_error(parts: _Parts, weight: float | None) -> float:
    """Over people, with as many degrees of freedom less as were fitted; None: labels alone."""
    fitted = 1 if weight is None else FITTED
    rest_P = parts.human_P - (weight or 0.0) * parts.judge_P
    return math.sqrt(parts.n_people / (parts.n_people - fitted) * float(rest_P @ rest_P))


def _shares(values_N: FloatArray, person_N: npt.NDArray[np.intp], size: int) -> FloatArray:
    """What each person adds to the mean's deviation; their squares sum to its variance."""
    centred_N = values_N - values_N.mean()
    return np.bincount(person_N, weights=centred_N, minlength=size) / len(values_N)


def _quantile(alpha: float, degrees: int) -> float:
    """Of Student's t, two-sided."""
    return float(special.stdtrit(degrees, 1 - alpha / 2))


def _people(items: Sequence[str], clusters: Mapping[str, str] | None) -> npt.NDArray[np.intp]:
    """The number of each item's person."""
    if clusters is None:
        return np.arange(len(items))
    lost = [item for item in items if item not in clusters]
    if lost:
        raise ValueError(f"item {lost[0]!r} is in no cluster; name the person of every item")
    _, numbers = np.unique([clusters[item] for item in items], return_inverse=True)
    return np.asarray(numbers, dtype=np.intp)


def _differences(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    """B minus A of the items in both."""
    return {item: b[item] - a[item] for item in b if item in a}


def _check_people(
    labels: Mapping[str, float], clusters: Mapping[str, str] | None, where: str
) -> None:
    n = len(set(_people(sorted(labels), clusters).tolist()))
    if n < MIN_LABELS:
        raise ValueError(
            f"{where}{n} labelled people; label {MIN_LABELS} or more, drawn at random, and the "
            "same on both sides of a comparison"
        )


def _check_values(human: Mapping[str, float], judge: Mapping[str, float]) -> None:
    for name, values in (("label of people", human), ("value of the judge", judge)):
        for item, value in values.items():
            if not math.isfinite(value):
                raise ValueError(f"item {item!r}: the {name} is {value}; leave out what failed")
    unjudged = sorted(human.keys() - judge.keys())
    if unjudged:
        raise ValueError(
            f"{len(unjudged)} labelled items have no value of the judge, or of a comparison not on "
            f"both sides (first {unjudged[0]!r}); "
            "judge them again: to leave them out hides what the judge fails on"
        )
