"""Do preferences run in circles? Cyclic triads against chance.

Bradley-Terry puts methods on one scale. If a beats b, b beats c, and c beats a more often than
chance explains, no order of the three is right, whatever their strengths say.
"""

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, FiniteFloat
from scipy import special

from results.battles import FloatArray, Tally


class CyclicTriads(BaseModel):
    """Preferences that run in circles: a beats b, b beats c, c beats a, by majority."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    n_triads: int
    """Triads of which each two methods have a majority of decisive comparisons."""
    expected: FiniteFloat
    """Mean count if the fitted strengths were the truth."""
    p_value: FiniteFloat
    """Chance of so many circles if they were; small: one scale of strength does not fit."""


def cyclic_triads(
    counts: Tally, strength_M: FloatArray, *, seed: int, n_draws: int
) -> CyclicTriads:
    """Circles among majorities of decisive comparisons, against a parametric bootstrap.

    What people's own tastes add to chance is in the draws: each pair has as many comparisons in
    them as it has decisive ones, over the design effect.

    Args:
        counts: The table.
        strength_M: With ties modelled: what decisive comparisons follow.
        seed: Of the draws.
        n_draws: Tables drawn as if the strengths were the truth.
    """
    low_K, high_K = counts.low_K, counts.high_K
    won_K, lost_K = counts.won_MM[low_K, high_K], counts.won_MM[high_K, low_K]
    p_K = special.expit(strength_M[low_K] - strength_M[high_K])
    decisive_K = np.ceil((won_K + lost_K) / design_effect(counts)).astype(np.int64)
    rng = np.random.default_rng([seed, 1])
    drawn_BK = rng.binomial(decisive_K, p_K, (n_draws, len(p_K)))
    margin_BK = np.concatenate([(won_K - lost_K)[None], 2 * drawn_BK - decisive_K])
    size = len(counts.methods)
    beats_BMM = np.zeros((len(margin_BK), size, size), dtype=np.float32)
    beats_BMM[:, low_K, high_K] = margin_BK > 0
    beats_BMM[:, high_K, low_K] = margin_BK < 0
    circles_B = _circles(beats_BMM)
    decided_MM = beats_BMM[:1] + beats_BMM[:1].transpose(0, 2, 1)
    at_least = int((circles_B[1:] >= circles_B[0]).sum())
    return CyclicTriads(
        count=int(circles_B[0]),
        n_triads=int(_circles(decided_MM)[0]) // 2,
        expected=float(circles_B[1:].mean()),
        p_value=(1 + at_least) / (1 + n_draws),
    )


def design_effect(counts: Tally) -> float:
    """Variance of the pairs' margins over what comparisons drawn alone would have; at least 1."""
    games_K, net_K = counts.games_GK.sum(axis=0), counts.net_GK.sum(axis=0)
    rest_GK = counts.net_GK - counts.games_GK * (net_K / games_K)
    alone = float(counts.won_MM.sum() - (net_K**2 / games_K).sum())
    return max(1.0, float((rest_GK**2).sum()) / alone) if alone > 0 else 1.0


def _circles(beats_BMM: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Directed circles of three: a third of the trace of the matrix's cube."""
    closed_B = np.einsum("bij,bji->b", beats_BMM @ beats_BMM, beats_BMM)
    return np.asarray(np.rint(closed_B / 3), dtype=np.int64)
