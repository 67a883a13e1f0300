"""Strengths of methods from comparisons in pairs: Bradley-Terry, its bootstrap, and ties modelled.

Bradley-Terry says that i beats j with log-odds strength_i - strength_j. A tie counts as half a win
of both. Strengths are log-odds with mean 0. The fit needs only how often each pair met and what
each method won, so a thousand resamples of people are fitted together by Newton's method.

Two rules keep estimates finite, and are used only where they are needed:

* A method that won nothing (or lost nothing) is given half a virtual game that it won (or lost),
  spread over its opponents as its real games are.
* A resample of people holds a tenth of an average person besides, for it may have lost a method,
  or all that ties two groups of methods together.

Groups of methods that never met are refused, and so are groups of which one won every game against
the other: no strengths fit them.

Davidson's model (1970; Newman's of 2023 is the same one) has a parameter for ties instead of
halving them. It is here to see whether the rule for ties changes an order. The fits agree with
`evalica` and statsmodels (see the tests); `evalica` would do but for the bootstrap over people, and
it brings pandas.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special
from scipy.sparse import csgraph

from results.battles import FloatArray, RankingError, Tally

MAX_STEPS: Final = 100
"""Of Newton's method; 6 are usual."""
LONGEST_STEP: Final = 2.0
"""Of one strength in one step, so that a far start cannot overshoot."""
TOLERANCE: Final = 1e-10
RESAMPLE_TOLERANCE: Final = 1e-5
"""Last step's length. Newton's error after it is about its square."""
VIRTUAL: Final = 0.5
"""Games given to a method that won (or lost) less than this: nothing, for ties count 0.5."""
AVERAGE_SHARE: Final = 0.1
"""Of an average cluster, in each resample."""
CHUNK: Final = 1_000_000
"""Cells of the resamples that are fitted together: 8 MB an array."""


class DavidsonFit(NamedTuple):
    """Strengths with ties modelled."""

    strength_M: FloatArray
    tie: float
    """Chance of a tie over the chance of a win, of two equal methods; 0: there were no ties."""


def fit(wins_M: FloatArray, games_MM: FloatArray) -> FloatArray:
    """Strengths, with mean 0.

    Args:
        wins_M: What each method won, with ties as half wins.
        games_MM: Comparisons of each two methods.

    Raises:
        RankingError: it does not converge.
    """
    wins_BM, games_BMM = with_virtual(wins_M[None], games_MM[None])
    return np.asarray(_newton(wins_BM, games_BMM, np.zeros_like(wins_M), TOLERANCE)[0])


def bootstrap(
    tally: Tally, start_M: FloatArray, n_resamples: int, rng: np.random.Generator
) -> FloatArray:
    """Strengths in resamples of the clusters, (resamples, methods).

    Raises:
        RankingError: a resample does not converge.
    """
    n_clusters, size = tally.wins_GM.shape
    weights_BG = _multinomial(n_resamples, n_clusters, rng)
    weights_BG += AVERAGE_SHARE / n_clusters
    wins_BM, games_BK = weights_BG @ tally.wins_GM, weights_BG @ tally.games_GK
    strength_BM = np.empty((n_resamples, size))
    chunk = max(1, CHUNK // size**2)
    for begin in range(0, n_resamples, chunk):
        part = slice(begin, begin + chunk)
        games_BMM = np.zeros((len(games_BK[part]), size, size))
        games_BMM[:, tally.low_K, tally.high_K] = games_BK[part]
        games_BMM[:, tally.high_K, tally.low_K] = games_BK[part]
        resample = with_virtual(wins_BM[part], games_BMM)
        strength_BM[part] = _newton(*resample, start_M, RESAMPLE_TOLERANCE)
    return strength_BM


def fit_davidson(won_MM: FloatArray, ties_MM: FloatArray) -> DavidsonFit:
    """Strengths and the tie parameter by maximum likelihood.

    Args:
        won_MM: Decisive comparisons that the row won against the column.
        ties_MM: Ties of each two methods; symmetric.

    Raises:
        RankingError: it does not converge.
    """
    wins_M, games_MM = (won_MM + ties_MM / 2).sum(axis=1), won_MM + won_MM.T + ties_MM
    strength_M, n_ties = fit(wins_M, games_MM), float(ties_MM.sum()) / 2
    if n_ties == 0 or not won_MM.any():
        return DavidsonFit(strength_M, np.inf if n_ties else 0.0)
    wins_BM, games_BMM = with_virtual(wins_M[None], games_MM[None])
    wins_M, games_MM, log_tie = wins_BM[0], games_BMM[0], 0.0
    for _ in range(MAX_STEPS):
        gradient, information = _davidson_step(strength_M, log_tie, wins_M, n_ties, games_MM)
        step = np.linalg.solve(information, gradient)
        step *= LONGEST_STEP / max(LONGEST_STEP, float(np.abs(step).max()))
        strength_M, log_tie = strength_M + step[:-1], log_tie + float(step[-1])
        if np.abs(step).max() < TOLERANCE:
            return DavidsonFit(strength_M - strength_M.mean(), float(np.exp(log_tie)))
    raise _not_converged()


def check_comparable(tally: Tally) -> None:
    """Refuse tables that no strengths fit.

    Raises:
        RankingError: groups of methods never met, or one won every game against the other.
    """
    n_groups, group_M = csgraph.connected_components(tally.games_MM, directed=False)
    if n_groups > 1:
        raise RankingError(
            f"{n_groups} groups of methods never met: {_groups(tally, group_M)}; compare a method "
            "of each with one of another, or rank each group alone"
        )
    virtual_MM = virtual_wins(tally.wins_M[None], tally.games_MM[None])[0]
    wins_MM = tally.won_MM + tally.ties_MM / 2 + virtual_MM
    n_groups, group_M = csgraph.connected_components(wins_MM, connection="strong")
    if n_groups > 1:
        raise RankingError(
            f"{n_groups} groups of methods met with one side winning every game: "
            f"{_groups(tally, group_M)}; collect more comparisons between them"
        )


def with_virtual(wins_BM: FloatArray, games_BMM: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Wins and games with the virtual ones, where a method won or lost nothing."""
    losses_BM = games_BMM.sum(axis=2) - wins_BM
    if min(float(wins_BM.min()), float(losses_BM.min())) >= VIRTUAL:
        return wins_BM, games_BMM
    virtual_BMM = virtual_wins(wins_BM, games_BMM)
    return (
        wins_BM + virtual_BMM.sum(axis=2),
        games_BMM + virtual_BMM + virtual_BMM.transpose(0, 2, 1),
    )


def virtual_methods(tally: Tally) -> tuple[str, ...]:
    """The methods that won nothing, or lost nothing."""
    losses_M = tally.games_MM.sum(axis=1) - tally.wins_M
    few_M = np.minimum(tally.wins_M, losses_M) < VIRTUAL
    return tuple(name for name, few in zip(tally.methods, few_M, strict=True) if few)


def virtual_wins(wins_BM: FloatArray, games_BMM: FloatArray) -> FloatArray:
    """Virtual wins of the row against the column; 0 where every method won and lost something."""
    played_BM = games_BMM.sum(axis=2)
    share_BMM = VIRTUAL * games_BMM / played_BM[:, :, None]
    won_BMM = share_BMM * (wins_BM < VIRTUAL)[:, :, None]
    lost_BMM = share_BMM * (played_BM - wins_BM < VIRTUAL)[:, :, None]
    virtual_BMM: FloatArray = won_BMM + lost_BMM.transpose(0, 2, 1)
    return virtual_BMM


def _newton(
    wins_BM: FloatArray, games_BMM: FloatArray, start_M: FloatArray, tolerance: float
) -> FloatArray:
    size = len(start_M)
    strength_BM = np.tile(start_M, (len(wins_BM), 1))
    diagonal = np.arange(size)
    for _ in range(MAX_STEPS):
        p_BMM = special.expit(strength_BM[:, :, None] - strength_BM[:, None, :])
        expected_BMM = games_BMM * p_BMM
        gradient_BM = wins_BM - expected_BMM.sum(axis=2)
        information_BMM = expected_BMM * (p_BMM - 1)
        weight_BM = -information_BMM.sum(axis=2)
        # Strengths are known up to a constant: the mean of the step is held at 0.
        information_BMM += (weight_BM.mean(axis=1) / size)[:, None, None]
        information_BMM[:, diagonal, diagonal] += weight_BM
        step_BM = np.linalg.solve(information_BMM, gradient_BM[:, :, None])[:, :, 0]
        longest_B = np.abs(step_BM).max(axis=1)
        strength_BM += step_BM * (LONGEST_STEP / np.maximum(LONGEST_STEP, longest_B))[:, None]
        if longest_B.max() < tolerance:
            strength_BM -= strength_BM.mean(axis=1, keepdims=True)
            return strength_BM
    raise _not_converged()


def _davidson_step(
    strength_M: FloatArray, log_tie: float, wins_M: FloatArray, n_ties: float, games_MM: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Gradient and information of the strengths and, last, the log of the tie parameter."""
    half_MM = (strength_M[:, None] - strength_M[None, :]) / 2
    odds_3MM = np.stack([half_MM, -half_MM, np.full_like(half_MM, log_tie)])
    win_MM, _, tie_MM = special.softmax(odds_3MM, axis=0)
    score_MM = win_MM + tie_MM / 2
    gradient = np.append(
        wins_M - (games_MM * score_MM).sum(axis=1), n_ties - (games_MM * tie_MM).sum() / 2
    )
    size = len(strength_M)
    information = np.zeros((size + 1, size + 1))
    weight_MM = games_MM * (win_MM + tie_MM / 4 - score_MM**2)
    information[:size, :size] = (
        np.diag(weight_MM.sum(axis=1)) - weight_MM + weight_MM.sum() / size**2
    )
    cross_M = (games_MM * tie_MM * (0.5 - score_MM)).sum(axis=1)
    information[:size, size] = information[size, :size] = cross_M
    information[size, size] = (games_MM * tie_MM * (1 - tie_MM)).sum() / 2
    return gradient, information


def _multinomial(n_resamples: int, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """How often each cluster is in each resample; the fastest way is to draw and count."""
    drawn = rng.integers(0, n_clusters, (n_resamples, n_clusters), dtype=np.int32)
    drawn += np.arange(n_resamples, dtype=np.int32)[:, None] * np.int32(n_clusters)
    counts = np.bincount(drawn.ravel(), minlength=n_resamples * n_clusters)
    return counts.reshape(n_resamples, n_clusters).astype(np.float64)


def _groups(tally: Tally, group_M: npt.NDArray[np.int32]) -> str:
    groups: dict[int, list[str]] = {}
    for name, group in zip(tally.methods, group_M.tolist(), strict=True):
        groups.setdefault(group, []).append(name)
    return " / ".join(", ".join(names) for names in groups.values())


def _not_converged() -> RankingError:
    return RankingError(
        f"the strengths do not converge in {MAX_STEPS} steps; collect more comparisons between "
        "methods of which one nearly always wins"
    )
