"""Two records side by side: whether they compare, and how each person changed.

The person is the unit. What is compared must be the same suite, judged by the same judges, asked of
the same people; what differs is named, part by part. Fewer people on one side are no smaller
comparison: who picks them picks the result. Samples without a score are left out of the observed
differences and come back in the worst case: the candidate's failed ones at the worst value, the
champion's at the best.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from results.records import Measure, RunRecord, differing_parts
from results.stats import worst_case_values

FloatArray = npt.NDArray[np.float64]
Direction = Literal["up", "down"]
"""Of a metric, the direction that is worse."""

ROUNDING = 9
"""Decimals of a difference."""
MIN_PEOPLE = 2
"""Fewer have no spread to judge a difference by."""


class Incomparable(ValueError):
    """Two records do not compare, or not in a metric; the message says what differs."""


class Paired(NamedTuple):
    """One metric of the people scored on both sides."""

    metric: str
    people: tuple[str, ...]
    champion_N: FloatArray
    candidate_N: FloatArray

    @property
    def differences(self) -> FloatArray:
        """Candidate minus champion, person by person.

        Rounded, so that equal changes are equal numbers: 0.8 - 0.3 is not 0.6 - 0.1.
        """
        return np.round(self.candidate_N - self.champion_N, ROUNDING)


def refuse_unlike(candidate: RunRecord, champion: RunRecord) -> None:
    """Only what was measured alike is compared.

    Raises:
        Incomparable: another benchmark, suite or judge; the message names what differs.
    """
    if candidate.benchmark != champion.benchmark:
        raise Incomparable(
            f"different benchmarks ({candidate.benchmark} and {champion.benchmark}); "
            "evaluate both on the same one"
        )
    parts = differing_parts(candidate.suite, champion.suite)
    judges = differing_parts(_judges(candidate, champion), _judges(champion, candidate))
    if parts or judges:
        raise Incomparable(
            f"different suites: {', '.join([*parts, *judges])}; evaluate both on the same one"
        )


def _judges(record: RunRecord, other: RunRecord) -> dict[str, str]:
    """The judges of a side that the other must have too: of what both name, or both measured."""
    return {
        f"judge of {name}": judge
        for name, judge in record.judges.items()
        if name in other.judges or (name in record.measures and name in other.measures)
    }


def pair(candidate: RunRecord, champion: RunRecord, metric: str) -> Paired:
    """The people scored on both sides, in the order of their names; the same were asked on both.

    Raises:
        Incomparable: a side lacks the metric or some of the people, or fewer than two people are
            scored on both.
    """
    refuse_other_people(
        measure_of(candidate, metric, "candidate"), measure_of(champion, metric, "champion"), metric
    )
    return pair_shared(candidate, champion, metric)


def pair_shared(candidate: RunRecord, champion: RunRecord, metric: str) -> Paired:
    """The people scored on both sides, whoever else was asked: of evaluations that were cut short.

    Nothing may be promoted or passed by it.

    Raises:
        Incomparable: a side lacks the metric, or fewer than two people are scored on both.
    """
    ours, theirs = (
        measure_of(candidate, metric, "candidate"),
        measure_of(champion, metric, "champion"),
    )
    people = tuple(sorted(ours.values.keys() & theirs.values.keys()))
    if len(people) < MIN_PEOPLE:
        raise Incomparable(
            f"'{metric}' has {len(people)} people scored on both sides; "
            f"at least {MIN_PEOPLE} are needed"
        )
    return Paired(
        metric,
        people,
        champion_N=np.array([theirs.values[p] for p in people]),
        candidate_N=np.array([ours.values[p] for p in people]),
    )


def refuse_other_people(candidate: Measure, champion: Measure, metric: str) -> None:
    """The people who were asked, scored or not, must be the same on both sides.

    Raises:
        Incomparable: they are not; the message says how many, and names one.
    """
    asked = [side.values.keys() | side.missing.keys() for side in (candidate, champion)]
    strangers = sorted(asked[0] ^ asked[1])
    if strangers:
        raise Incomparable(
            f"'{metric}': {len(strangers)} people were asked on one side only "
            f"({strangers[0]}, ...); evaluate the same ones"
        )


def measure_of(record: RunRecord, metric: str, side: str) -> Measure:
    """The metric of a side.

    Raises:
        Incomparable: it was not measured there.
    """
    if metric not in record.measures:
        raise Incomparable(f"the {side} has no measure '{metric}'; evaluate it or change the gate")
    return record.measures[metric]


def worst_case(candidate: Measure, champion: Measure, metric: str, worse: Direction) -> Paired:
    """Everybody who was asked on either side, with failed samples filled against the candidate.

    Where the metric has no bounds, the most extreme values seen on either side stand for them.
    """
    worst, best = _ends(candidate, champion, worse)
    asked = candidate.values.keys() | candidate.missing.keys()
    asked |= champion.values.keys() | champion.missing.keys()
    people = tuple(sorted(asked))
    return Paired(
        metric,
        people,
        champion_N=_filled(champion, people, best),
        candidate_N=_filled(candidate, people, worst),
    )


def missing_on_one_side(candidate: Measure, champion: Measure) -> tuple[int, int]:
    """People with a failed sample on the candidate's side alone, and on the champion's alone."""
    ours, theirs = candidate.missing.keys(), champion.missing.keys()
    return len(ours - theirs), len(theirs - ours)


def _ends(candidate: Measure, champion: Measure, worse: Direction) -> tuple[float, float]:
    """The worst and the best value."""
    scale = candidate.scale or champion.scale
    if scale is None:
        seen = [*candidate.values.values(), *champion.values.values()]
        scale = (min(seen), max(seen)) if seen else (0.0, 0.0)
    low, high = scale
    return (high, low) if worse == "up" else (low, high)


def _filled(measure: Measure, people: Sequence[str], fill: float) -> FloatArray:
    """People's means with their failed samples as `fill`; who has no sample at all is failed."""
    n_scored_N = [measure.counts.get(p, 1) if p in measure.values else 0 for p in people]
    n_missing_N = [
        measure.missing.get(p, 0 if scored else 1)
        for p, scored in zip(people, n_scored_N, strict=True)
    ]
    values_N = [measure.values.get(p, math.nan) for p in people]
    return worst_case_values(values_N, n_scored_N, n_missing_N, fill)
