"""Simulated people, models and judges, for the gate's error rates (`results/error_rates.py`).

200 people, 4 conversations of each with either model, a judge that gives whole points from 1 to 5.
People's true gains differ by 0.4, conversations by 0.6, the judge by 0.4 (standard deviations). The
models are equal unless a gain is asked for. Array names end in R (rounds), N (people), K (repeats).

Left out: people who differ in level, which pairing takes out, and turns within a conversation.
"""

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special, stats

from results.paired import Direction

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Ends = tuple[float, float]

N_PEOPLE: Final = 200
REPEATS: Final = 4
GAIN_SD: Final = 0.4
CONVERSATION_SD: Final = 0.6
NOISE_SD: Final = math.hypot(CONVERSATION_SD, 0.4)
"""Of a score: the conversation's and the judge's."""
SCALE: Final = (1.0, 5.0)
"""Of the judge. Its middle is everybody's level, so that cutting at the ends favours nobody."""
RELIEF_SCALE: Final = (-5.0, 5.0)
USUAL_WORDS: Final = 60.0
WORDS_SHAPE: Final = 9.0
"""Of the gamma distribution of a reply's length: a standard deviation of a third of the mean."""
WORDS_CHANGE_SD: Final = 8.0
USUAL_SHARE: Final = (1.2, 18.8)
"""Of people's rates of a fault, a beta distribution with mean 6%."""
LENGTH_LOGIT: Final = 0.5
"""What much longer replies are worth to a judge that likes length."""


class Scores(NamedTuple):
    """Of both models."""

    champion_RNK: FloatArray
    candidate_RNK: FloatArray

    @property
    def d_RN(self) -> FloatArray:
        """What records hold: differences of people's means."""
        return np.asarray(self.candidate_RNK.mean(axis=-1) - self.champion_RNK.mean(axis=-1))


class Guarded(NamedTuple):
    """A guard of the default gate, and how its metric differs between the models."""

    name: str
    margin: float
    worse: Direction
    draw: Callable[[np.random.Generator, int, float], FloatArray]
    """Rounds of differences with a given true mean."""


def talked(
    rng: np.random.Generator,
    n_rounds: int,
    *,
    gain: float | FloatArray = 0.0,
    gain_sd: float = GAIN_SD,
    repeats: int = REPEATS,
    scale: Ends = SCALE,
) -> Scores:
    """Both models with the same people; the true mean gain is one, or one a round.

    The ends of the scale cut about 1% off a gain.
    """
    gain_RN = np.reshape(gain, (-1, 1)) + rng.normal(0, gain_sd, (n_rounds, N_PEOPLE))
    level_RN = np.full_like(gain_RN, sum(scale) / 2)
    return Scores(
        _scored(_said(rng, level_RN, repeats), scale),
        _scored(_said(rng, level_RN + gain_RN, repeats), scale),
    )


def failing(
    rng: np.random.Generator, n_rounds: int, share: float, *, both: bool
) -> tuple[Scores, BoolArray, BoolArray]:
    """Equal models; the judge fails at the candidate's worst replies.

    Args:
        rng: Random numbers.
        n_rounds: Evaluations.
        share: Of the candidate's replies that have no score.
        both: It fails as often at replies of the champion, at random.

    Returns:
        The scores, and which of the champion's and of the candidate's are missing.
    """
    middle = sum(SCALE) / 2
    said_RNK = _said(rng, middle + rng.normal(0, GAIN_SD, (n_rounds, N_PEOPLE)), REPEATS)
    champion_RNK = _said(rng, np.full((n_rounds, N_PEOPLE), middle), REPEATS)
    cut = middle + math.hypot(GAIN_SD, NOISE_SD) * float(stats.norm.ppf(share))
    lost_RNK = rng.random(champion_RNK.shape) < (share if both else 0.0)
    scores = Scores(_scored(champion_RNK), _scored(said_RNK))
    return scores, _but_one(lost_RNK), _but_one(said_RNK < cut)


def preferred(
    rng: np.random.Generator, n_rounds: int, *, slot: float = 0.0, length_RN: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Whether the judge prefers the candidate, an equal model, in the first slot and the second.

    Args:
        rng: Random numbers.
        n_rounds: Evaluations.
        slot: What the first slot is worth, log-odds.
        length_RN: By how much the candidate is longer, in standard deviations; None: not seen.
    """
    better_RN = rng.normal(0, GAIN_SD, (n_rounds, N_PEOPLE))
    better_RN += rng.normal(0, CONVERSATION_SD * math.sqrt(2), better_RN.shape)
    if length_RN is not None:
        better_RN += LENGTH_LOGIT * np.tanh(length_RN)
    first_RN = rng.random(better_RN.shape) < special.expit(better_RN + slot)
    second_RN = rng.random(better_RN.shape) < special.expit(better_RN - slot)
    return first_RN.astype(np.float64), second_RN.astype(np.float64)


def _said(rng: np.random.Generator, level_RN: FloatArray, repeats: int) -> FloatArray:
    """How good each reply looks to the judge, before it gives whole points."""
    return level_RN[..., None] + rng.normal(0, NOISE_SD, (*level_RN.shape, repeats))


def _scored(said_RNK: FloatArray, scale: Ends = SCALE) -> FloatArray:
    return np.clip(np.rint(said_RNK), *scale)


def _but_one(missing_RNK: BoolArray) -> BoolArray:
    """Nobody loses every score: a person's last one is asked for until it comes."""
    kept_RNK = missing_RNK.copy()
    kept_RNK[..., 0] &= ~missing_RNK.all(axis=-1)
    return kept_RNK


def _relief(rng: np.random.Generator, n_rounds: int, mean: float) -> FloatArray:
    return talked(rng, n_rounds, gain=mean, scale=RELIEF_SCALE).d_RN


def _share(rng: np.random.Generator, n_rounds: int, mean: float) -> FloatArray:
    rate_RN = rng.beta(*USUAL_SHARE, (n_rounds, N_PEOPLE))
    champion_RN = rng.binomial(REPEATS, rate_RN) / REPEATS
    return rng.binomial(REPEATS, np.minimum(1.0, rate_RN + mean)) / REPEATS - champion_RN


def _words(rng: np.random.Generator, n_rounds: int, mean: float) -> FloatArray:
    shape, people = REPEATS * WORDS_SHAPE, (n_rounds, N_PEOPLE)
    champion_RN, candidate_RN = (rng.gamma(shape, USUAL_WORDS / shape, people) for _ in range(2))
    return candidate_RN - champion_RN + rng.normal(mean, WORDS_CHANGE_SD, people)


GUARDS: Final = (
    Guarded("share of faults, 0.1", 0.10, "up", _share),
    Guarded("longer, 12 words", 12.0, "up", _words),
    Guarded("shorter, 8 words", 8.0, "down", _words),
    Guarded("relief, 0.3", 0.3, "down", _relief),
)
"""The kinds of the default gate, at its margins."""
STRICT_GUARD: Final = Guarded("share of faults, 0.05", 0.05, "up", _share)
"""The default gate's smallest margin."""
