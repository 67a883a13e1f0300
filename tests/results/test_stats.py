"""Bounds and tests of differences: by hand, from the literature, against statsmodels and scipy."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results.stats import (
    bca_interval,
    confidence_sequence,
    equal_length,
    holm,
    missing_p,
    paired_bound,
    paired_bounds,
    paired_p,
    people_needed,
    rate_bound,
    score_excludes,
    sign_flip_p,
    worst_case_values,
)

SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
"""Student (1908), Biometrika 6, 20: more hours of sleep with one isomer than with the other."""
N_ROUNDS = 2000

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


def test_students_sleep_data() -> None:
    # t = 4.0621 at 9 degrees of freedom, two-sided p 0.002833, 95% interval 0.70 to 2.46
    bounds = paired_bounds(SLEEP, alpha=0.025)
    assert bounds.mean == pytest.approx(1.58)
    assert bounds.mean / bounds.se == pytest.approx(4.0621, abs=5e-5)
    assert (bounds.lower, bounds.upper) == pytest.approx((0.7001, 2.4599), abs=5e-5)
    assert 2 * paired_p(SLEEP) == pytest.approx(0.002833, abs=5e-7)


def test_a_stack_is_its_rounds_one_by_one() -> None:
    rng = np.random.default_rng(1)
    d_RN, length_RN = rng.normal(0.2, 1, (2, 3, 4, 15))
    alpha_R = rng.uniform(0.01, 0.2, (3, 4))
    raw, level = paired_bounds(d_RN, alpha_R), equal_length(d_RN, length_RN, alpha_R)
    p, sequence = paired_p(d_RN), confidence_sequence(d_RN, alpha=0.05, n_star=10, burn_in=5)
    for index in np.ndindex(3, 4):
        one = paired_bounds(d_RN[index], alpha_R[index])
        assert [field[index] for field in raw[:5]] == pytest.approx(one[:5], rel=1e-12)
        one = equal_length(d_RN[index], length_RN[index], alpha_R[index])
        assert [field[index] for field in level[:5]] == pytest.approx(one[:5], rel=1e-12)
        assert p[index] == pytest.approx(paired_p(d_RN[index]))
        alone = confidence_sequence(d_RN[index], alpha=0.05, n_star=10, burn_in=5)
        assert sequence[index] == pytest.approx(alone)
    assert raw.n == level.n == 15


def test_without_a_leading_axis_results_are_plain_numbers() -> None:
    for found in (paired_bounds(SLEEP, 0.05), equal_length(SLEEP, range(10), 0.05)):
        assert all(isinstance(field, float) for field in found[:5])
    assert isinstance(paired_p(SLEEP), float)
    assert isinstance(rate_bound(1, 10, 0.05).upper, float)
    assert isinstance(missing_p(1, 2), float)


def test_paired_p_is_scipys_and_agrees_with_the_bound() -> None:
    d_RN = np.random.default_rng(2).normal(0.4, 1, (200, 12))
    p = paired_p(d_RN)
    assert p == pytest.approx(stats.ttest_1samp(d_RN, 0, axis=1, alternative="greater").pvalue)
    assert ((paired_bounds(d_RN, 0.05).lower > 0) == (p < 0.05)).all()
    assert paired_p([[0.5] * 3, [-0.5] * 3, [0.0] * 3]).tolist() == [0.125, 1, 1]
    assert paired_bounds([0.1] * 3, 0.05)[:3] == (0.1, 0.1, 0.1)  # three tenths add up to more


shifts = st.floats(-50, 50)


@settings(deadline=None)
@given(differences, shifts, st.randoms(use_true_random=False))
def test_a_shift_moves_the_bounds_and_order_does_not(
    values: list[float], shift: float, random: Any
) -> None:
    lengths = [float(index % 5) for index in range(len(values))]
    order = random.sample(range(len(values)), len(values))
    shifted = [values[index] + shift for index in order]
    near = {"rel": 1e-6, "abs": 1e-6, "nan_ok": True}
    for one, other in (
        (paired_bounds(values, 0.05), paired_bounds(shifted, 0.05)),
        (
            equal_length(values, lengths, 0.05),
            equal_length(shifted, [lengths[index] for index in order], 0.05),
        ),
    ):
        moved = [one.mean + shift, one.lower + shift, one.upper + shift]
        assert list(other[:3]) == pytest.approx(moved, **near)
        assert other.se == pytest.approx(one.se, **near)


@settings(deadline=None)
@given(differences, st.floats(0.1, 10), st.integers(0, 9))
def test_swapping_the_sides_mirrors_equal_length(
    values: list[float], unit: float, seed: int
) -> None:
    length = np.random.default_rng(seed).normal(0.5, 1, len(values))
    one = equal_length(values, length, 0.05)
    other = equal_length([-v for v in values], -unit * length, 0.05)  # in words or in letters
    mirrored = [-one.mean, -one.upper, -one.lower]
    assert list(other[:3]) == pytest.approx(mirrored, rel=1e-6, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("n", [3, 20, 150])
def test_equal_length_is_statsmodels(n: int) -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(n)
    length_d = rng.normal(8, 20, n)
    d = 0.1 + 0.01 * length_d + rng.normal(0, 0.4, n) * (1 + np.abs(length_d) / 20)
    x = np.column_stack([np.ones(n), np.tanh(length_d / length_d.std(ddof=1))])
    fit = sm.OLS(d, x).fit(cov_type="HC3", use_t=True)
    found = equal_length(d, length_d, alpha=0.05)
    lower, upper = fit.conf_int(alpha=0.1)[0]
    theirs = (fit.params[0], lower, upper, fit.bse[0])
    assert (found.mean, found.lower, found.upper, found.se) == pytest.approx(theirs, rel=1e-9)
    assert found.sd == pytest.approx(found.se * math.sqrt(n))


def test_without_a_length_difference_equal_length_is_the_raw_bound() -> None:
    assert equal_length(SLEEP, [0.0] * 10, 0.05) == paired_bounds(SLEEP, 0.05)
    rounding = np.random.default_rng(0).normal(0, 1e-14, 10)
    assert equal_length(SLEEP, rounding, 0.05) == paired_bounds(SLEEP, 0.05)


@pytest.mark.parametrize(
    "length_d",
    [[4.0] * 10, [0.1 + 0.2] * 5 + [0.3] * 5, [1000.0 + index / 10 for index in range(10)]],
)
def test_where_everybody_is_longer_nothing_is_shown(length_d: list[float]) -> None:
    bounds = equal_length(SLEEP, length_d, 0.05)
    assert all(math.isnan(field) for field in bounds[:5])
    assert not bounds.lower > 0
    assert not bounds.upper <= 0


def test_rounds_with_and_without_a_spread_of_lengths_stand_side_by_side() -> None:
    length_d = [[0.0] * 10, [5.0] * 10, list(range(10))]
    found = equal_length([SLEEP] * 3, length_d, 0.05)
    assert np.isnan(found.mean).tolist() == [False, True, False]
    assert found.mean[0] == pytest.approx(1.58)
    assert found.mean[2] == pytest.approx(equal_length(SLEEP, range(10), 0.05).mean)


def test_two_people_say_nothing_of_length() -> None:
    assert math.isnan(equal_length([1.0, 2.0], [3.0, 4.0], 0.05).lower)
    assert equal_length([1.0, 2.0], [0.0, 0.0], 0.05) == paired_bounds([1.0, 2.0], 0.05)


def test_lengths_must_match_the_differences() -> None:
    with pytest.raises(ValueError, match=r"shape \(10,\), lengths \(9,\)"):
        equal_length(SLEEP, range(9), 0.05)


@pytest.mark.parametrize(("longer_by", "raw_at_least"), [(0.5, 0.3), (1.0, 0.65)])
def test_longer_is_not_better(longer_by: float, raw_at_least: float) -> None:
    # Equal checkpoints and a judge that likes length; longer by so many standard deviations.
    rng = np.random.default_rng(7)
    length_RN = rng.normal(longer_by, 1, (N_ROUNDS, 100))
    d_RN = 0.6 * np.tanh(length_RN) + rng.normal(0, 1.5, (N_ROUNDS, 100))
    assert (paired_bounds(d_RN, 0.05).lower > 0).mean() > raw_at_least
    level = equal_length(d_RN, length_RN, 0.05)
    assert (level.lower > 0).mean() == pytest.approx(0.055, abs=0.015)


def test_sign_flips_by_hand() -> None:
    assert sign_flip_p([1, 2, 3], seed=0) == 1 / 8  # only all three positive is as large
    assert sign_flip_p([-1, -2, -3], seed=0) == sign_flip_p([0, 0, 0], seed=0) == 1
    assert sign_flip_p(SLEEP, seed=0) == 2 / 1024  # the 0 may have either sign


def test_sign_flips_of_many_people_are_near_the_t_test() -> None:
    d_N = np.random.default_rng(3).normal(0.05, 1, 2000)
    p = sign_flip_p(d_N, seed=1)
    assert p == pytest.approx(float(paired_p(d_N)), abs=0.005)
    level = d_N - d_N.mean()
    again = [sign_flip_p(level, seed=seed, n_resamples=499) for seed in (1, 1, 2)]
    assert again[0] == again[1] != again[2]


def test_bca_of_many_people_is_near_the_t_bounds() -> None:
    d_N = np.random.default_rng(3).normal(0.05, 1, 2000)
    found, bounds = bca_interval(d_N, 0.05, seed=1), paired_bounds(d_N, 0.05)
    assert found == pytest.approx((bounds.lower, bounds.upper), abs=0.003)
    assert found == bca_interval(d_N, 0.05, seed=1)


def test_bca_leans_with_the_skew_and_a_constant_has_no_width() -> None:
    skewed = np.random.default_rng(4).exponential(1, 60)
    low, high = bca_interval(skewed, 0.05, seed=1)
    assert high - skewed.mean() > skewed.mean() - low
    assert bca_interval([0.5, 0.5, 0.5], 0.05, seed=1) == (0.5, 0.5)


def test_no_event_among_200_people() -> None:
    found = rate_bound(0, 200, alpha=0.05)
    assert found.rate == 0
    assert found.upper == pytest.approx(1 - 0.05 ** (1 / 200))
    assert found.upper == pytest.approx(0.0149, abs=5e-5)


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_rate_bounds_are_scipys(alpha: float) -> None:
    events = np.arange(13)
    found = rate_bound(events, 12, alpha)
    for x in events:
        exact = stats.binomtest(int(x), 12).proportion_ci(1 - 2 * alpha, "exact").high
        assert found.upper[x] == pytest.approx(exact, rel=1e-12)
    assert found.rate.tolist() == (events / 12).tolist()
    assert found.upper[12] == 1


@pytest.mark.parametrize(("events", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_impossible_rates_are_refused(events: int, n: int) -> None:
    with pytest.raises(ValueError, match="count each person once"):
        rate_bound(events, n, 0.05)


def test_missing_on_one_side() -> None:
    # 6 and 16 discordant: (1 + 22 + 231 + 1540 + 7315 + 26334 + 74613) / 2^22, twice
    assert missing_p(6, 16) == pytest.approx(2 * 110056 / 2**22)
    assert missing_p(0, 0) == missing_p(5, 5) == 1
    assert missing_p(0, 6) == pytest.approx(2 / 64)


def test_missing_p_is_statsmodels_and_symmetric() -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = np.meshgrid(np.arange(8), np.arange(8))
    found = missing_p(a, b)
    assert (found == found.T).all()
    for i, j in np.ndindex(8, 8):
        if i + j:
            exact = mcnemar([[90, i], [j, 3]], exact=True).pvalue
            assert found[i, j] == pytest.approx(exact, rel=1e-12)


def test_worst_case_fills_what_is_missing() -> None:
    # nothing missing; one of four; nothing scored
    values = worst_case_values([4.0, 3.0, math.nan], [4, 3, 0], [0, 1, 4], fill=1.0)
    assert values.tolist() == [4.0, (3 * 3 + 1) / 4, 1.0]
    best = worst_case_values([[4.0, 3.0]], [[4, 3]], [[0, 1]], fill=5.0)
    assert best.tolist() == [[4.0, 3.5]]
    with pytest.raises(ValueError, match="has no samples"):
        worst_case_values([1.0, 2.0], [1, 0], [0, 0], fill=1.0)


def test_failing_on_the_worst_is_no_gain() -> None:
    # Equal checkpoints scored 1 to 5; the candidate's lowest replies get no score.
    rng = np.random.default_rng(9)
    person = rng.normal(3, 0.4, (N_ROUNDS, 100, 1))
    champion, candidate = np.clip(person + rng.normal(0, 0.7, (2, N_ROUNDS, 100, 4)), 1, 5)
    failed = candidate < 1.9
    scored, n_scored = np.where(failed, 0, candidate).sum(axis=-1), (~failed).sum(axis=-1)
    observed = scored / np.maximum(1, n_scored)
    dropped = np.where(n_scored > 0, observed - champion.mean(axis=-1), 0)
    assert (paired_bounds(dropped, 0.05).lower > 0).mean() > 0.25
    worst = worst_case_values(observed, n_scored, failed.sum(axis=-1), fill=1.0)
    lower = paired_bounds(worst - champion.mean(axis=-1), 0.05).lower
    assert (lower > 0).mean() < 0.05


def test_holm_by_hand() -> None:
    # the example of Wikipedia's "Holm-Bonferroni method": 4 * .005, 3 * .01, 2 * .03, max with .04
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7]) == [0.7]
    assert holm([]) == []


def test_confidence_sequence_by_hand() -> None:
    # 1, 3: mean 2, sd 1 (over n); with n_star = 2 and alpha = .05: r2 = (a + log(1 + a)) / 2 for
    # a = -2 log .1 = 4.60517, so r2 = 3.16439
    lower = confidence_sequence([1.0, 3.0], alpha=0.05, n_star=2, burn_in=2)
    nr2 = 2 * (4.60517 + math.log(5.60517)) / 2
    width = math.sqrt(2 * (nr2 + 1) / (2 * nr2) * math.log(1 + math.sqrt(nr2 + 1) / 0.1))
    assert lower[0] == -math.inf
    assert lower[1] == pytest.approx(2 - width, abs=1e-5)


def test_confidence_sequence_is_tightest_near_n_star() -> None:
    d_N = np.tile([-1.0, 1.0], 1000)
    width = -confidence_sequence(d_N, alpha=0.05, n_star=200)[1::2] * np.sqrt(np.arange(2, 2001, 2))
    assert 2 * (1 + int(np.argmin(width))) == pytest.approx(200, rel=0.1)


def test_while_nobody_differs_there_is_no_bound() -> None:
    # A rare loss: 25 small gains in a row are not yet a reason to stop.
    lower = confidence_sequence(
        [0.05] * 25 + [-0.95] + [0.05] * 14, alpha=0.05, n_star=100, burn_in=20
    )
    assert (lower[:25] == -math.inf).all()
    assert np.isfinite(lower[25:]).all()
    assert (lower < 0).all()


def test_confidence_sequence_keeps_its_spread_far_from_zero() -> None:
    d_N = np.random.default_rng(5).normal(0, 1, 50)
    near, far = (confidence_sequence(d_N + m, alpha=0.05, n_star=50)[19:] - m for m in (0, 1e8))
    assert far == pytest.approx(near, abs=1e-5)


def test_peeking_is_paid_for() -> None:
    looks = range(10, 201, 10)
    d_RN = np.random.default_rng(6).normal(0, 1, (N_ROUNDS, 200))
    naive = np.any([paired_bounds(d_RN[:, :n], 0.05).lower > 0 for n in looks], axis=0)
    assert naive.mean() == pytest.approx(0.2, abs=0.03)
    lower = confidence_sequence(d_RN, alpha=0.05, n_star=100)
    assert (lower[:, 9::10] > 0).any(axis=1).mean() < 0.03
    assert (lower > 0).any(axis=1).mean() < 0.05
    better = confidence_sequence(d_RN + 0.4, alpha=0.05, n_star=100) > 0
    assert better.any(axis=1).mean() > 0.95
    assert np.mean(np.argmax(better, axis=1)) < 90


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_an_error_rate_of_a_half_is_refused(alpha: float) -> None:
    for call in (
        lambda: rate_bound(0, 10, alpha),
        lambda: bca_interval(SLEEP, alpha, seed=0),
        lambda: confidence_sequence(SLEEP, alpha=alpha, n_star=10),
    ):
        with pytest.raises(ValueError, match=r"between 0 and 0\.5"):
            call()


@pytest.mark.parametrize(
    ("worse", "better", "n", "margin", "excluded"),
    [
        (0, 0, 28, 0.1, False),
        (0, 0, 29, 0.1, True),  # 0.9 ** 29 = 0.047
        (0, 0, 58, 0.05, False),
        (0, 0, 59, 0.05, True),
        # Tango's statistic by hand: q = (12 - 18.8 + sqrt(6.8^2 + 800*6*.09)) / 400 = 0.0376,
        # (0 - 10) / sqrt(100 * (0.0752 + 0.09)) = -2.46
        (6, 6, 100, 0.1, True),
        (10, 0, 100, 0.1, False),
        (15, 10, 100, 0.1, False),
    ],
)
def test_harm_is_excluded_by_who_changed(
    worse: int, better: int, n: int, margin: float, excluded: bool
) -> None:
    assert bool(score_excludes(worse, better, n, margin, 0.05)) == excluded


@pytest.mark.parametrize("n", [20, 25, 41, 64, 200])
@pytest.mark.parametrize("better", [0.0, 0.02, 0.1])
def test_harm_at_the_margin_is_excluded_in_no_more_than_alpha(n: int, better: float) -> None:
    """Exactly, over every table that may be seen."""
    margin, total = 0.1, 0.0
    shares = [better + margin, better, 1 - 2 * better - margin]
    for c in range(n + 1):
        b = np.arange(n - c + 1)
        chance = stats.multinomial.pmf(
            np.stack([b, np.full_like(b, c), n - c - b], axis=-1),
            n,
            shares,
        )
        total += float(chance[score_excludes(b, c, n, margin, 0.05)].sum())
    assert total < 0.065


@pytest.mark.parametrize("margin", [0.0, 1.0, 12.0])
def test_a_share_rises_by_between_0_and_1(margin: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        score_excludes(0, 0, 20, margin, 0.05)
