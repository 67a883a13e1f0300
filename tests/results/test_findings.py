"""Passed, open or failed: each by hand, and each round of a stack as by itself.

Of two people with differences 0 and 2 the mean is 1 and the standard error 1; of four with
0, 0, 2, 2 it is 0.577. t(0.95, 1) is 6.314, t(0.95, 3) is 2.353.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.findings import Finding, cap, goal, guard, joint
from results.paired import Direction
from results.stats import (
    confidence_sequence,
    equal_length,
    paired_bounds,
    rate_bound,
    sequence_width,
)

FAILED, OPEN, PASSED = Finding.FAILED, Finding.OPEN, Finding.PASSED
GAIN = [2.0, 3.0, 2.0, 3.0]
"""Mean 2.5, standard error 0.289: 1.82 to 3.18."""
DOUBT = [-2.0, 4.0, -2.0, 4.0]
"""Mean 1, standard error 1.73: -3.08 to 5.08."""
LOSS = [-2.0, -3.0, -2.0, -3.0]


def test_the_bounds_of_these_people_by_hand() -> None:
    raw = goal(GAIN, alpha=0.05).raw
    assert float(raw.lower) == pytest.approx(2.5 - 2.3534 * 0.57735 / 2, abs=1e-4)
    assert float(raw.upper) == pytest.approx(2.5 + 2.3534 * 0.57735 / 2, abs=1e-4)


# The goal.


@pytest.mark.parametrize(
    ("d", "delta_min", "finding"),
    [
        (GAIN, 0.0, PASSED),
        (GAIN, 2.5, PASSED),
        (GAIN, 2.6, OPEN),  # above 0, the mean falls short, 3.18 is still possible
        (GAIN, 3.2, FAILED),  # no more than 3.18
        (DOUBT, 0.0, OPEN),
        (DOUBT, 5.0, OPEN),
        (DOUBT, 5.1, FAILED),
        (LOSS, 0.0, FAILED),
        ([0.0] * 4, 0.0, OPEN),  # four without a change are no evidence either
        ([0.0] * 5, 0.0, FAILED),  # nothing changed, and nothing else is possible
        ([1.0] * 4, 1.0, OPEN),  # four equal gains are as likely as four heads: 1 in 16
        ([1.0] * 5, 1.0, PASSED),  # 1 in 32
    ],
)
def test_a_gain_is_shown_ruled_out_or_neither(
    d: list[float], delta_min: float, finding: Finding
) -> None:
    found = goal(d, alpha=0.05, delta_min=delta_min)
    assert found.finding == finding
    assert (found.even, found.worst) == (None, None)


def test_a_gain_of_length_alone_does_not_pass() -> None:
    length_d = np.linspace(-1, 10, 40)
    d = 5 * np.tanh(length_d / length_d.std(ddof=1)) + np.tile([0.5, -0.5], 20)
    assert goal(d, alpha=0.05).finding == PASSED
    found = goal(d, alpha=0.05, length_d=length_d)
    assert found.even is not None
    assert found.even.lower < 0 < found.even.upper
    assert found.finding == OPEN


def test_worse_at_equal_length_fails() -> None:
    length_d = np.linspace(-1, 10, 40)
    noise = np.tile([0.01, -0.01], 20)
    d = 5 * np.tanh(length_d / length_d.std(ddof=1)) - 1 + noise
    found = goal(d, alpha=0.05, length_d=length_d)
    assert found.raw.lower > 0
    assert found.even is not None and found.even.upper < 0
    assert found.finding == FAILED


def test_where_length_hides_every_gain_it_is_open() -> None:
    found = goal(GAIN, alpha=0.05, length_d=[10.0] * 4)
    assert found.even is not None
    assert np.isnan(found.even.mean)
    assert found.finding == OPEN


def test_a_loss_fails_though_length_hides_it() -> None:
    assert goal(LOSS, alpha=0.05, length_d=[10.0] * 4).finding == FAILED


def test_equal_length_changes_nothing_where_nobody_wrote_longer() -> None:
    found = goal(GAIN, alpha=0.05, length_d=[0.0] * 4)
    assert found.even == found.raw
    assert found.finding == PASSED


@pytest.mark.parametrize(
    ("worst_d", "finding"),
    [
        ([*GAIN, 2.0], PASSED),
        ([*GAIN, -8.0], OPEN),  # mean 0.4, below 0 is possible
        (LOSS, OPEN),  # even then: what nobody scored shows no harm
    ],
)
def test_the_worst_case_takes_a_pass_and_never_fails(
    worst_d: list[float], finding: Finding
) -> None:
    assert goal(GAIN, alpha=0.05, worst_d=worst_d).finding == finding


def test_the_worst_case_must_reach_the_smallest_gain_too() -> None:
    d, worst_d = [1.0, 1.1] * 10, [1.0, 1.1] * 10 + [0.5]
    assert goal(d, alpha=0.05, delta_min=1.04, worst_d=worst_d).finding == OPEN
    assert goal(d, alpha=0.05, delta_min=1.02, worst_d=worst_d).finding == PASSED


def test_an_evaluation_that_is_looked_at_while_it_grows_goes_by_its_sequence() -> None:
    d = np.tile([0.2, 1.0, -0.4, 0.6], 25)
    found = goal(d, alpha=0.05, planned_people=200)
    lower = confidence_sequence(d, alpha=0.05, n_star=200)[-1]
    upper = -confidence_sequence(-d, alpha=0.05, n_star=200)[-1]
    # the sequence divides by n, the bounds by n - 1
    assert (found.raw.lower, found.raw.upper) == pytest.approx((lower, upper), abs=1e-3)
    plain = paired_bounds(d, 0.05)
    assert lower < plain.lower < plain.upper < upper
    assert found.raw.mean == plain.mean
    assert found.finding == PASSED


def test_before_its_burn_in_it_shows_nothing() -> None:
    found = goal(GAIN, alpha=0.05, planned_people=200)
    assert float(found.raw.lower) == -np.inf
    assert float(found.raw.upper) == np.inf
    assert found.finding == OPEN


@pytest.mark.parametrize("planned", [None, 200])
def test_every_bound_of_a_growing_evaluation_is_wider(planned: int | None) -> None:
    d = np.tile([0.2, 1.0, -0.4, 0.6], 25)
    length_d = np.tile([1.0, -1.0, 2.0, 0.5], 25)
    found = goal(d, alpha=0.05, length_d=length_d, planned_people=planned)
    assert found.even is not None
    half = float(found.even.mean - found.even.lower)
    assert half == pytest.approx(float(found.even.upper - found.even.mean))
    plain = equal_length(d, length_d, 0.05)
    if planned is None:
        assert found.even == plain
    else:
        assert half == pytest.approx(
            float(plain.sd) * float(sequence_width(100, alpha=0.05, n_star=200))
        )
        assert half > float(plain.mean - plain.lower)


def test_the_worst_case_must_hold_at_equal_length_too() -> None:
    rng = np.random.default_rng(1)
    length_d = rng.normal(1, 1, 40)
    d = 0.42 + rng.normal(0, 0.6, 40)
    kept = goal(d, alpha=0.05, length_d=length_d, worst_d=d, worst_length_d=length_d)
    assert kept.finding == PASSED
    worst_d = np.append(d, -0.5)  # too little to hide the plain gain
    worst_length_d = np.append(length_d, -1.0)
    assert paired_bounds(worst_d, 0.05).lower > 0
    assert equal_length(worst_d, worst_length_d, 0.05).lower < 0
    found = goal(d, alpha=0.05, length_d=length_d, worst_d=worst_d, worst_length_d=worst_length_d)
    assert found.finding == OPEN


# A guard.


@pytest.mark.parametrize(
    ("n", "n_worse", "n_better", "finding"),
    [
        (20, 0, 0, OPEN),  # nobody of 20: the truth may be 14%
        (28, 0, 0, OPEN),
        (29, 0, 0, PASSED),  # 0.9 ** 29 is below 5%
        (41, 1, 0, OPEN),
        (46, 1, 0, PASSED),
        (64, 3, 3, PASSED),
        (20, 20, 0, FAILED),
    ],
)
def test_where_few_changed_harm_is_excluded_by_who_did(
    n: int, n_worse: int, n_better: int, finding: Finding
) -> None:
    d = np.array([1.0] * n_worse + [-1.0] * n_better + [0.0] * (n - n_worse - n_better))
    for worse, values in (("up", d), ("down", -d)):
        found = guard(values, margin=0.1, worse=worse, alpha=0.05, is_share=True)  # type: ignore[arg-type]
        assert found.finding == finding, worse
    if finding == OPEN and n_worse == 0:
        assert guard(d, margin=0.1, worse="up", alpha=0.05).finding == PASSED  # no share: by its t


def test_shares_of_several_repeats_go_by_their_t_bound() -> None:
    d = np.array([0.25, -0.25] * 10)
    plain = guard(d, margin=0.2, worse="up", alpha=0.05)
    assert guard(d, margin=0.2, worse="up", alpha=0.05, is_share=True) == plain


@pytest.mark.parametrize(
    ("d", "worse", "margin", "finding"),
    [
        (GAIN, "up", 3.2, PASSED),  # worse by 3.18 at most
        (GAIN, "up", 3.1, OPEN),
        (GAIN, "up", 1.9, OPEN),  # by 1.82 at least
        (GAIN, "up", 1.8, FAILED),
        (GAIN, "down", 0.1, PASSED),
        (LOSS, "down", 3.2, PASSED),
        (LOSS, "down", 3.1, OPEN),
        (LOSS, "down", 1.8, FAILED),
        (LOSS, "up", 0.1, PASSED),
        (DOUBT, "up", 5.0, OPEN),
        ([0.0] * 4, "up", 0.1, PASSED),
        ([0.1] * 4, "up", 0.1, OPEN),  # as likely as four heads
        ([0.1] * 5, "up", 0.1, FAILED),  # the margin itself is too much
    ],
)
def test_harm_is_ruled_out_shown_or_neither(
    d: list[float], worse: Direction, margin: float, finding: Finding
) -> None:
    assert guard(d, margin=margin, worse=worse, alpha=0.05).finding == finding


@pytest.mark.parametrize("worse", ["up", "down"])
def test_the_worst_case_takes_a_guards_pass(worse: Direction) -> None:
    sign = 1 if worse == "up" else -1
    d, worst_d = [0.0] * 20, [0.0] * 20 + [sign * 5.0]
    assert guard(d, margin=0.1, worse=worse, alpha=0.05).finding == PASSED
    found = guard(d, margin=0.1, worse=worse, alpha=0.05, worst_d=worst_d)
    assert found.finding == OPEN
    far = guard(d, margin=1.0, worse=worse, alpha=0.05, worst_d=worst_d)
    assert far.finding == PASSED
    helpful = [0.0] * 20 + [-sign * 1.0]
    assert guard(d, margin=0.1, worse=worse, alpha=0.05, worst_d=helpful).finding == PASSED


# A cap.


@pytest.mark.parametrize(
    ("events", "n", "limit", "finding"),
    [
        (0, 59, 0.05, PASSED),  # 1 - 0.05^(1/59) is 4.95%
        (0, 58, 0.05, OPEN),  # 5.03%
        (1, 59, 0.05, OPEN),
        (59, 59, 0.05, FAILED),
        (8, 59, 0.05, FAILED),  # 6.9% at least
        (6, 59, 0.05, OPEN),  # 4.6% at least
    ],
)
def test_a_rate_is_below_its_cap_above_or_neither(
    events: int, n: int, limit: float, finding: Finding
) -> None:
    assert cap(events, n, cap=limit, alpha=0.05).finding == finding


def test_the_bounds_of_a_rate_are_each_others_mirror() -> None:
    found = cap(8, 59, cap=0.05, alpha=0.05)
    assert found.rate == 8 / 59
    assert found.upper == rate_bound(8, 59, 0.05).upper
    assert found.lower == 1 - rate_bound(51, 59, 0.05).upper
    assert cap(0, 59, cap=0.05, alpha=0.05).lower == 0


# All together.


@pytest.mark.parametrize(
    ("findings", "together"),
    [
        ([PASSED, PASSED], PASSED),
        ([PASSED, OPEN], OPEN),
        ([OPEN, FAILED, PASSED], FAILED),
    ],
)
def test_one_failure_fails_and_all_must_pass(findings: list[Finding], together: Finding) -> None:
    assert joint([np.array(code, dtype=np.int8) for code in findings]) == together


def test_rounds_stay_apart() -> None:
    ours = np.array([PASSED, PASSED, FAILED], dtype=np.int8)
    theirs = np.array([PASSED, OPEN, OPEN], dtype=np.int8)
    always = np.array(PASSED, dtype=np.int8)
    assert joint([ours, theirs, always]).tolist() == [PASSED, OPEN, FAILED]


ROUNDS = st.integers(3, 8).flatmap(
    lambda n: st.lists(st.lists(st.integers(-4, 6), min_size=n, max_size=n), min_size=2, max_size=5)
)


@settings(deadline=None, max_examples=40)
@given(ROUNDS, st.integers(0, 3), st.booleans())
def test_a_leading_axis_gives_what_each_round_gives_alone(
    rounds: list[list[int]], shift: int, with_worst: bool
) -> None:
    d_RN = np.array(rounds, dtype=float) / 2
    length_RN = np.roll(d_RN, shift, axis=-1) * 3
    worst_RN = np.concatenate([d_RN, d_RN[:, :1] - 1], axis=-1) if with_worst else None
    alpha_R = np.linspace(0.01, 0.05, len(d_RN))
    together = goal(d_RN, alpha=alpha_R, delta_min=0.5, length_d=length_RN, worst_d=worst_RN)
    guarded = guard(d_RN, margin=1.0, worse="up", alpha=alpha_R, worst_d=worst_RN)
    for r in range(len(d_RN)):
        worst_d = None if worst_RN is None else worst_RN[r]
        alone = goal(
            d_RN[r], alpha=alpha_R[r], delta_min=0.5, length_d=length_RN[r], worst_d=worst_d
        )
        assert together.finding[r] == alone.finding
        assert together.even is not None and alone.even is not None
        assert np.array_equal(together.raw.lower[r], alone.raw.lower)
        np.testing.assert_allclose(together.even.lower[r], alone.even.lower)
        kept = guard(d_RN[r], margin=1.0, worse="up", alpha=alpha_R[r], worst_d=worst_d)
        assert guarded.finding[r] == kept.finding


def test_caps_of_many_rounds_at_once() -> None:
    events = np.array([0, 1, 8, 59])
    together = cap(events, 59, cap=0.05, alpha=0.05).finding
    alone = [int(cap(int(count), 59, cap=0.05, alpha=0.05).finding) for count in events]
    assert together.tolist() == alone == [PASSED, OPEN, FAILED, FAILED]


def test_the_even_bound_is_the_shipped_one() -> None:
    length_d = [1.0, 5.0, -2.0, 3.0]
    found = goal(DOUBT, alpha=0.05, length_d=length_d)
    assert found.even == equal_length(DOUBT, length_d, 0.05)
