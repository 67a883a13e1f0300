"""Rank intervals and letters by hand, and their error rates in simulation."""

import numpy as np
import pytest

from results.rank_intervals import expansion, group_letters, percentile_intervals, rank_intervals
from results.ranking import RankingSettings, rank_core
from tests.results.battle_tables import simulated


def test_nothing_is_shown_where_nobody_was_asked_enough() -> None:
    found = rank_intervals(np.array([1.0, -1.0]), np.zeros((100, 2)), np.array([90, 9]), 0.05)
    assert not found.better_MM.any()
    assert (found.lower_M.tolist(), found.upper_M.tolist()) == ([1, 1], [2, 2])


def test_rank_intervals_by_hand() -> None:
    # Differences vary by 1 around 3, 3 and 0; only those of method 0 exceed the quantile.
    noise = np.random.default_rng(2).normal(0, 0.7, (4000, 3))
    strength_M = np.array([2.0, -1.0, -1.0])
    found = rank_intervals(strength_M, strength_M + noise, np.full(3, 10**6), 0.05)
    assert found.better_MM.tolist() == [[False, True, True], [False] * 3, [False] * 3]
    assert (found.lower_M.tolist(), found.upper_M.tolist()) == ([1, 2, 2], [1, 3, 3])
    # For three equal methods max-t is Tukey's range: 2.34 errors, not 1.96.
    for difference, shown in ((2.25, False), (2.45, True)):
        strength_M = np.array([difference * 0.7 * np.sqrt(2), 0, 0])
        found = rank_intervals(strength_M, strength_M + noise, np.full(3, 10**6), 0.05)
        assert found.better_MM[0].tolist() == [False, shown, shown]


@pytest.mark.parametrize(
    ("apart", "letters"),
    [
        ([], ["a", "a", "a", "a"]),
        ([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)], ["a", "b", "c", "d"]),
        ([(0, 2), (0, 3), (1, 3)], ["a", "ab", "bc", "c"]),
        ([(0, 3)], ["a", "ab", "ab", "b"]),
        # 0 and 3 are not shown apart, but 2 between them is shown apart from 0: no letter.
        ([(0, 2)], ["a", "ab", "b", "b"]),
    ],
)
def test_letters(apart: list[tuple[int, int]], letters: list[str]) -> None:
    apart_MM = np.zeros((4, 4), dtype=bool)
    for i, j in apart:
        apart_MM[i, j] = apart_MM[j, i] = True
    assert group_letters(apart_MM) == letters


def test_letters_do_not_run_out() -> None:
    assert group_letters(~np.eye(54, dtype=bool))[-3:] == ["Z", "[53]", "[54]"]


def test_expansion_by_hand() -> None:
    # 10 people: the t quantile 2.262 of 9 degrees, and 10 / 9 of the variance; many: no change.
    found = expansion(np.array([10, 10**7]), 0.05)
    assert found == pytest.approx([2.2622 * np.sqrt(10 / 9) / 1.95996, 1], abs=1e-4)


def test_percentiles_by_hand() -> None:
    # 1001 resamples at 0 ... 1000. Of many people: the 2.5% and 97.5% ones. Of 10: the 0.86% ones.
    resamples = np.tile(np.arange(1001.0)[:, None], 2)
    lower_M, upper_M = percentile_intervals(resamples, np.array([10**7, 10]), 0.05)
    assert lower_M == pytest.approx([25, 8.55], abs=0.01)
    assert upper_M == pytest.approx([975, 991.45], abs=0.01)


@pytest.mark.parametrize("n_people", [15, 60])
def test_intervals_cover_and_false_statements_are_rare(n_people: int) -> None:
    # Five equal methods, people with tastes of their own: any "better" is false.
    # (Without the expansion 15 people gave 11% false rankings and intervals that covered 91%.)
    rng, false, covered = np.random.default_rng(5), 0, 0.0
    for round_ in range(400):
        columns = simulated(np.zeros(5), rng, n_people=n_people, each=20, taste=0.8)
        core = rank_core(columns.battles(), RankingSettings(n_resamples=200, seed=round_))
        false += bool(core.ranks.better_MM.any())
        covered += float(np.mean((core.lower_M < 0) & (core.upper_M > 0))) / 400
    assert 0.015 < false / 400 < 0.085
    assert 0.92 < covered < 0.97
