"""Several judges on the same items: one value an item, and where the judges disagree.

    result = aggregate({"gpt": {"talk-1": 4, "talk-2": None}, ...}, "median", levels=range(1, 6))

No panel is used because it is a panel. On Lend an Ear (50 conversations, six dimensions) the median
of three language models did not beat the best of them: median kappa with the experts .65, against
.66, .64 and .52 for the three alone. They agree with each other (.81) far more than experts do
(.53): they share their faults, and agreement within a panel says nothing about being right. So a
panel needs a card of its own before it decides anything, as any judge does.

A judge that could not score an item is None there. That is never a number: an item with fewer than
`min_judges` scores has no value and a reason, and every judge's scores are counted.

The methods: "mean"; "median", halfway between two levels if need be; "majority", the level given
most often, which need not be more than half, and no value where two share that place;
"reliability", the model of Dawid and Skene (1979), in which every judge has a confusion matrix of
its own and the items' true levels are estimated together with those by EM. It assumes that judges
err independently given the truth, which language models do not: judges that share a fault outvote
the one that lacks it, and are called reliable. Its `accuracy` is agreement with the panel's own
estimate, never with people.

Left out: weights by hand, and judges of different scales.

Suffixes name axes: J judges, N items, T true levels, L given levels.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat, model_validator

FloatArray = npt.NDArray[np.float64]
Method = Literal["mean", "median", "majority", "reliability"]
Reason = Literal["too_few_judges", "tie"]

MIN_JUDGES_OF_RELIABILITY: Final = 3
"""Of two judges that differ, nothing says which one is wrong."""

SMOOTHING: Final = 0.1
"""Ratings added to every cell of a confusion matrix, and items added to every level. Without it a
judge that was never seen to give a level vetoes that level, whatever all others say. Ours, not
tuned. On 50 items of Lend an Ear and three judges it moves a value by up to a whole level: so few
items hardly determine three confusion matrices of five levels."""

TOLERANCE: Final = 1e-9
"""Converged when no probability of a level moved by more."""

MAX_ITERATIONS: Final = 2000


class NotConverged(RuntimeError):
    """The estimate was still moving after the last iteration, so there is none."""


class PanelVerdict(BaseModel):
    """What the panel says about one item."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: FiniteFloat | None
    reason: Reason | None = None
    """Why there is no value."""
    n_judges: int
    """Judges that scored the item."""
    spread: FiniteFloat | None
    """Highest minus lowest score; None where nobody scored."""
    sd: FiniteFloat | None
    """Sample standard deviation of the scores; None below two."""
    probabilities: tuple[float, ...] | None = None
    """Of each level, for "reliability" alone; `value` is their mean over the levels."""
    most_probable: int | None = None
    """The level of the highest probability, the lower one of two."""

    @model_validator(mode="after")
    def _value_or_reason(self) -> "PanelVerdict":
        if (self.value is None) == (self.reason is None):
            raise ValueError(f"value {self.value} with reason {self.reason}; give exactly one")
        return self


class JudgeReliability(BaseModel):
    """How one judge errs, as estimated from the panel alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confusion: tuple[tuple[float, ...], ...]
    """Row: estimated true level; column: level given. A row sums to 1."""
    accuracy: float
    """Estimated probability that the judge gives the true level."""


class Reliability(BaseModel):
    """The estimate behind the method "reliability"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judges: dict[str, JudgeReliability]
    """Of every judge with a score on an item that counts."""
    level_shares: tuple[float, ...]
    """Estimated share of items at each level."""
    iterations: int
    converged: Literal[True] = True
    """Always: an estimate that does not converge is `NotConverged`."""


class PanelResult(BaseModel):
    """All items of a panel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    levels: tuple[int, ...]
    min_judges: int
    items: dict[str, PanelVerdict]
    n_scored: int
    """Items with a value, of `n_total`."""
    n_total: int
    scored_by: dict[str, int]
    """Items that each judge scored; the rest it left unscored."""
    disagreements: tuple[str, ...]
    """Items on which scores differ, the widest spread first, then the largest deviation."""
    reliability: Reliability | None = None


class DawidSkene(NamedTuple):
    """Estimated levels of items and confusions of judges."""

    posterior_NT: FloatArray
    confusion_JTL: FloatArray
    prior_T: FloatArray
    iterations: int


def aggregate(
    ratings: Mapping[str, Mapping[str, float | None]],
    method: Method,
    *,
    levels: Sequence[int],
    min_judges: int = 2,
    max_iterations: int = MAX_ITERATIONS,
) -> PanelResult:
    """One value for every item that any judge was asked about.

    Args:
        ratings: Judge -> item -> score; None, or no entry, where the judge has none.
        method: How scores become one value; see the module.
        levels: The whole scale, ascending. "mean" and "median" also take scores between levels.
        min_judges: An item that fewer judges scored has no value.
        max_iterations: Of EM, for "reliability".

    Raises:
        NotConverged: "reliability" was still moving after `max_iterations`.
        ValueError: a score is off the scale, or the panel is too small for the method.
    """
    _check_scale(levels, min_judges)
    scores = _scores(ratings, levels, must_be_level=method in ("majority", "reliability"))
    scored_by = {judge: sum(judge in s for s in scores.values()) for judge in sorted(ratings)}
    reliability = None
    if method == "reliability":
        items, reliability = _by_reliability(scores, levels, min_judges, max_iterations)
    else:
        items = {i: _verdict(list(s.values()), method, min_judges) for i, s in scores.items()}
    return PanelResult(
        method=method,
        levels=tuple(levels),
        min_judges=min_judges,
        items=items,
        n_scored=sum(verdict.value is not None for verdict in items.values()),
        n_total=len(items),
        scored_by=scored_by,
        disagreements=_disagreements(items),
        reliability=reliability,
    )


def dawid_skene(
    given_NJL: FloatArray, *, smoothing: float = SMOOTHING, max_iterations: int = MAX_ITERATIONS
) -> DawidSkene:
    """Maximum likelihood estimation of observer error-rates using EM (Dawid and Skene 1979).

    Starts from the shares of votes, so it is deterministic, and levels keep their meaning as long
    as most judges are better than chance.

    Args:
        given_NJL: 1 at the level that the judge gave the item; all 0 where it gave none.
        smoothing: Added to every count; maximum likelihood proper at (nearly) 0.
        max_iterations: An iteration is one M step and one E step.

    Raises:
        NotConverged: a probability still moved by more than `TOLERANCE`.
    """
    n, n_judges, n_levels = given_NJL.shape
    flat_NC = given_NJL.reshape(n, n_judges * n_levels)
    posterior_NT = given_NJL.sum(axis=1) / given_NJL.sum(axis=(1, 2))[:, None]
    moved = math.inf
    for iteration in range(1, max_iterations + 1):
        prior_T = posterior_NT.sum(axis=0) + smoothing
        prior_T /= prior_T.sum()
        confusion_TJL = (posterior_NT.T @ flat_NC).reshape(-1, n_judges, n_levels) + smoothing
        confusion_TJL /= confusion_TJL.sum(axis=2, keepdims=True)
        logs_NT = np.log(prior_T) + flat_NC @ np.log(confusion_TJL).reshape(n_levels, -1).T
        new_NT = np.exp(logs_NT - logs_NT.max(axis=1, keepdims=True))
        new_NT /= new_NT.sum(axis=1, keepdims=True)
        moved = float(np.abs(new_NT - posterior_NT).max())
        posterior_NT = new_NT
        if moved <= TOLERANCE:
            return DawidSkene(posterior_NT, confusion_TJL.swapaxes(0, 1), prior_T, iteration)
    raise NotConverged(
        f"reliability of {n_judges} judges on {n} items: a probability still moved by {moved:.1g} "
        f"after {max_iterations} iterations (tolerance {TOLERANCE:g}); judge more items, or use "
        "the median"
    )


def _by_reliability(
    scores: Mapping[str, Mapping[str, float]],
    levels: Sequence[int],
    min_judges: int,
    max_iterations: int,
) -> tuple[dict[str, PanelVerdict], Reliability]:
    """Verdicts from the model; items with too few scores are no part of the estimate."""
    counted = [item for item, given in scores.items() if len(given) >= min_judges]
    judges = sorted({judge for item in counted for judge in scores[item]})
    if len(judges) < MIN_JUDGES_OF_RELIABILITY:
        raise ValueError(
            f"reliability of {len(judges)} judges with scores: it takes "
            f"{MIN_JUDGES_OF_RELIABILITY} or more to tell which one is wrong; use the median"
        )
    given_NJL = np.zeros((len(counted), len(judges), len(levels)))
    for n, item in enumerate(counted):
        for judge, score in scores[item].items():
            given_NJL[n, judges.index(judge), levels.index(int(score))] = 1
    fit = dawid_skene(given_NJL, max_iterations=max_iterations)
    posteriors = dict(zip(counted, fit.posterior_NT, strict=True))
    verdicts = {
        item: _verdict(
            list(given.values()), "reliability", min_judges, posteriors.get(item), levels
        )
        for item, given in scores.items()
    }
    return verdicts, _reliability(judges, fit)


def _reliability(judges: Sequence[str], fit: DawidSkene) -> Reliability:
    right_J = np.einsum("t,jtt->j", fit.prior_T, fit.confusion_JTL)
    return Reliability(
        judges={
            judge: JudgeReliability(
                confusion=tuple(tuple(row) for row in confusion_TL.tolist()), accuracy=float(right)
            )
            for judge, confusion_TL, right in zip(judges, fit.confusion_JTL, right_J, strict=True)
        },
        level_shares=tuple(fit.prior_T.tolist()),
        iterations=fit.iterations,
    )


def _verdict(
    scores: Sequence[float],
    method: Method,
    min_judges: int,
    posterior_T: FloatArray | None = None,
    levels: Sequence[int] = (),
) -> PanelVerdict:
    """The verdict on one item from its scores, or from its posterior where there is one."""
    value: float | None = None
    reason: Reason | None = None
    most_probable = None
    if len(scores) < min_judges:
        reason = "too_few_judges"
    elif posterior_T is not None:
        value = float(posterior_T @ np.array(levels, dtype=np.float64))
        most_probable = levels[int(posterior_T.argmax())]
    elif method == "majority":
        value = _most_given(scores)
        reason = "tie" if value is None else None
    else:
        value = statistics.fmean(scores) if method == "mean" else float(statistics.median(scores))
    return PanelVerdict(
        value=value,
        reason=reason,
        n_judges=len(scores),
        spread=max(scores) - min(scores) if scores else None,
        sd=statistics.stdev(scores) if len(scores) > 1 else None,
        probabilities=None if posterior_T is None else tuple(posterior_T.tolist()),
        most_probable=most_probable,
    )


def _most_given(scores: Sequence[float]) -> float | None:
    """The score given most often; None where two share that place."""
    first, *others = Counter(scores).most_common(2)
    return None if others and others[0][1] == first[1] else first[0]


def _disagreements(items: Mapping[str, PanelVerdict]) -> tuple[str, ...]:
    differing = [(-v.spread, -(v.sd or 0.0), item) for item, v in items.items() if v.spread]
    return tuple(item for _, _, item in sorted(differing))


def _scores(
    ratings: Mapping[str, Mapping[str, float | None]], levels: Sequence[int], *, must_be_level: bool
) -> dict[str, dict[str, float]]:
    """Item -> judge -> score without the unscored; judges and items in the order of their names."""
    scores: dict[str, dict[str, float]] = {
        item: {} for item in sorted(set().union(*ratings.values()))
    }
    for judge in sorted(ratings):
        for item, score in ratings[judge].items():
            if score is None:
                continue
            if not (score in levels if must_be_level else levels[0] <= score <= levels[-1]):
                what = f"judge {judge!r}, item {item!r}: the score {score:g} is "
                where = "none of the levels " if must_be_level else "not on the scale "
                shown = ", ".join(map(str, levels))
                raise ValueError(f"{what}{where}{shown}; give None where there is no score")
            scores[item][judge] = float(score)
    return scores


def _check_scale(levels: Sequence[int], min_judges: int) -> None:
    if len(levels) < 2 or list(levels) != sorted(set(levels)):
        raise ValueError(f"levels are {list(levels)}; give two or more in ascending order")
    if min_judges < 1:
        raise ValueError(f"min_judges is {min_judges}; it must be 1 or more")
