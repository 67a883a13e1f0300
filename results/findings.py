"""What a comparison shows: passed, failed or open, for the goal, the guards and the caps of a gate.

These functions are the whole statistical part of the gate. The last axis is the person; leading
axes are rounds of a simulation, so the error rates that the README states are those of the very
code that decides (`tests/results/test_error_rates.py`).

    goal(d_N, length_d_N=..., alpha=0.05, delta_min=1).finding       1 passed, 0 open, -1 failed

Everything must pass, each at full alpha: an intersection-union test (Berger, 1982), which needs no
correction. What the samples without a score could hide is in `worst_d`: differences in which they
count against the candidate.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from results.paired import Direction
from results.stats import (
    FIRST_LOOK,
    Bounds,
    equal_length,
    paired_bounds,
    rate_bound,
    score_excludes,
    sequence_width,
)

Codes = npt.NDArray[np.int8]

SLACK = 1e-9
"""Of a mean that is to reach a threshold: 0.2 from everybody is 0.2 whatever a sum makes of it."""


class Finding(IntEnum):
    """Of one comparison: shown to be right, shown to be wrong, or neither."""

    FAILED = -1
    OPEN = 0
    PASSED = 1


class Tested(NamedTuple):
    """A comparison: its bounds, and what follows."""

    raw: Bounds
    """Over the people scored on both sides."""
    even: Bounds | None
    """At equal length; None where length is not controlled."""
    worst: Bounds | None
    """With the samples that have no score at their worst; None where all have one."""
    finding: Codes


class TestedRate(NamedTuple):
    """A rate of rare harm: its bounds, and what follows."""

    rate: npt.NDArray[np.float64]
    lower: npt.NDArray[np.float64]
    upper: npt.NDArray[np.float64]
    finding: Codes


def goal(
    d: npt.ArrayLike,
    *,
    alpha: npt.ArrayLike,
    delta_min: float = 0.0,
    length_d: npt.ArrayLike | None = None,
    worst_d: npt.ArrayLike | None = None,
    worst_length_d: npt.ArrayLike | None = None,
    planned_people: int | None = None,
) -> Tested:
    """The primary metric: a gain is shown, it is large enough, and it is not one of length.

    Args:
        d: Candidate minus champion, higher is better.
        alpha: One-sided error of each bound; one, or one a round.
        delta_min: Smallest mean gain that counts.
        length_d: Difference in length of the same people.
        worst_d: `d` with missing scores at their worst; may have more people.
        worst_length_d: Difference in length of those.
        planned_people: Of an evaluation that is looked at while it grows: the bounds then hold at
            all looks together.
    """
    raw = _at_any_time(paired_bounds(d, alpha), alpha, planned_people)
    even = _even(d, length_d, alpha, planned_people)
    worst = _at_worst(worst_d, alpha, planned_people)
    worst_even = _even(worst_d, worst_length_d, alpha, planned_people)
    wanted = delta_min - SLACK
    passed = (raw.lower > 0) & (raw.mean >= wanted)
    failed = (raw.upper <= 0) | (raw.upper < wanted)
    if even is not None:
        passed = passed & (even.lower > 0)
        failed = failed | (even.upper <= 0)
    if worst is not None:
        passed = passed & (worst.lower > 0) & (worst.mean >= wanted)
    if worst_even is not None:
        passed = passed & (worst_even.lower > 0)
    by_chance = may_be_chance(raw, alpha)
    return Tested(raw, even, worst, _codes(passed & ~by_chance, failed & ~by_chance))


def guard(
    d: npt.ArrayLike,
    *,
    margin: float,
    worse: Direction,
    alpha: float,
    worst_d: npt.ArrayLike | None = None,
    is_share: bool = False,
    planned_people: int | None = None,
) -> Tested:
    """A metric that may not get worse by `margin`: shown not to (non-inferiority), or shown to.

    Args:
        d: Candidate minus champion.
        margin: Harm that is not accepted, as a positive number.
        worse: The direction of harm.
        alpha: One-sided error of each bound.
        worst_d: `d` with missing scores at their worst; may have more people.
        is_share: Whether the metric lies between 0 and 1. If it was 0 or 1 for everybody, harm must
            be excluded by who changed too, for few changes have hardly any spread.
        planned_people: As in `goal`.
    """
    raw = _at_any_time(paired_bounds(d, alpha), alpha, planned_people)
    worst = _at_worst(worst_d, alpha, planned_people)
    passed = _harm(raw, worse).upper < margin
    if worst is not None:
        passed = passed & (_harm(worst, worse).upper < margin)
    if is_share and margin < 1:
        for values in (d, worst_d):
            if values is not None and is_binary(values):
                passed = passed & _few_changed_excludes(values, margin, worse, alpha)
    failed = (_harm(raw, worse).lower >= margin) & ~may_be_chance(raw, alpha)
    return Tested(raw, None, worst, _codes(passed, failed))


def cap(
    events: npt.ArrayLike, n: int, *, cap: float, alpha: float, planned_people: int | None = None
) -> TestedRate:
    """A rare harm: the exact bound of its rate among people lies below the cap, or above it.

    Args:
        events: People to whom it came, the unscored ones among them.
        n: People.
        cap: Largest acceptable rate.
        alpha: One-sided error of the bound.
        planned_people: Of an evaluation that is looked at while it grows: passing then also needs
            `evidence_below`, which holds at all looks together.
    """
    count = np.asarray(events)
    found, others = rate_bound(count, n, alpha), rate_bound(n - count, n, alpha)
    lower = 1 - others.upper
    passed = found.upper < cap
    if planned_people is not None:
        passed = passed & (evidence_below(count, n, cap) >= 1 / alpha)
    return TestedRate(found.rate, lower, found.upper, _codes(passed, lower >= cap))


def evidence_below(events: npt.ArrayLike, n: int, rate: float) -> npt.NDArray[np.float64]:
    """How much likelier the events are at a rate below `rate` than at it; a betting score.

    The likelihood at rates spread evenly from 0 to `rate`, over that at `rate`. If the truth is
    `rate` or more, it ever reaches 1 / alpha with chance alpha at most, however often one looks
    (Ville's inequality).
    """
    count = np.asarray(events, dtype=np.float64)
    log_mean = (
        special.betaln(count + 1, n - count + 1)
        + np.log(special.betainc(count + 1, n - count + 1, rate))
        - np.log(rate)
    )
    with np.errstate(over="ignore"):  # of very many people, infinitely much
        return np.asarray(np.exp(log_mean - count * np.log(rate) - (n - count) * np.log1p(-rate)))


def may_be_chance(found: Bounds, alpha: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Whether so few people changed alike that it is no evidence: as many heads in a row.

    Equal changes have no spread, so their t bounds lie on the mean, however few people there are.
    """
    return np.asarray((found.se == 0) & (0.5**found.n > np.asarray(alpha)))


def is_binary(d: npt.ArrayLike) -> bool:
    """Whether differences are those of a measure that is 0 or 1 for each person."""
    return bool(np.isin(np.asarray(d), (-1.0, 0.0, 1.0)).all())


def joint(findings: list[Codes]) -> Codes:
    """All of them together: one failure fails, and all must pass."""
    stacked = np.stack(np.broadcast_arrays(*findings))
    return np.asarray(stacked.min(axis=0), dtype=np.int8)


def _even(
    d: npt.ArrayLike | None,
    length_d: npt.ArrayLike | None,
    alpha: npt.ArrayLike,
    planned_people: int | None,
) -> Bounds | None:
    """The bounds at equal length, where length is controlled."""
    if d is None or length_d is None:
        return None
    return _at_any_time(equal_length(d, length_d, alpha), alpha, planned_people)


def _at_worst(
    worst_d: npt.ArrayLike | None, alpha: npt.ArrayLike, planned_people: int | None
) -> Bounds | None:
    if worst_d is None:
        return None
    return _at_any_time(paired_bounds(worst_d, alpha), alpha, planned_people)


def _at_any_time(found: Bounds, alpha: npt.ArrayLike, planned_people: int | None) -> Bounds:
    """Bounds that hold at every look at a growing evaluation (`stats.confidence_sequence`).

    A coefficient of a regression is asymptotically a mean too, of its influence values, whose
    standard deviation is `found.sd`.
    """
    if planned_people is None:
        return found
    width = sequence_width(found.n, alpha=float(np.min(alpha)), n_star=planned_people)
    half = found.sd * width if found.n >= FIRST_LOOK else np.full_like(found.sd, np.inf)
    return found._replace(lower=found.mean - half, upper=found.mean + half)


def _few_changed_excludes(
    d: npt.ArrayLike, margin: float, worse: Direction, alpha: float
) -> npt.NDArray[np.bool_]:
    d_RN = np.asarray(d)
    up, down = (d_RN > 0).sum(axis=-1), (d_RN < 0).sum(axis=-1)
    n_worse, n_better = (up, down) if worse == "up" else (down, up)
    return score_excludes(n_worse, n_better, d_RN.shape[-1], margin, alpha)


def _harm(found: Bounds, worse: Direction) -> Bounds:
    """The bounds of the worsening."""
    if worse == "up":
        return found
    return found._replace(mean=-found.mean, lower=-found.upper, upper=-found.lower)


def _codes(passed: npt.ArrayLike, failed: npt.ArrayLike) -> Codes:
    """A bound without a value (NaN) neither passes nor fails."""
    code = np.where(failed, Finding.FAILED, np.where(passed, Finding.PASSED, Finding.OPEN))
    return np.asarray(code, dtype=np.int8)
