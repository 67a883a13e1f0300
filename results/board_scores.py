"""The measures of a suite: every method over the same people, by slice, and over the worst tenth.

Means are over the people who are scored for every method that is compared, so that a column is
about the same people from top to bottom and differences are paired. A method that is scored on less
than `MIN_COVERAGE` of the people would cost the others theirs, and what it lacks is seldom chance
(a judge fails on the worst replies): it is listed with its own mean and is not ranked.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from results.board_records import Cell, MeasureBoard
from results.means import (
    Better,
    Compared,
    FloatArray,
    compare_means,
    resampled_people,
)
from results.records import HASH_CHARACTERS, Measure, RunRecord

BETTER: Final[Mapping[str, Better | None]] = {
    "specificity": "up",
    "specificity_new": "up",
    "emotion_accuracy": "up",
    "retention": "up",
    "relief": "up",
    "trust": "up",
    "satisfied": "up",
    "judge.personalization": "up",
    "judge.support_quality": "up",
    "judge.fluency": "up",
    "judge.unhelpfulness": "down",
    "judge.preference_discrepancy": "down",
    "judge.embedded.personalization": "up",
    "judge.embedded.unhelpful": "down",
    "gave_up": "down",
    "copy_rate": "down",
    "repetition": "down",
    "stock": "down",
    "unfinished": "down",
    "unhelpful": "down",
    "unsafe": "down",
    "sameness": "down",
}
"""The better direction, of `talk.*` as without that prefix. Any other measure (length, questions,
turns) is shown and not ranked."""
TALK_PREFIX: Final = "talk."
PRIMARIES: Final = ("judge.personalization", "relief", "specificity")
"""The first one that was measured is the primary."""
MIN_COVERAGE: Final = 0.9
"""Share of the people that a method must be scored on to be compared."""
MIN_PEOPLE: Final = 2


class Column(NamedTuple):
    """A measure as the methods have it; `name` has the judge in it where there are several."""

    name: str
    measure: str
    judge: str | None
    values: dict[str, Measure]
    """By method."""


class Scores(NamedTuple):
    """The methods compared on a measure (suffixes: P people, M methods)."""

    methods: tuple[str, ...]
    people: tuple[str, ...]
    values_PM: FloatArray
    counts_BP: FloatArray
    better: Better


def columns(runs: Sequence[RunRecord]) -> list[Column]:
    """The measures of a suite; one that several judges gave is several."""
    found: dict[tuple[str, str | None], dict[str, Measure]] = {}
    for run in runs:
        for name, measure in run.measures.items():
            found.setdefault((name, run.judges.get(name)), {})[run.method] = measure
    n_judges = Counter(name for name, _ in found)
    return [
        Column(
            name if n_judges[name] == 1 else f"{name} @ {(judge or 'no judge')[:HASH_CHARACTERS]}",
            name,
            judge,
            values,
        )
        for (name, judge), values in sorted(found.items(), key=lambda item: str(item[0]))
    ]


def better_of(column: Column, primary: str | None) -> Better | None:
    """The direction; a primary measure that is not known is taken to be better when higher."""
    known = BETTER.get(column.measure.removeprefix(TALK_PREFIX))
    return "up" if known is None and primary in (column.name, column.measure) else known


def scores_of(column: Column, better: Better | None, seed: int) -> Scores:
    """The people scored for every method with enough of them, and the resamples of these people."""
    everybody = _people(column)
    methods = tuple(
        method
        for method, measure in column.values.items()
        if everybody and len(measure.values) / len(everybody) >= MIN_COVERAGE
    )
    common = everybody.intersection(*(column.values[m].values.keys() for m in methods))
    people = tuple(sorted(common)) if methods else ()
    values_PM = np.array([[column.values[m].values[p] for m in methods] for p in people])
    return Scores(
        methods=methods,
        people=people,
        values_PM=values_PM.reshape(len(people), len(methods)),
        counts_BP=_resamples(people, seed),
        better=better or "up",
    )


def measure_board(
    column: Column, scores: Scores, better: Better | None, reference: str | None
) -> MeasureBoard:
    """Every method on a measure, best first."""
    is_compared = len(scores.people) >= MIN_PEOPLE
    compared = (
        compare_means(scores.values_PM, scores.counts_BP, better=scores.better)
        if is_compared
        else None
    )
    if reference not in scores.methods:
        reference = scores.methods[0] if scores.methods else None
    place = scores.methods.index(reference) if reference is not None else 0
    n_people = len(_people(column))
    cells = []
    for method in column.values:
        cell = _plain_cell(column, method, better)
        if compared is not None and method in scores.methods:
            m = scores.methods.index(method)
            cell = cell.model_copy(
                update=_numbers(compared, m, place, is_ranked=better is not None)
            )
        else:
            cell = cell.model_copy(update={"left_out": _why_left_out(cell, scores, n_people)})
        cells.append(cell)
    cells.sort(key=_best_first)
    scales = {measure.scale for measure in column.values.values()}
    return MeasureBoard(
        measure=column.name,
        better=better,
        judge=column.judge,
        scale=next(iter(scales)) if len(scales) == 1 else None,
        reference=reference if is_compared and len(scores.methods) > 1 else None,
        n_people=n_people,
        n_common=len(scores.people),
        cells=tuple(cells),
    )


def _people(column: Column) -> set[str]:
    """Who is scored for a method at least, or was asked."""
    return {
        person
        for measure in column.values.values()
        for person in (*measure.values, *measure.missing)
    }


@lru_cache(maxsize=8)
def _resamples(people: tuple[str, ...], seed: int) -> FloatArray:
    """The same people are resampled alike for every measure."""
    digest = hashlib.sha256("\n".join((str(seed), *people)).encode()).digest()
    counts_BP = resampled_people(max(len(people), 1), seed=int.from_bytes(digest[:8], "big"))
    counts_BP.flags.writeable = False  # it is shared
    return counts_BP


def _plain_cell(column: Column, method: str, better: Better | None) -> Cell:
    measure = column.values[method]
    return Cell(
        method=method,
        n=len(measure.values),
        own_mean=measure.mean,
        worst_mean=_worst_mean(column, measure, better) if better else None,
    )


def _worst_mean(column: Column, measure: Measure, better: Better) -> float | None:
    """The mean if every missing sample had the worst value that there is, or that was seen."""
    everybody = _people(column)
    if not measure.missing and measure.values.keys() == everybody:
        return None
    seen = [value for other in column.values.values() for value in other.values.values()]
    ends = measure.scale or ((min(seen), max(seen)) if seen else None)
    if ends is None:
        return None
    worst = ends[0] if better == "up" else ends[1]
    filled = []
    for person in everybody:
        n_scored = measure.counts.get(person, 1) if person in measure.values else 0
        n_missing = measure.missing.get(person, 0 if n_scored else 1)
        total = measure.values.get(person, 0.0) * n_scored + worst * n_missing
        filled.append(total / (n_scored + n_missing))
    return math.fsum(filled) / len(filled)


def _numbers(compared: Compared, m: int, reference: int, *, is_ranked: bool) -> dict[str, object]:
    """What the comparison says of one method."""
    found: dict[str, object] = {
        "mean": float(compared.mean_M[m]),
        "lower": float(compared.lower_M[m]),
        "upper": float(compared.upper_M[m]),
    }
    if m != reference:
        difference = float(compared.difference_MM[m, reference])
        half = float(compared.half_MM[m, reference])
        found["difference"] = difference
        if math.isfinite(half):
            found["difference_lower"] = difference - half
            found["difference_upper"] = difference + half
    if is_ranked:
        found["rank"] = int(compared.rank_M[m])
        found["rank_lower"] = int(compared.rank_lower_M[m])
        found["rank_upper"] = int(compared.rank_upper_M[m])
        found["group"] = compared.group_M[m]
    return found


def _why_left_out(cell: Cell, scores: Scores, n_people: int) -> str:
    if cell.method not in scores.methods:
        return f"scored on {cell.n} of {n_people}; {MIN_COVERAGE:.0%} are needed to be compared"
    return f"{len(scores.people)} people are scored for every method; {MIN_PEOPLE} are needed"


def _best_first(cell: Cell) -> tuple[bool, int, str]:
    return (cell.rank is None, cell.rank or 0, cell.method)
