import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judges.agreement import AgreementUndefined
from judges.stability import icc_oneway, stability


def test_icc_as_published() -> None:
    # Shrout and Fleiss (1979), table 2: six targets, four judges; ICC(1,1) = .17
    targets = [
        [9, 2, 5, 8],
        [6, 1, 3, 2],
        [8, 4, 6, 8],
        [7, 1, 2, 6],
        [10, 5, 6, 9],
        [6, 2, 4, 7],
    ]
    icc = icc_oneway(targets)
    assert icc is not None
    assert round(icc, 2) == 0.17


def test_flip_rate_by_hand() -> None:
    # pairs that differ: 0 of 3, 2 of 3, 1 of 1; the last item was rated once
    repeats = {"a": [4.0, 4, 4], "b": [4.0, 3, 4], "c": [1.0, 2], "d": [5.0]}
    found = stability(repeats, seed=0)
    assert (found.n, found.n_total) == (3, 4)
    assert found.flip_rate.value == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert 0 <= found.flip_rate.lower <= found.flip_rate.value <= found.flip_rate.upper <= 1


def test_a_steady_judge() -> None:
    found = stability({"a": [4.0, 4], "b": [2.0, 2]}, seed=0)
    assert found.flip_rate.value == 0
    assert found.icc == 1


def test_the_same_answer_to_all_has_no_icc() -> None:
    assert stability({"a": [4.0, 4], "b": [4.0, 4]}, seed=0).icc is None
    assert icc_oneway([[1], [2]]) is None
    assert icc_oneway([[1, 2]]) is None


def test_nothing_repeated() -> None:
    with pytest.raises(AgreementUndefined, match="0 rated items"):
        stability({"a": [1.0], "b": [2.0]}, seed=0)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(1, 5), min_size=2, max_size=4), min_size=2, max_size=9))
def test_icc_is_at_most_1_and_does_not_know_the_unit(groups: list[list[int]]) -> None:
    icc = icc_oneway(groups)
    doubled = icc_oneway([[10 + 2 * rating for rating in group] for group in groups])
    if icc is None:
        assert doubled is None
    else:
        assert icc <= 1 + 1e-12
        assert doubled == pytest.approx(icc, abs=1e-9)
