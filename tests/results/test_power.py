"""Power: against statsmodels, and against the shipped bounds in simulation."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results.power import (
    VarianceComponents,
    guard_power,
    minimum_detectable_effect,
    pass_chance,
    people_for,
    variance_components,
)
from results.stats import equal_length, paired_bounds, people_needed

N_ROUNDS = 6000
"""The simulated share of 80% is known to 0.5%."""


def test_components_by_hand() -> None:
    # differences 0, 2, 4: variance 4; samples vary by 3 and 5, of which a mean of 4 has 2
    found = variance_components([0.0, 2.0, 4.0], 3.0, 5.0, repeats=4)
    assert found == VarianceComponents(between=2.0, within_a=3.0, within_b=5.0, repeats=4)
    assert found.sd(4) == 2.0
    assert found.sd(8) == math.sqrt(3)
    assert found.standard_error(n=100, repeats=4) == 0.2


def test_noise_of_repeats_alone_leaves_nothing_between_people() -> None:
    found = variance_components([0.0, 1.0], 3.0, 5.0, repeats=4)
    assert found.between == 0
    assert found.sd(4) == math.sqrt(2)


def test_unknown_noise_of_repeats_promises_nothing() -> None:
    found = variance_components([0.0, 2.0, 4.0], None, None, repeats=1)
    assert found.sd(1) == found.sd(100) == 2.0


def test_bad_components_are_refused() -> None:
    with pytest.raises(ValueError, match="1 people; the last comparison needs two or more"):
        variance_components([1.0], 1.0, 1.0, repeats=4)
    with pytest.raises(ValidationError):
        VarianceComponents(between=-1.0, within_a=1.0, within_b=1.0, repeats=4)


def test_components_are_recovered() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(0.1, 0.4, 4000)
    a, b = rng.normal(0, 0.7, (4000, 4)), true[:, None] + rng.normal(0, 0.9, (4000, 4))
    within_a, within_b = (float(side.var(axis=1, ddof=1).mean()) for side in (a, b))
    found = variance_components(b.mean(axis=1) - a.mean(axis=1), within_a, within_b, repeats=4)
    assert found.between == pytest.approx(0.16, abs=0.02)
    assert (found.within_a, found.within_b) == pytest.approx((0.49, 0.81), abs=0.03)


@pytest.mark.parametrize("n", [2, 3, 10, 100])
@pytest.mark.parametrize("effect", [0.0, 0.2, 0.6])
def test_of_the_t_test_alone_the_chance_is_statsmodels(n: int, effect: float) -> None:
    from statsmodels.stats.power import TTestPower

    theirs = TTestPower().power(effect, n, 0.05, alternative="larger")
    found = pass_chance(2 * effect, 2 / math.sqrt(n), n, alpha=0.05)
    assert found == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("n", [20, 100, 400])
@pytest.mark.parametrize("delta_min", [0.0, 0.3])
def test_power_at_the_printed_effect(n: int, delta_min: float) -> None:
    effect = minimum_detectable_effect(1.5 / math.sqrt(n), n, alpha=0.05, delta_min=delta_min)
    d_RN = np.random.default_rng(n).normal(effect, 1.5, (N_ROUNDS, n))
    bounds = paired_bounds(d_RN, 0.05)
    passed = (bounds.lower > 0) & (bounds.mean >= delta_min)
    assert passed.mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("n", [20, 100, 400])
@pytest.mark.parametrize("delta_min", [0.0, 0.3])
@pytest.mark.parametrize("longer_by", [0.0, 0.5, 1.0])
def test_power_where_the_bound_at_equal_length_counts(
    n: int, delta_min: float, longer_by: float
) -> None:
    rng = np.random.default_rng(n)
    last_RN, last_length_RN = rng.normal(0, 1.5, (200, n)), rng.normal(longer_by, 1, (200, n))
    level = equal_length(last_RN, last_length_RN, 0.05)
    inflation = float((level.se / paired_bounds(last_RN, 0.05).se).mean())  # as logs say on average
    effect = minimum_detectable_effect(
        1.5 / math.sqrt(n), n, alpha=0.05, delta_min=delta_min, inflation=inflation
    )
    length_RN, d_RN = (
        rng.normal(longer_by, 1, (N_ROUNDS, n)),
        rng.normal(effect, 1.5, (N_ROUNDS, n)),
    )
    bounds, level = paired_bounds(d_RN, 0.05), equal_length(d_RN, length_RN, 0.05)
    passed = (bounds.lower > 0) & (bounds.mean >= delta_min) & (level.lower > 0)
    assert passed.mean() == pytest.approx(0.8, abs=0.04)


def test_power_where_length_explains_much_of_the_spread() -> None:
    # The bound at equal length is the narrower one, and the raw one decides.
    rng, n = np.random.default_rng(3), 100
    length_RN = rng.normal(0, 1, (N_ROUNDS, n))
    x = np.tanh(length_RN)
    noise = rng.normal(0, 1, (N_ROUNDS, n))
    sd = math.sqrt(1 + 4 * float(x.var()))
    effect = minimum_detectable_effect(sd / math.sqrt(n), n, alpha=0.05, inflation=1 / sd)
    d_RN = effect + 2 * x + noise
    passed = paired_bounds(d_RN, 0.05).lower > 0
    passed &= equal_length(d_RN, length_RN, 0.05).lower > 0
    assert passed.mean() == pytest.approx(0.8, abs=0.02)


def test_the_detectable_effect_of_the_facts() -> None:
    # One-sided .05, 100 people, 1.6604 + 0.8462 standard errors by the noncentral t
    effect = minimum_detectable_effect(0.1, 100, alpha=0.05)
    assert effect == pytest.approx(0.2504, abs=1e-4)
    assert minimum_detectable_effect(0.0, 100, alpha=0.05, delta_min=0.3) == 0.3


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(2, 500),
    delta_min=st.floats(0, 1),
    inflation=st.floats(0.3, 5),
    power=st.floats(0.3, 0.95),
)
@example(n=2, delta_min=1.0, inflation=1 - 2**-53, power=0.375)
def test_the_chance_at_the_detectable_effect_is_the_power(
    n: int, delta_min: float, inflation: float, power: float
) -> None:
    effect = minimum_detectable_effect(
        0.1, n, alpha=0.05, power=power, delta_min=delta_min, inflation=inflation
    )
    asked = {"alpha": 0.05, "delta_min": delta_min, "inflation": inflation}
    assert pass_chance(effect, 0.1, n, **asked) == pytest.approx(power, abs=1e-6)
    assert effect >= minimum_detectable_effect(0.1, n, alpha=0.05, power=power) - 1e-3


def test_people_for_is_the_least_number_and_near_the_quick_one() -> None:
    components = VarianceComponents(between=0.1, within_a=0.3, within_b=0.4, repeats=4)
    for effect in (0.1, 0.2, 0.5, 1.0):
        n = people_for(effect, components, 4, alpha=0.05)
        chances = [
            pass_chance(effect, components.standard_error(m, 4), m, alpha=0.05) for m in (n - 1, n)
        ]
        assert chances[0] < 0.8 <= chances[1]
        assert abs(people_needed(components.sd(4), effect, 0.05) - n) <= 1


def test_two_people_are_enough_where_nobody_differs() -> None:
    still = VarianceComponents(between=0.0, within_a=0.0, within_b=0.0, repeats=1)
    assert people_for(0.3, still, 1, alpha=0.05) == 2


def test_people_for_is_statsmodels() -> None:
    from statsmodels.stats.power import TTestPower

    components = VarianceComponents(between=1.0, within_a=0.0, within_b=0.0, repeats=1)
    theirs = TTestPower().solve_power(effect_size=0.3, alpha=0.05, power=0.9, alternative="larger")
    assert people_for(0.3, components, 1, alpha=0.05, power=0.9) == math.ceil(float(theirs))


def test_repeats_save_people_only_where_they_are_the_noise() -> None:
    noisy = VarianceComponents(between=0.0, within_a=1.0, within_b=1.0, repeats=1)
    unlike = VarianceComponents(between=2.0, within_a=0.0, within_b=0.0, repeats=1)
    one, four = (people_for(0.3, noisy, k, alpha=0.05) for k in (1, 4))
    assert four < one / 3.5
    one, four = (people_for(0.3, unlike, k, alpha=0.05) for k in (1, 4))
    assert four == one


def test_what_is_wanted_and_equal_length_cost_people() -> None:
    components = VarianceComponents(between=1.0, within_a=0.0, within_b=0.0, repeats=1)
    plain = people_for(0.3, components, 1, alpha=0.05)
    assert people_for(0.3, components, 1, alpha=0.05, delta_min=0.2) > 2 * plain * 0.4
    assert people_for(0.3, components, 1, alpha=0.05, inflation=1.5) > 2 * plain


@pytest.mark.parametrize(("effect", "delta_min"), [(0.0, 0.0), (-1.0, 0.0), (0.2, 0.2), (1e-5, 0)])
def test_no_number_of_people_shows_it(effect: float, delta_min: float) -> None:
    components = VarianceComponents(between=1.0, within_a=0.0, within_b=0.0, repeats=1)
    with pytest.raises(ValueError, match="1,000,000 people do not show an effect") as caught:
        people_for(effect, components, 1, alpha=0.05, delta_min=delta_min)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("n", "low", "high"), [(20, 0.1, 0.2), (200, 0.75, 0.9)])
def test_guards_pass_an_unchanged_model_as_often_as_told(n: int, low: float, high: float) -> None:
    told = guard_power(sd=1.0, n=n, margin=0.18, alpha=0.05)
    assert low < told < high
    d_RN = np.random.default_rng(n).normal(0, 1.0, (N_ROUNDS, n))
    passed = paired_bounds(d_RN, 0.05).upper < 0.18
    assert passed.mean() == pytest.approx(told, abs=0.02)


def test_a_guard_without_spread() -> None:
    assert guard_power(sd=0.0, n=20, margin=0.1, alpha=0.05) == 1
    assert guard_power(sd=0.0, n=20, margin=0.0, alpha=0.05) == 0


@pytest.mark.parametrize(("n", "inflation"), [(1, 1.0), (20, math.nan), (20, math.inf), (20, 0.0)])
def test_what_has_no_chance_is_refused(n: int, inflation: float) -> None:
    with pytest.raises(ValueError, match="two people or more and a finite positive inflation"):
        pass_chance(0.1, 0.1, n, alpha=0.05, inflation=inflation)


@pytest.mark.parametrize(("alpha", "power"), [(0.05, 0.05), (0.05, 1.0), (0.0, 0.8)])
def test_impossible_powers_are_refused(alpha: float, power: float) -> None:
    with pytest.raises(ValueError, match="give 0 < alpha < power < 1"):
        minimum_detectable_effect(0.1, 20, alpha=alpha, power=power)
