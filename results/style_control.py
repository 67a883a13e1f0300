"""Strengths at equal slot and equal length: what a judge likes beside the method.

A logistic regression of each comparison on the two methods, the slot (+1 for the method in the
first one) and the length, `tanh(words difference / spread)`: so one coefficient says how many
log-odds the first slot is worth, one what being much longer is worth, and the strengths are those
of replies of equal length in random slots. A tie is half a win, as in the raw strengths, so that
without slot and length the two are the same. Intervals are from the sandwich over people.

Without the length column strengths are at equal slot only. A control takes away what a method gains
by length even where people want long replies: show it beside the raw strength, not instead of it.

Left out: lists, headers and bold (the replies here have none), and slots that matter for one method
more than for another.
"""

from typing import Final, NamedTuple

import numpy as np
from scipy import special

from results.battles import Battles, FloatArray, IntArray, RankingError
from results.bradley_terry import LONGEST_STEP, MAX_STEPS, TOLERANCE, virtual_wins
from results.prediction_powered import Interval

LARGEST_CONDITION: Final = 1e9
"""Of the scaled information matrix; beyond, two columns are the same."""

LARGEST_LOG_ODDS: Final = 20.0
"""Of slot, length or a strength; beyond, the search is on its way to infinity."""


class StyleControl(NamedTuple):
    """Log-odds with intervals."""

    slot: Interval
    """What the first slot is worth."""
    length: Interval | None
    """What much longer replies are worth (per unit of the tanh); None: no lengths, or all equal."""
    spread: float | None
    """Root mean square of the length difference, in words."""
    strengths: dict[str, Interval]
    """At equal slot and length, mean 0, by method."""


class _Design(NamedTuple):
    """The regression's columns (suffixes: N comparisons, M methods, Q slot and length)."""

    cell_N: IntArray
    """Number of the ordered pair."""
    score_N: FloatArray
    extra_QN: FloatArray
    """Slot and length."""
    virtual_MM: FloatArray
    """Virtual wins of the row against the column, of methods that won or lost nothing."""


class _Slopes(NamedTuple):
    """At one point of the search; parameters are the strengths, then slot and length."""

    gradient: FloatArray
    information: FloatArray
    residual_N: FloatArray


def style_control(battles: Battles, *, alpha: float = 0.05) -> StyleControl:
    """Fit slot and length beside the strengths.

    Raises:
        RankingError: slot or length cannot be told from the methods, or decides every comparison.
    """
    design, spread = _design(battles)
    theta, slopes = _fit(design, len(battles.methods))
    covariance = _sandwich(battles, design, slopes)
    half = float(special.stdtrit(battles.n_people - 1, 1 - alpha / 2)) * np.sqrt(
        covariance.diagonal()
    )
    found = [
        Interval(value=value, lower=value - width, upper=value + width)
        for value, width in zip(theta.tolist(), half.tolist(), strict=True)
    ]
    size = len(battles.methods)
    return StyleControl(
        slot=found[size],
        length=found[size + 1] if spread else None,
        spread=spread,
        strengths=dict(zip(battles.methods, found[:size], strict=True)),
    )


def _design(battles: Battles) -> tuple[_Design, float | None]:
    size = len(battles.methods)
    cell_N = battles.first_N * np.int32(size) + battles.second_N
    columns, spread = [np.ones(len(cell_N))], 0.0
    if battles.words_N is not None:
        spread = float(np.sqrt(np.mean(battles.words_N**2)))
        if spread > 0:
            columns.append(np.tanh(battles.words_N / spread))
    won_MM = _by_pair(cell_N, size, battles.score_N)
    won_MM = won_MM + _by_pair(cell_N, size, 1 - battles.score_N).T
    wins_M, games_MM = won_MM.sum(axis=1), won_MM + won_MM.T
    virtual_MM = virtual_wins(wins_M[None], games_MM[None])[0]
    return _Design(cell_N, battles.score_N, np.stack(columns), virtual_MM), spread or None


def _fit(design: _Design, size: int) -> tuple[FloatArray, _Slopes]:
    theta = np.zeros(size + len(design.extra_QN))
    for _ in range(MAX_STEPS):
        slopes = _slopes(design, theta, size)
        _check_condition(slopes.information)
        step = np.linalg.solve(slopes.information, slopes.gradient)
        theta += step * (LONGEST_STEP / max(LONGEST_STEP, float(np.abs(step).max())))
        if np.abs(theta).max() > LARGEST_LOG_ODDS:
            break
        if np.abs(step).max() < TOLERANCE:
            return theta, _slopes(design, theta, size)
    raise RankingError(
        "slot or length decides (nearly) every comparison, so that no finite value fits; "
        "look at the judge, and show the raw strengths"
    )


def _slopes(design: _Design, theta: FloatArray, size: int) -> _Slopes:
    strength_M, beta_Q = theta[:size], theta[size:]
    difference_MM = strength_M[:, None] - strength_M[None, :]
    p_N = special.expit(difference_MM.ravel()[design.cell_N] + beta_Q @ design.extra_QN)
    residual_N, weight_N = design.score_N - p_N, p_N * (1 - p_N)
    virtual_p_MM = special.expit(difference_MM)
    virtual_games_MM = design.virtual_MM + design.virtual_MM.T
    gradient_M = _net(_by_pair(design.cell_N, size, residual_N))
    gradient_M += (design.virtual_MM - virtual_games_MM * virtual_p_MM).sum(axis=1)
    weight_MM = _by_pair(design.cell_N, size, weight_N)
    weight_MM = weight_MM + weight_MM.T + virtual_games_MM * virtual_p_MM * (1 - virtual_p_MM)
    information = np.zeros((len(theta), len(theta)))
    information[:size, :size] = np.diag(weight_MM.sum(axis=1)) - weight_MM
    information[:size, :size] += weight_MM.sum() / size**2  # the strengths' mean is held at 0
    weighted_QN = design.extra_QN * weight_N
    for number, weighted_N in enumerate(weighted_QN, start=size):
        cross_M = _net(_by_pair(design.cell_N, size, weighted_N))
        information[:size, number] = information[number, :size] = cross_M
    information[size:, size:] = weighted_QN @ design.extra_QN.T
    gradient = np.concatenate([gradient_M, design.extra_QN @ residual_N])
    return _Slopes(gradient, information, residual_N)


def _sandwich(battles: Battles, design: _Design, slopes: _Slopes) -> FloatArray:
    """Covariance of the parameters, with comparisons of a person dependent as they may be."""
    size, people = len(battles.methods), battles.n_people
    person_N = battles.person_N.astype(np.int64) * size
    score_PM = np.bincount(
        person_N + battles.first_N, weights=slopes.residual_N, minlength=people * size
    ) - np.bincount(person_N + battles.second_N, weights=slopes.residual_N, minlength=people * size)
    score_QP = [
        np.bincount(battles.person_N, weights=slopes.residual_N * extra_N, minlength=people)
        for extra_N in design.extra_QN
    ]
    score_PT = np.column_stack([score_PM.reshape(people, size), *score_QP])
    bread = np.linalg.inv(slopes.information)
    covariance: FloatArray = bread @ (score_PT.T @ score_PT) @ bread * (people / (people - 1))
    return covariance


def _by_pair(cell_N: IntArray, size: int, weights_N: FloatArray) -> FloatArray:
    sums = np.bincount(cell_N, weights=weights_N, minlength=size * size)
    return np.asarray(sums.reshape(size, size), dtype=np.float64)


def _net(sums_MM: FloatArray) -> FloatArray:
    """What each method has in the first slot minus what it has in the second."""
    net_M: FloatArray = sums_MM.sum(axis=1) - sums_MM.sum(axis=0)
    return net_M


def _check_condition(information: FloatArray) -> None:
    scale = np.sqrt(information.diagonal())
    condition = np.linalg.cond(information / scale[:, None] / scale[None, :])
    if not condition < LARGEST_CONDITION:
        raise RankingError(
            "slot or length cannot be told from the methods; show each pair in both orders"
        )
