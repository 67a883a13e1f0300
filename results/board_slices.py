"""For whom a method is good: the primary measure by what is known of the people, and at its worst.

Both are over the people who are scored for every method that is compared, so that a slice holds the
same people for each.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from results.board_records import Slice, TailCell
from results.board_scores import MIN_PEOPLE, Scores
from results.means import ALPHA, FloatArray, worst_tenth
from results.stats import paired_bound

FIRST_ATTRIBUTES: Final = ("emotion", "problem", "need", "language")
SMALL_SLICE: Final = 5
"""People; a slice of fewer is marked."""
MIN_TAIL: Final = 3
"""People in the worst tenth; a bootstrap of the worst one or two has no interval worth showing."""


def slices_of(
    scores: Scores, attributes: Mapping[str, Mapping[str, str]], order: Sequence[str]
) -> list[Slice]:
    """Means by what is known of the people, over the same people for every method.

    Args:
        scores: The primary measure.
        attributes: By person.
        order: All methods, as they are listed.
    """
    found: dict[tuple[str, str], list[int]] = {}
    for row, person in enumerate(scores.people):
        for attribute, value in attributes.get(person, {}).items():
            found.setdefault((attribute, value), []).append(row)
    return [
        _slice(attribute, value, method, scores.values_PM[rows, m])
        for (attribute, value), rows in sorted(found.items(), key=lambda item: _listed(*item[0]))
        for m, method in sorted(
            enumerate(scores.methods), key=lambda numbered: order.index(numbered[1])
        )
    ]


def tails_of(scores: Scores) -> list[TailCell]:
    """The worst tenth of the people of each method."""
    if len(scores.people) < MIN_PEOPLE:
        return []
    tail = worst_tenth(scores.values_PM, scores.counts_BP, better=scores.better)
    return [
        TailCell(
            method=method,
            n=tail.n,
            mean=tail.mean_M[m],
            lower=tail.lower_M[m] if tail.n >= MIN_TAIL else None,
            upper=tail.upper_M[m] if tail.n >= MIN_TAIL else None,
        )
        for m, method in enumerate(scores.methods)
    ]


def _listed(attribute: str, value: str) -> tuple[int, str, str]:
    """Place of a slice: what people ask for first, then by name."""
    known = attribute in FIRST_ATTRIBUTES
    place = FIRST_ATTRIBUTES.index(attribute) if known else len(FIRST_ATTRIBUTES)
    return (place, attribute, value)


def _slice(attribute: str, value: str, method: str, values_N: FloatArray) -> Slice:
    mean, n = float(values_N.mean()), len(values_N)
    bound = paired_bound(values_N.tolist(), ALPHA / 2) if n >= MIN_PEOPLE else None
    return Slice(
        attribute=attribute,
        value=value,
        method=method,
        n=n,
        mean=mean,
        lower=bound.lower if bound else None,
        upper=bound.upper if bound else None,
        is_small=n < SMALL_SLICE,
    )
