import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.stats import paired_bound, people_needed

differences = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


def test_bound_by_hand() -> None:
    # 1, 2, 3, 4, 5: mean 3, sd sqrt(2.5), standard error sqrt(0.5), t(0.95, 4) = 2.1318
    bound = paired_bound([1, 2, 3, 4, 5], alpha=0.05)
    assert bound.mean == 3
    assert bound.sd == pytest.approx(math.sqrt(2.5))
    assert bound.lower == pytest.approx(3 - 2.1318 * math.sqrt(0.5), abs=1e-4)
    assert bound.upper == pytest.approx(3 + 2.1318 * math.sqrt(0.5), abs=1e-4)
    assert bound.n == 5


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.3])
def test_bounds_are_scipys(alpha: float) -> None:
    values = np.random.default_rng(3).normal(0.4, 2, size=17)
    bound = paired_bound(values, alpha)
    test = stats.ttest_1samp(values, 0, alternative="greater")
    assert bound.lower == pytest.approx(test.confidence_interval(1 - alpha).low)
    test = stats.ttest_1samp(values, 0, alternative="less")
    assert bound.upper == pytest.approx(test.confidence_interval(1 - alpha).high)


def test_lower_bound_is_above_zero_exactly_when_the_test_rejects() -> None:
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(200):
        values = rng.normal(0.5, 1, size=10)
        p = stats.ttest_1samp(values, 0, alternative="greater").pvalue
        assert (paired_bound(values, 0.05).lower > 0) == (p < 0.05)
        rejected += p < 0.05
    assert 0 < rejected < 200


@settings(deadline=None)
@given(differences)
def test_swapping_the_sides_swaps_the_bounds(values: list[float]) -> None:
    one, other = paired_bound(values, 0.05), paired_bound([-v for v in values], 0.05)
    assert (other.mean, other.lower, other.upper) == (-one.mean, -one.upper, -one.lower)
    assert one.lower <= one.mean <= one.upper


def test_equal_differences_have_no_spread() -> None:
    assert paired_bound([0.5, 0.5, 0.5], 0.05)[:4] == (0.5, 0.5, 0.5, 0.0)


@pytest.mark.parametrize(
    ("values", "told"),
    [([], "got 0"), ([1.0], "got 1"), ([1.0, math.nan, 2.0], "2 are finite"), ([1, math.inf], "1")],
)
def test_too_few_or_missing_values_have_no_bound(values: list[float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        paired_bound(values, 0.05)


@pytest.mark.parametrize(
    ("sd", "effect", "power", "people"),
    [
        # (1.6449 + 0.8416)^2 = 6.1826: standard deviations an effect, squared, times that, plus 2
        (1.0, 1.0, 0.8, 9),
        (2.0, 1.0, 0.8, 27),  # 24.7
        (10.0, 3.0, 0.8, 71),  # 68.7
        (1.0, 1.0, 0.9, 11),  # (1.6449 + 1.2816)^2 = 8.56
        (0.0, 1.0, 0.8, 2),
    ],
)
def test_people_needed_by_hand(sd: float, effect: float, power: float, people: int) -> None:
    assert people_needed(sd, effect, alpha=0.05, power=power) == people


def test_people_needed_gives_the_power_it_promises() -> None:
    n = people_needed(sd=3.0, effect=1.0, alpha=0.05, power=0.8)
    draws = np.random.default_rng(11).normal(1.0, 3.0, size=(4000, n))
    found = stats.ttest_1samp(draws, 0, axis=1, alternative="greater").pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("effect", [0.0, -1.0])
def test_no_number_of_people_shows_no_effect(effect: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        people_needed(1.0, effect, 0.05)
