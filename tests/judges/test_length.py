import numpy as np
import pytest

from judges.agreement import AgreementUndefined
from judges.length import length_bias, length_slope

LENGTHS = {"a": 10, "b": 10, "c": 1000, "d": 1000}


def test_slope_by_hand() -> None:
    # The logs of 10 and 1000 stand one standard deviation below and above their mean.
    slope = length_slope({"a": 2, "b": 3, "c": 4, "d": 5}, LENGTHS, seed=0, n_resamples=20)
    assert slope.value == pytest.approx(1)


def test_bias_is_the_judges_slope_minus_peoples() -> None:
    rng = np.random.default_rng(0)
    lengths = {f"{i}": int(length) for i, length in enumerate(rng.integers(5, 200, 300))}
    logs = np.log(list(lengths.values()))
    standard = (logs - logs.mean()) / logs.std()
    human = dict(zip(lengths, 3 + 0.2 * standard + rng.normal(0, 0.5, 300), strict=True))
    judge = dict(zip(lengths, 3 + 0.7 * standard + rng.normal(0, 0.1, 300), strict=True))
    found = length_bias(judge, human, lengths, seed=0)
    assert found.n == 300
    assert found.human.value == pytest.approx(0.2, abs=0.1)
    assert found.judge.value == pytest.approx(0.7, abs=0.03)
    assert found.difference.value == pytest.approx(found.judge.value - found.human.value)
    assert found.difference.lower > 0.3
    assert length_slope(human, lengths, seed=0) == found.human


def test_a_noisy_rater_is_not_less_biased() -> None:
    rng = np.random.default_rng(1)
    lengths = {f"{i}": int(length) for i, length in enumerate(rng.integers(5, 200, 2000))}
    steady = {item: 3 + 0.3 * np.log(length) for item, length in lengths.items()}
    noisy = {item: rating + rng.normal(0, 1) for item, rating in steady.items()}
    found = length_bias(steady, noisy, lengths, seed=0, n_resamples=200)
    assert found.difference.lower < 0 < found.difference.upper


def test_equal_or_no_lengths_have_no_slope() -> None:
    ratings = {"a": 1.0, "b": 2.0}
    with pytest.raises(AgreementUndefined, match="all 2 items have the same length"):
        length_slope(ratings, {"a": 7, "b": 7}, seed=0)
    with pytest.raises(ValueError, match="item 'b' has length 0"):
        length_slope(ratings, {"a": 7, "b": 0}, seed=0)
