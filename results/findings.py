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

from results.paired import Direction
from results.stats import Bounds, confidence_sequence, equal_length, paired_bounds, rate_bound

Codes = npt.NDArray[np.int8]


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
    planned_people: int | None = None,
) -> Tested:
    """The primary metric: a gain is shown, it is large enough, and it is not one of length.

    Args:
        d: Candidate minus champion, higher is better.
        alpha: One-sided error of each bound; one, or one a round.
        delta_min: Smallest mean gain that counts.
        length_d: Difference in length of the same people.
        worst_d: `d` with missing scores at their worst; may have more people.
        planned_people: Of an evaluation that is looked at while it grows: the bounds then hold at
            all looks together.
    """
    raw = paired_bounds(d, alpha)
    if planned_people is not None:
        raw = _at_any_time(raw, np.asarray(d, dtype=float), float(np.min(alpha)), planned_people)
    even = None if length_d is None else equal_length(d, length_d, alpha)
    worst = None if worst_d is None else paired_bounds(worst_d, alpha)
    passed = (raw.lower > 0) & (raw.mean >= delta_min)
    failed = (raw.upper <= 0) | (raw.upper < delta_min)
    if even is not None:
        passed = passed & (even.lower > 0)
        failed = failed | (even.upper <= 0)
    if worst is not None:
        passed = passed & (worst.lower > 0) & (worst.mean >= delta_min)
    return Tested(raw, even, worst, _codes(passed, failed))


def guard(
    d: npt.ArrayLike,
    *,
    margin: float,
    worse: Direction,
    alpha: npt.ArrayLike,
    worst_d: npt.ArrayLike | None = None,
) -> Tested:
    """A metric that may not get worse by `margin`: shown not to (non-inferiority), or shown to."""
    raw = paired_bounds(d, alpha)
    worst = None if worst_d is None else paired_bounds(worst_d, alpha)
    passed = _harm(raw, worse).upper < margin
    if worst is not None:
        passed = passed & (_harm(worst, worse).upper < margin)
    return Tested(raw, None, worst, _codes(passed, _harm(raw, worse).lower >= margin))


def cap(events: npt.ArrayLike, n: int, *, cap: float, alpha: float) -> TestedRate:
    """A rare harm: the exact bound of its rate among people lies below the cap, or above it.

    Args:
        events: People to whom it came, the unscored ones among them.
        n: People.
        cap: Largest acceptable rate.
        alpha: One-sided error of the bound.
    """
    count = np.asarray(events)
    found, others = rate_bound(count, n, alpha), rate_bound(n - count, n, alpha)
    lower = 1 - others.upper
    return TestedRate(found.rate, lower, found.upper, _codes(found.upper < cap, lower >= cap))


def joint(findings: list[Codes]) -> Codes:
    """All of them together: one failure fails, and all must pass."""
    stacked = np.stack(np.broadcast_arrays(*findings))
    return np.asarray(stacked.min(axis=0), dtype=np.int8)


def _at_any_time(raw: Bounds, d: npt.NDArray[np.float64], alpha: float, planned: int) -> Bounds:
    lower = confidence_sequence(d, alpha=alpha, n_star=planned)[..., -1]
    upper = -confidence_sequence(-d, alpha=alpha, n_star=planned)[..., -1]
    return raw._replace(lower=lower, upper=upper)


def _harm(found: Bounds, worse: Direction) -> Bounds:
    """The bounds of the worsening."""
    if worse == "up":
        return found
    return found._replace(mean=-found.mean, lower=-found.upper, upper=-found.lower)


def _codes(passed: npt.ArrayLike, failed: npt.ArrayLike) -> Codes:
    """A bound without a value (NaN) neither passes nor fails."""
    code = np.where(failed, Finding.FAILED, np.where(passed, Finding.PASSED, Finding.OPEN))
    return np.asarray(code, dtype=np.int8)
