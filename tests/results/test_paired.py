"""Two records side by side: by hand, and for any values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.paired import (
    Incomparable,
    missing_on_one_side,
    pair,
    pair_shared,
    refuse_other_people,
    refuse_unlike,
    worst_case,
)
from results.records import Measure
from tests.records import make_measure, make_record

CHAMPION = make_record("m0", relief={"ann": 1.0, "ben": 2.0, "cai": 3.0})


def test_people_scored_on_both_sides_are_paired_by_name() -> None:
    ours = Measure(values={"cai": 5.0, "ann": 0.5}, missing={"ben": 1})
    candidate = make_record("m1", measures={"relief": ours})
    found = pair(candidate, CHAMPION, "relief")
    assert found.metric == "relief"
    assert found.people == ("ann", "cai")
    assert found.champion_N.tolist() == [1.0, 3.0]
    assert found.candidate_N.tolist() == [0.5, 5.0]
    assert found.differences.tolist() == [-0.5, 2.0]


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_people_are_no_comparison(n: int) -> None:
    lost = dict.fromkeys(["ann", "ben", "cai"][n:], 1)
    ours = Measure(values=dict.fromkeys(["ann", "ben"][:n], 1.0), missing=lost)
    candidate = make_record("m1", measures={"relief": ours})
    with pytest.raises(Incomparable, match=f"'relief' has {n} people scored on both sides; at"):
        pair(candidate, CHAMPION, "relief")


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_people_who_were_asked_on_one_side_only_are_told(side: str) -> None:
    fewer = make_record("m1", relief={"ann": 0.5, "ben": 1.0})
    sides = (fewer, CHAMPION) if side == "candidate" else (CHAMPION, fewer)
    told = r"'relief': 1 people were asked on one side only \(cai, ...\); evaluate the same ones"
    with pytest.raises(Incomparable, match=told):
        pair(*sides, "relief")
    assert pair_shared(*sides, "relief").people == ("ann", "ben")


def test_who_was_asked_and_not_scored_was_asked() -> None:
    ours = Measure(values={"ann": 1.0}, missing={"ben": 1})
    refuse_other_people(ours, Measure(values={"ann": 1.0, "ben": 2.0}), "relief")
    with pytest.raises(Incomparable, match=r"1 people were asked on one side only \(ben, \.\.\.\)"):
        refuse_other_people(ours, Measure(values={"ann": 1.0}), "relief")


def test_a_measure_that_a_side_lacks_is_named_with_the_side() -> None:
    with pytest.raises(Incomparable, match="the candidate has no measure 'relief'; evaluate it"):
        pair(make_record("m1"), CHAMPION, "relief")
    with pytest.raises(Incomparable, match="the champion has no measure 'relief'"):
        pair(CHAMPION, make_record("m1"), "relief")


# What may be compared.


def test_the_same_suite_compares() -> None:
    refuse_unlike(make_record("m1"), make_record("m0"))


def test_another_benchmark_is_refused() -> None:
    other = make_record("m1", fields={"benchmark": "support"})
    with pytest.raises(Incomparable, match=r"different benchmarks \(support and loop\)"):
        refuse_unlike(other, CHAMPION)


def test_every_part_that_differs_is_named_and_no_other() -> None:
    ours = make_record("m1", fields={"suite": {"people": "a", "users": "u", "settings": "x"}})
    theirs = make_record("m0", fields={"suite": {"people": "b", "users": "u", "task": "t"}})
    with pytest.raises(Incomparable) as refused:
        refuse_unlike(ours, theirs)
    assert str(refused.value) == (
        "different suites: people (a and b), settings (x and absent), task (absent and t); "
        "evaluate both on the same one"
    )


def test_a_judge_of_a_shared_measure_must_be_the_same() -> None:
    ours = make_record("m1", fields={"judges": {"judge.fluency": "a" * 64, "judge.x": "only"}})
    theirs = make_record("m0", fields={"judges": {"judge.fluency": "b" * 64}})
    with pytest.raises(Incomparable) as refused:
        refuse_unlike(ours, theirs)
    assert f"different suites: judge of judge.fluency ({'a' * 12} and {'b' * 12});" in str(
        refused.value
    )


@pytest.mark.parametrize("side", ["candidate", "champion"])
def test_a_judge_that_one_side_does_not_name_is_no_judge_of_both(side: str) -> None:
    measures = {"judge.x": make_measure([1.0, 2.0])}
    named = make_record("m1", measures=measures, fields={"judges": {"judge.x": "a"}})
    nameless = make_record("m0", measures=measures)
    sides, shown = ((named, nameless), "a and absent")
    if side == "champion":
        sides, shown = (nameless, named), "absent and a"
    with pytest.raises(Incomparable, match=rf"judge of judge\.x \({shown}\)"):
        refuse_unlike(*sides)
    refuse_unlike(named, make_record("m0"))  # measured on one side only: nothing to compare


# What missing scores could hide.


def test_the_worst_case_by_hand() -> None:
    # ann: two of four scored 0.5 on our side -> (2 * 0.5 + 2 * 0) / 4; ben: none of ours;
    # cai: none of theirs; dot: whole on both; eve: failed there, and never asked here
    ours = Measure(
        values={"ann": 0.5, "cai": 0.4, "dot": 0.8},
        counts={"ann": 2, "cai": 1, "dot": 1},
        missing={"ann": 2, "ben": 1},
        scale=(0.0, 1.0),
    )
    theirs = Measure(
        values={"ann": 0.7, "ben": 0.3, "dot": 0.1}, missing={"cai": 3, "eve": 1}, scale=(0.0, 1.0)
    )
    found = worst_case(ours, theirs, "trust", "down")
    assert found.people == ("ann", "ben", "cai", "dot", "eve")
    assert found.candidate_N.tolist() == [0.25, 0.0, 0.4, 0.8, 0.0]
    assert found.champion_N.tolist() == [0.7, 0.3, 1.0, 0.1, 1.0]


def test_where_more_is_worse_the_worst_is_the_highest() -> None:
    ours = make_measure({"ann": 0.2}, failed=1, scale=(0.0, 1.0))
    theirs = make_measure({"ann": 0.4, "failed-00": 0.6}, scale=(0.0, 1.0))
    found = worst_case(ours, theirs, "gave_up", "up")
    assert found.candidate_N.tolist() == [0.2, 1.0]
    assert found.champion_N.tolist() == [0.4, 0.6]


def test_without_bounds_the_most_extreme_values_seen_stand_for_them() -> None:
    ours = make_measure({"ann": 3.0, "ben": 7.0}, failed=1)
    theirs = make_measure({"ann": -2.0, "failed-00": 5.0})
    found = worst_case(ours, theirs, "specificity", "down")
    assert dict(zip(found.people, found.candidate_N, strict=True))["failed-00"] == -2.0
    # ben was not asked of the champion: the best there is
    assert dict(zip(found.people, found.champion_N, strict=True))["ben"] == 7.0


def test_people_missing_on_one_side_are_counted_by_side() -> None:
    ours = Measure(values={}, missing={"ann": 1, "ben": 2, "cai": 1})
    theirs = Measure(values={}, missing={"cai": 1, "dot": 1})
    assert missing_on_one_side(ours, theirs) == (2, 1)


VALUES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-1, 1), min_size=2)
MISSING = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 3))


@settings(deadline=None)
@given(VALUES, VALUES, MISSING, MISSING, st.floats(-1, 1), st.floats(-1, 1))
def test_no_score_that_was_missed_could_make_it_worse(
    ours: dict[str, float],
    theirs: dict[str, float],
    we_miss: dict[str, int],
    they_miss: dict[str, int],
    our_fill: float,
    their_fill: float,
) -> None:
    scale = (-1.0, 1.0)
    one = Measure(values=ours, missing=we_miss, scale=scale)
    other = Measure(values=theirs, missing=they_miss, scale=scale)
    worst = worst_case(one, other, "relief", "down")

    def filled(measure: Measure, fill: float) -> list[float]:
        sides = []
        for p in worst.people:
            found = [measure.values[p]] if p in measure.values else []
            lost = measure.missing.get(p, 0 if found else 1)
            sides.append((sum(found) + fill * lost) / (len(found) + lost))
        return sides

    any_case = np.array(filled(one, our_fill)) - np.array(filled(other, their_fill))
    assert (worst.differences <= any_case + 1e-9).all()
