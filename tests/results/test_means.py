import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.means import compare_means, group_letters, resampled_people, worst_tenth


def compared(values_PM: object, better: str = "up", seed: int = 1):  # type: ignore[no-untyped-def]
    values = np.asarray(values_PM, dtype=float)
    return compare_means(
        values,
        resampled_people(len(values), seed=seed),
        better="up" if better == "up" else "down",
    )


def people(n: int, *means: float, seed: int = 3) -> np.ndarray:
    """People who differ much from each other and little from themselves."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 3, (n, 1)) + np.array(means) + rng.normal(0, 0.3, (n, len(means)))


def test_differences_are_by_person_and_not_by_overlap() -> None:
    found = compared(people(30, 0.0, 0.5))
    assert found.lower_M[1] < found.mean_M[0] < found.upper_M[1]  # the intervals overlap
    assert found.rank_M.tolist() == [2, 1]
    assert found.group_M == ("b", "a")


def test_means_and_differences_are_those_of_the_people() -> None:
    found = compared([[1, 4], [2, 2], [6, 0]])
    assert found.mean_M.tolist() == [3, 2]
    assert found.difference_MM.tolist() == [[0, 1], [-1, 0]]


def test_the_lower_mean_leads_where_lower_is_better() -> None:
    values = people(30, 0.0, 0.5, 1.0)
    assert compared(values).rank_M.tolist() == [3, 2, 1]
    assert compared(values, "down").rank_M.tolist() == [1, 2, 3]


def test_ranks_are_ranges_where_nothing_is_shown() -> None:
    found = compared(people(40, 0.0, 0.01, 2.0))
    assert found.rank_lower_M.tolist() == [2, 2, 1]
    assert found.rank_upper_M.tolist() == [3, 3, 1]
    assert found.group_M == ("b", "b", "a")


def test_equal_methods_share_rank_and_group() -> None:
    values = people(12, 0.0)
    found = compared(np.hstack([values, values]))
    assert found.rank_M.tolist() == [1, 1]
    assert found.group_M == ("a", "a")
    assert found.half_MM.tolist() == [[0, 0], [0, 0]]


def test_a_constant_difference_needs_people_enough_for_a_sign_flip() -> None:
    few, many = people(5, 0.0), people(6, 0.0)  # two-sided, 2 / 2^5 > 5% > 2 / 2^6
    found = compared(np.hstack([few, few + 1]))
    assert found.group_M == ("a", "a")
    assert math.isnan(found.half_MM[0, 1])
    assert compared(np.hstack([many, many + 1])).group_M == ("b", "a")


def test_the_same_seed_gives_the_same_answer() -> None:
    values = people(15, 0, 0.2, 0.4)
    one, other = compared(values, seed=4), compared(values, seed=4)
    assert one.lower_M.tolist() == other.lower_M.tolist()
    assert one.half_MM.tolist() == other.half_MM.tolist()


@pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0], [math.nan]]])
def test_one_person_or_no_number_is_refused(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="two or more people and finite values"):
        compared(values)


def test_of_equal_methods_few_boards_tell_any_two_apart() -> None:
    """Family-wise error: any false separation among 15 pairs, in 400 boards of 40 people."""
    rng = np.random.default_rng(5)
    n_false, n_covered, n_boards = 0, 0.0, 400
    for board in range(n_boards):
        values = rng.normal(0, 0.5, (40, 1)) + rng.normal(0, 1, (40, 6))
        found = compared(values, seed=board)
        n_false += len(set(found.group_M)) > 1
        n_covered += float(((found.lower_M <= 0) & (found.upper_M >= 0)).mean())
    assert 0.025 <= n_false / n_boards <= 0.075
    assert 0.93 <= n_covered / n_boards <= 0.97


@pytest.mark.parametrize(("n_people", "n_methods"), [(3, 12), (6, 6), (12, 12)])
def test_few_people_tell_equal_methods_apart_no_more_often(n_people: int, n_methods: int) -> None:
    """The largest deviation of a resample alone does on 11 to 55% of these boards."""
    rng = np.random.default_rng(4)
    n_false, n_boards = 0, 300
    for board in range(n_boards):
        values = rng.normal(0, 1, (n_people, 1)) + rng.normal(0, 1, (n_people, n_methods))
        n_false += len(set(compared(values, seed=board).group_M)) > 1
    assert n_false / n_boards <= 0.09  # 5%, and three standard errors


def test_the_worst_tenth_by_hand() -> None:
    values = np.column_stack([np.arange(20.0), np.arange(20.0)[::-1] * 2])
    counts = resampled_people(20, seed=1)
    assert worst_tenth(values, counts, better="up").mean_M.tolist() == [0.5, 1.0]
    low = worst_tenth(values, counts, better="down")
    assert low.n == 2
    assert low.mean_M.tolist() == [18.5, 37.0]
    assert (low.upper_M >= low.mean_M).all()


def test_the_worst_tenth_of_a_resample_is_that_of_its_people() -> None:
    rng = np.random.default_rng(2)
    values, counts = rng.normal(size=(30, 1)), resampled_people(30, seed=6, n_resamples=400)
    drawn = [np.sort(np.repeat(values[:, 0], row.astype(int)))[:3].mean() for row in counts]
    found = worst_tenth(values, counts, better="up")
    assert found.lower_M[0] == pytest.approx(np.quantile(drawn, 0.0185), abs=0.02)
    assert min(drawn) <= found.lower_M[0] <= found.mean_M[0] + 1e-9


@given(st.integers(1, 7), st.data())
def test_two_methods_share_a_letter_if_and_only_if_they_are_not_apart(
    size: int, data: st.DataObject
) -> None:
    apart = np.zeros((size, size), dtype=bool)
    for i in range(size):
        for j in range(i):
            apart[i, j] = apart[j, i] = data.draw(st.booleans())
    letters = group_letters(apart, np.arange(size))
    for i in range(size):
        assert letters[i]
        for j in range(i):
            assert bool(set(letters[i]) & set(letters[j])) != apart[i, j]


def test_the_best_method_is_in_group_a() -> None:
    apart = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=bool)
    assert group_letters(apart, np.array([3, 1, 2])) == ("b", "a", "a")
