"""The ranking of methods from comparisons in pairs, with what it does and does not show.

    ranking = rank_methods(Battles.of(first, second, winner, person))
    for method in ranking.methods:
        print(method.rank_lower, method.rank_upper, method.group, method.name, method.strength)

Intervals are from resamples of people, never of comparisons, which would count the same person many
times. Ranks and tied groups are from differences (`rank_intervals.py`).

Beside it stand three checks: whether another rule for ties reverses what is shown, whether
preferences run in circles more often than chance has it, and what slot and length are worth.

Left out: judges as columns, and slices (rank the comparisons of a slice).
"""

from typing import Annotated, Final, NamedTuple

import numpy as np
from annotated_types import Ge, Gt, Lt
from pydantic import BaseModel, ConfigDict, FiniteFloat

from results.battles import Battles, FloatArray, RankingError, Tally, tally
from results.bradley_terry import (
    DavidsonFit,
    bootstrap,
    check_comparable,
    fit,
    fit_davidson,
    virtual_methods,
)
from results.cyclic_triads import CyclicTriads, cyclic_triads
from results.prediction_powered import Interval
from results.rank_intervals import (
    RankIntervals,
    group_letters,
    percentile_intervals,
    rank_intervals,
)
from results.style_control import style_control

N_RESAMPLES: Final = 1000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RankingSettings(_Frozen):
    """What it takes to make a ranking again."""

    seed: Annotated[int, Ge(0)] = 0
    n_resamples: Annotated[int, Ge(100)] = N_RESAMPLES
    alpha: Annotated[FiniteFloat, Gt(0), Lt(1)] = 0.05
    """Two-sided error of the intervals, and of all statements "better" together."""


class Ranked(_Frozen):
    """A method and its place."""

    name: str
    strength: FiniteFloat
    """Log-odds against an average method of the table."""
    lower: FiniteFloat
    upper: FiniteFloat
    rank: int
    """By strength alone."""
    rank_lower: int
    """1 + the methods shown better. Nothing is shown of a method that under 10 people compared."""
    rank_upper: int
    """All methods less those shown worse."""
    group: str
    """Two methods with a letter in common are not shown apart. (The reverse holds but for methods
    with another between them that is shown apart from one of the two.)"""
    wins: int
    losses: int
    ties: int
    n_people: int
    """People who compared this method."""


class Ranking(_Frozen):
    """Methods by strength, best first, and what the order rests on."""

    methods: tuple[Ranked, ...]
    settings: RankingSettings
    n_comparisons: int
    n_people: int
    virtual_games: tuple[str, ...]
    """Methods that won, or lost, nothing, and got half a virtual game for a finite strength. How
    far away they truly are is not known: their intervals do not say."""
    tie_reorderings: tuple[tuple[str, str], ...]
    """(Better, worse) as shown, that swap when ties are modelled (Davidson) and not halved."""
    cyclic_triads: CyclicTriads
    slot: Interval | None
    """What the first slot is worth, in log-odds; None: see `style_problem`."""
    length: Interval | None
    """What much longer replies are worth; None also where lengths are not known."""
    at_equal_length: dict[str, Interval] | None
    """Strengths at equal slot and length; None where `length` is."""
    style_problem: str | None
    """Why slot and length could not be fitted."""


class CoreRanking(NamedTuple):
    """Strengths and their intervals, in the table's order of methods."""

    tally: Tally
    strength_M: FloatArray
    lower_M: FloatArray
    upper_M: FloatArray
    ranks: RankIntervals


def rank_methods(battles: Battles, settings: RankingSettings | None = None) -> Ranking:
    """Rank the methods of a table.

    Raises:
        RankingError: the methods cannot be compared, or a fit does not converge.
    """
    settings = settings or RankingSettings()
    core = rank_core(battles, settings)
    davidson = fit_davidson(core.tally.won_MM, core.tally.ties_MM)
    try:
        style, problem = style_control(battles, alpha=settings.alpha), None
    except RankingError as error:
        style, problem = None, str(error)
    return Ranking(
        methods=_ranked(core),
        settings=settings,
        n_comparisons=len(battles.score_N),
        n_people=battles.n_people,
        virtual_games=virtual_methods(core.tally),
        tie_reorderings=_reorderings(core, davidson),
        cyclic_triads=cyclic_triads(
            core.tally, davidson.strength_M, seed=settings.seed, n_draws=settings.n_resamples
        ),
        slot=style.slot if style else None,
        length=style.length if style else None,
        at_equal_length=style.strengths if style and style.length else None,
        style_problem=problem,
    )


def rank_core(battles: Battles, settings: RankingSettings) -> CoreRanking:
    """Strengths, bootstrap intervals, and rank intervals: all that a sorted list needs.

    Raises:
        RankingError: as `rank_methods`.
    """
    rng = np.random.default_rng([settings.seed, 0])
    counts = tally(battles, rng)
    check_comparable(counts)
    strength_M = fit(counts.wins_M, counts.games_MM)
    strength_BM = bootstrap(counts, strength_M, settings.n_resamples, rng)
    lower_M, upper_M = percentile_intervals(strength_BM, counts.n_people_M, settings.alpha)
    ranks = rank_intervals(strength_M, strength_BM, counts.n_people_M, settings.alpha)
    return CoreRanking(counts, strength_M, lower_M, upper_M, ranks)


def _ranked(core: CoreRanking) -> tuple[Ranked, ...]:
    order_M = np.argsort(-core.strength_M, kind="stable")
    better_MM = core.ranks.better_MM
    letters = group_letters((better_MM | better_MM.T)[np.ix_(order_M, order_M)])
    counts = core.tally
    return tuple(
        Ranked(
            name=counts.methods[i],
            strength=core.strength_M[i],
            lower=core.lower_M[i],
            upper=core.upper_M[i],
            rank=place,
            rank_lower=core.ranks.lower_M[i],
            rank_upper=core.ranks.upper_M[i],
            group=group,
            wins=int(counts.won_MM[i].sum()),
            losses=int(counts.won_MM[:, i].sum()),
            ties=int(counts.ties_MM[i].sum()),
            n_people=int(counts.n_people_M[i]),
        )
        for place, (i, group) in enumerate(zip(order_M.tolist(), letters, strict=True), 1)
    )


def _reorderings(core: CoreRanking, davidson: DavidsonFit) -> tuple[tuple[str, str], ...]:
    names, strength_M = core.tally.methods, davidson.strength_M
    swapped_MM = core.ranks.better_MM & (strength_M[:, None] < strength_M[None, :])
    return tuple((names[i], names[j]) for i, j in np.argwhere(swapped_MM).tolist())
