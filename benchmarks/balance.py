"""How evenly the people cover what people differ in, and what nobody covers.

A pool with a hole cannot show how a model treats those who are missing. One factor has a hole
where a level has less than half of its even share; two factors have one where a cell of their
crossing (of at most 24 cells) has nobody.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, get_args

from benchmarks.persona import AGE_GROUPS, Emotion, Need, Persona, Pole, Problem, Style
from judges.acts import Act

MIN_SHARE: Final = 0.5
"""Of the even share, below which a level is a hole."""
MAX_CELLS: Final = 24
"""Cells of a crossing that a pool of 48 can fill twice."""
SUPPORTIVE: Final = tuple(a for a in Act if a not in (Act.STOCK, Act.DISMISSAL, Act.OFF_TOPIC))
INTENSITIES: Final = ("2", "3", "4", "5")
"""At 1 nobody comes for support (2 of 910 seekers in ESConv's train split do)."""


class Level(NamedTuple):
    """How many people have one value of a factor."""

    factor: str
    value: str
    n: int
    is_hole: bool


class Balance(NamedTuple):
    """The table of a pool of people."""

    n: int
    levels: tuple[Level, ...]
    missing_pairs: tuple[str, ...]
    """Crossings that nobody has."""

    @property
    def holes(self) -> list[str]:
        """Everything that is missing, in words."""
        thin = [f"{lv.factor} {lv.value} ({lv.n} people)" for lv in self.levels if lv.is_hole]
        return [*thin, *self.missing_pairs]


class _Factor(NamedTuple):
    values: tuple[str, ...]
    of: Callable[[Persona], tuple[str, ...]]


def _trait(name: str) -> _Factor:
    def of(persona: Persona) -> tuple[str, ...]:
        pole = getattr(persona.big_five, name) if persona.big_five else None
        return (pole,) if pole else ()

    return _Factor(get_args(Pole), of)


FACTORS: Final[dict[str, _Factor]] = {
    "emotion": _Factor(get_args(Emotion), lambda p: (p.emotion,) if p.emotion else ()),
    "intensity": _Factor(INTENSITIES, lambda p: (str(p.intensity),) if p.intensity else ()),
    "problem": _Factor(get_args(Problem), lambda p: (p.problem,) if p.problem else ()),
    "need": _Factor(get_args(Need), lambda p: (p.need,) if p.need else ()),
    "style": _Factor(get_args(Style), lambda p: (p.style,) if p.style else ()),
    "age group": _Factor(tuple(AGE_GROUPS), lambda p: (p.age_group,) if p.age_group else ()),
    "openness": _trait("openness"),
    "conscientiousness": _trait("conscientiousness"),
    "extraversion": _trait("extraversion"),
    "agreeableness": _trait("agreeableness"),
    "neuroticism": _trait("neuroticism"),
    "helps": _Factor(SUPPORTIVE, lambda p: tuple(x.act for x in p.helps)),
    "hurts": _Factor(SUPPORTIVE, lambda p: tuple(x.act for x in p.hurts)),
}
PAIRS: Final = tuple(
    (first, second)
    for first, second in itertools.combinations(
        [name for name in FACTORS if name not in ("helps", "hurts")], 2
    )
    if len(FACTORS[first].values) * len(FACTORS[second].values) <= MAX_CELLS
)
"""The crossings that have somebody in every cell; preferences are several a person."""


def balance(personas: Sequence[Persona]) -> Balance:
    """Count every level and find the holes."""
    levels = []
    for name, factor in FACTORS.items():
        counts = Counter(value for persona in personas for value in factor.of(persona))
        even = sum(counts[value] for value in factor.values) / len(factor.values)
        for value in factor.values:
            is_hole = counts[value] == 0 or counts[value] < MIN_SHARE * even
            levels.append(Level(name, value, counts[value], is_hole))
    return Balance(len(personas), tuple(levels), tuple(_missing(personas)))


def _missing(personas: Sequence[Persona]) -> list[str]:
    missing = []
    for first, second in PAIRS:
        a, b = FACTORS[first], FACTORS[second]
        have = {(x, y) for persona in personas for x in a.of(persona) for y in b.of(persona)}
        missing += [
            f"{first} {x} with {second} {y} (nobody)"
            for x in a.values
            for y in b.values
            if (x, y) not in have
        ]
    return missing
