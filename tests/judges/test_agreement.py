import math
import time
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from judges.agreement import (
    AgreementUndefined,
    Interval,
    Ratings,
    agreement,
    ceiling,
    consensus,
    exact_agreement,
    judge_minus_human,
    labels_needed,
    offset,
    pairwise_kappa,
    spearman,
    weighted_kappa,
)

LEVELS = (1, 2, 3, 4, 5)

# The data set `anxiety` of the R package irr: 20 persons, three raters, levels 1 to 6.
ANXIETY_1 = [3, 3, 3, 4, 5, 5, 2, 3, 5, 2, 2, 6, 1, 5, 2, 2, 1, 2, 4, 3]
ANXIETY_2 = [3, 6, 4, 6, 2, 4, 2, 4, 3, 3, 2, 3, 3, 3, 2, 2, 1, 3, 3, 4]

pairs = st.lists(st.tuples(st.sampled_from(LEVELS), st.sampled_from(LEVELS)), min_size=2)
varied_pairs = pairs.filter(lambda p: len({a for a, _ in p}) > 1 and len({b for _, b in p}) > 1)


def rated(values: Sequence[float], prefix: str = "item") -> dict[str, float]:
    return {f"{prefix}-{index:03d}": float(value) for index, value in enumerate(values)}


def drawn(n: int, seed: int, noise: float = 0.8) -> tuple[dict[str, float], dict[str, float]]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(2.5, 1, n)
    one, other = (np.clip(np.rint(truth + rng.normal(0, noise, n)), 1, 5) for _ in range(2))
    return rated(one.tolist()), rated(other.tolist())


def kappa_of(a: Ratings, b: Ratings) -> float:
    kappa = agreement(a, b, levels=LEVELS, seed=0, n_resamples=200).kappa
    assert kappa is not None
    return kappa.value


def test_kappa_by_hand() -> None:
    # Differences 0 0 1 2: mean square 5/4. All 16 pairs of a rating of each: 32/16.
    assert weighted_kappa([1, 2, 3, 4], [1, 2, 2, 2], LEVELS) == pytest.approx(
        1 - (5 / 4) / (32 / 16)
    )


def test_kappa_as_published() -> None:
    # irr's manual: kappa2(anxiety[,1:2], "squared") gives 0.297
    kappa = weighted_kappa(ANXIETY_1, ANXIETY_2, range(1, 7))
    assert round(kappa, 3) == 0.297
    found = agreement(rated(ANXIETY_1), rated(ANXIETY_2), levels=range(1, 7), seed=0)
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(kappa, abs=1e-12)


def test_a_level_that_nobody_used_keeps_its_place() -> None:
    a, b = [1, 2, 5, 5], [1, 5, 2, 5]
    over_all = weighted_kappa(a, b, LEVELS)
    assert over_all == cohen_kappa_score(a, b, weights="quadratic", labels=list(LEVELS))
    assert over_all != pytest.approx(cohen_kappa_score(a, b, weights="quadratic"))


def test_spearman_as_published() -> None:
    # IQ and hours of television of ten persons: rho = -29/165
    iq = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
    hours = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert spearman(iq, hours) == pytest.approx(-29 / 165)


def test_offset_and_exact_by_hand() -> None:
    assert offset([4, 5, 3], [3, 3, 3]) == 1
    assert exact_agreement([4, 5, 3, 1], [3, 5, 3, 2]) == 0.5


@settings(deadline=None)
@given(varied_pairs)
def test_agreement_computes_what_the_measures_do(pair: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pair], [y for _, y in pair]
    found = agreement(rated(a), rated(b), levels=LEVELS, seed=0, n_resamples=50)
    if found.kappa is not None:
        assert found.kappa.value == pytest.approx(weighted_kappa(a, b, LEVELS), abs=1e-12)
    if found.spearman is not None:
        assert found.spearman.value == pytest.approx(spearman(a, b), abs=1e-12)
    assert found.offset.value == pytest.approx(offset(a, b), abs=1e-12)
    assert found.exact.value == pytest.approx(exact_agreement(a, b), abs=1e-12)
    assert {"kappa", "spearman"} - found.undefined.keys() == {
        name for name in ("kappa", "spearman") if getattr(found, name) is not None
    }


@settings(deadline=None)
@given(varied_pairs)
def test_kappa_of_a_rater_with_themselves_is_1(pair: list[tuple[int, int]]) -> None:
    a = [x for x, _ in pair]
    assert weighted_kappa(a, a, LEVELS) == 1
    assert spearman(a, a) == pytest.approx(1)


@settings(deadline=None)
@given(varied_pairs)
def test_measures_are_symmetric_and_offset_changes_sign(pair: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pair], [y for _, y in pair]
    assert weighted_kappa(a, b, LEVELS) == pytest.approx(weighted_kappa(b, a, LEVELS), abs=1e-12)
    assert spearman(a, b) == pytest.approx(spearman(b, a), abs=1e-12)
    assert exact_agreement(a, b) == exact_agreement(b, a)
    assert offset(a, b) == -offset(b, a)


@settings(deadline=None)
@given(varied_pairs, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(pair: list[tuple[int, int]], random: Random) -> None:
    shuffled = list(pair)
    random.shuffle(shuffled)
    first, second = (
        weighted_kappa([x for x, _ in some], [y for _, y in some], LEVELS)
        for some in (pair, shuffled)
    )
    assert first == pytest.approx(second, abs=1e-12)


def test_the_order_of_a_mapping_changes_nothing_at_all() -> None:
    judge, human = drawn(30, seed=1)
    backwards = dict(reversed(judge.items()))
    first = agreement(judge, human, levels=LEVELS, seed=4)
    assert agreement(backwards, human, levels=LEVELS, seed=4) == first
    assert agreement(judge, human, levels=LEVELS, seed=5) != first


def test_an_inflated_judge_ranks_well_and_agrees_badly() -> None:
    human = rated([1, 1, 2, 2, 3, 3, 1, 2, 3, 1])
    judge = {item: rating + 2 for item, rating in human.items()}
    found = agreement(judge, human, levels=LEVELS, seed=0)
    assert found.spearman is not None
    assert found.spearman.value == 1
    assert found.offset == Interval(value=2, lower=2, upper=2)
    assert found.exact.value == 0
    # mean square 4; expected: 2 * variance 0.69 + squared difference of means 4
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(1 - 4 / (2 * 0.69 + 4))


def test_a_constant_judge_has_kappa_0_and_no_rank_correlation() -> None:
    human = rated([1, 2, 3, 4, 5, 4, 4, 4])
    found = agreement(dict.fromkeys(human, 4.0), human, levels=LEVELS, seed=0)
    assert found.kappa is not None
    assert found.kappa.value == 0
    assert found.spearman is None
    assert found.undefined == {
        "spearman": "no value: the ratings, or what they go with, are constant"
    }
    assert found.exact.value == 0.5


def test_two_constant_raters_have_no_kappa() -> None:
    with pytest.raises(AgreementUndefined, match="3 items with one and the same level"):
        weighted_kappa([4, 4, 4], [4, 4, 4], LEVELS)
    found = agreement(rated([4, 4, 4]), rated([4, 4, 4]), levels=LEVELS, seed=0)
    assert found.kappa is None
    assert found.undefined.keys() == {"kappa", "spearman"}
    assert found.exact.value == 1


def test_a_nearly_constant_rater_has_no_interval() -> None:
    # one item of six differs: a third of the resamples leave it out
    found = agreement(rated([4, 4, 4, 4, 4, 5]), rated([4, 4, 4, 4, 4, 5]), levels=LEVELS, seed=0)
    assert found.kappa is None
    assert "resamples: nearly constant" in found.undefined["kappa"]


def test_a_constant_rater_has_no_spearman() -> None:
    with pytest.raises(AgreementUndefined, match="constant over 3 items"):
        spearman([1, 2, 3], [2, 2, 2])


def test_items_without_a_rating_are_left_out_and_counted() -> None:
    judge, human = drawn(20, seed=2)
    less = {item: rating for item, rating in judge.items() if item != "item-003"}
    found = agreement(less, human, levels=LEVELS, seed=0)
    assert (found.n, found.n_total) == (19, 20)
    only = {item: rating for item, rating in human.items() if item != "item-003"}
    assert found.kappa == agreement(less, only, levels=LEVELS, seed=0).kappa


def test_ratings_between_levels_are_rounded_half_to_the_even_level() -> None:
    human = rated([1.5, 2.5, 3.5, 4.5, 2.6, 1.0])
    judge = rated([2, 2, 4, 4, 3, 1])
    found = agreement(judge, human, levels=LEVELS, seed=0)
    assert found.exact.value == 1
    assert found.kappa is not None
    assert found.kappa.value == 1
    assert found.offset.value == pytest.approx((0.5 - 0.5 + 0.5 - 0.5 + 0.4) / 6)


def test_unequally_spaced_levels_count_by_position() -> None:
    a, b = [0, 2, 10, 10, 2], [0, 10, 10, 2, 2]
    as_positions = weighted_kappa([0, 1, 2, 2, 1], [0, 2, 2, 1, 1], (0, 1, 2))
    assert weighted_kappa(a, b, (0, 2, 10)) == pytest.approx(as_positions)
    longer = agreement(rated(a * 4), rated(b * 4), levels=(0, 2, 10), seed=0)
    assert longer.kappa is not None
    assert longer.kappa.value == pytest.approx(as_positions)


def test_conversations_are_resampled_whole() -> None:
    # Each conversation is one draw copied four times: as items they look like four times the data.
    judge, human = drawn(12, seed=3)
    copies = [f"{item}/{copy}" for item in judge for copy in range(4)]
    many_judge = {copy: judge[copy.split("/")[0]] for copy in copies}
    many_human = {copy: human[copy.split("/")[0]] for copy in copies}
    clusters = {copy: copy.split("/")[0] for copy in copies}
    once = agreement(judge, human, levels=LEVELS, seed=0)
    whole = agreement(many_judge, many_human, levels=LEVELS, clusters=clusters, seed=0)
    loose = agreement(many_judge, many_human, levels=LEVELS, seed=0)
    assert whole.kappa == once.kappa
    assert loose.kappa is not None
    assert once.kappa is not None
    half = (once.kappa.upper - once.kappa.lower) / 2
    assert loose.kappa.upper - loose.kappa.lower == pytest.approx(half, rel=0.25)


@pytest.mark.parametrize(
    ("judge", "human", "told"),
    [
        ({"a": 1.0}, {"b": 1.0}, "0 rated items in 0 conversations"),
        ({"a": 1.0}, {"a": 1.0}, "1 rated items in 1 conversations"),
    ],
)
def test_too_little_to_compare(judge: Ratings, human: Ratings, told: str) -> None:
    with pytest.raises(AgreementUndefined, match=told):
        agreement(judge, human, levels=LEVELS, seed=0)


def test_what_is_wrong_is_named() -> None:
    good = rated([1, 2, 3])
    with pytest.raises(ValueError, match=r"item 'item-001' is rated 7; the levels are 1, 2, 3, 4"):
        agreement(rated([1, 7, 3]), good, levels=LEVELS, seed=0)
    with pytest.raises(ValueError, match="is rated nan"):
        agreement(rated([1, math.nan, 3]), good, levels=LEVELS, seed=0)
    with pytest.raises(ValueError, match=r"levels are 2, 1; give two or more in ascending order"):
        agreement(good, good, levels=(2, 1), seed=0)
    with pytest.raises(ValueError, match="item 'item-002' is in no cluster"):
        clusters = {"item-000": "x", "item-001": "y"}
        agreement(good, good, levels=LEVELS, clusters=clusters, seed=0)
    with pytest.raises(ValueError, match="2 ratings against 1"):
        weighted_kappa([1, 2], [1], LEVELS)
    with pytest.raises(ValueError, match="rating 6 is none of the levels"):
        weighted_kappa([1, 6], [1, 2], LEVELS)


def test_consensus_is_the_median_of_who_rated() -> None:
    raters = [{"a": 1.0, "b": 2.0}, {"a": 5.0, "b": 3.0}, {"a": 2.0, "c": 4.0}]
    assert consensus(raters) == {"a": 2, "b": 2.5, "c": 4}


def test_the_ceiling_is_each_rater_against_the_rest() -> None:
    one, two, three = rated([1, 2, 3, 4]), rated([1, 2, 4, 4]), rated([2, 2, 3, 5])
    found = ceiling([one, two, three], levels=LEVELS, seed=0)
    rests = ([2, 2, 4, 4], [2, 2, 3, 4], [1, 2, 4, 4])  # halves to the even level: 1.5, 3.5 4.5
    by_hand = [
        weighted_kappa([int(r) for r in rater.values()], rest, LEVELS)
        for rater, rest in zip((one, two, three), rests, strict=True)
    ]
    assert found.kappas == pytest.approx(by_hand)
    assert found.n_raters == 3
    assert found.n == 4
    # in resamples that draw one item alone a kappa may be missing: four items are too few
    assert (found.kappa is None) == ("kappa" in found.undefined)
    assert found.exact.value == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)


def test_two_raters_have_each_other_as_ceiling() -> None:
    one, other = drawn(40, seed=6)
    found = ceiling([one, other], levels=LEVELS, seed=0)
    assert found.kappa == agreement(one, other, levels=LEVELS, seed=0).kappa
    assert found.kappa == pairwise_kappa([one, other], levels=LEVELS, seed=0)


def test_pairs_of_raters_are_averaged() -> None:
    one, two = drawn(40, seed=6)
    three, _ = drawn(40, seed=7)
    found = pairwise_kappa([one, two, three], levels=LEVELS, seed=0)
    assert found.value == pytest.approx(
        (kappa_of(one, two) + kappa_of(one, three) + kappa_of(two, three)) / 3
    )
    assert found.lower < found.value < found.upper


def test_a_single_rater_has_no_ceiling() -> None:
    with pytest.raises(AgreementUndefined, match="1 rater"):
        ceiling([rated([1, 2, 3])], levels=LEVELS, seed=0)


def test_the_left_out_rater_as_judge_is_exactly_as_good() -> None:
    raters = [drawn(40, seed=8)[0], drawn(40, seed=8)[1]]
    found = judge_minus_human(raters[0], [raters[0], raters[1]], levels=LEVELS, seed=0)
    # judge = rater 0: against rater 1 it equals rater 0; against itself it is perfect
    assert found.value == pytest.approx((0 + 1 - kappa_of(raters[0], raters[1])) / 2)


def test_a_judge_at_the_truth_beats_noisy_people_and_a_random_one_loses() -> None:
    rng = np.random.default_rng(9)
    truth = rng.integers(1, 6, 120)
    raters = [rated(np.clip(truth + rng.integers(-2, 3, 120), 1, 5).tolist()) for _ in range(3)]
    good = judge_minus_human(rated(truth.tolist()), raters, levels=LEVELS, seed=0)
    bad = judge_minus_human(rated(rng.integers(1, 6, 120).tolist()), raters, levels=LEVELS, seed=0)
    assert good.lower > 0
    assert bad.upper < 0


@pytest.mark.parametrize(
    ("interval", "floor", "needed"),
    [
        # the half width 1/4 must fall below 1/8: four times the 50 items, and one more
        ((0.5, 0.25, 0.75), 0.375, 201),
        ((0.5, 0.25, 0.75), 0.625, 201),
        ((0.5, 0.375, 0.9), 0.375, 51),  # only the floor's side counts, and it just touches
        ((0.5, 0.25, 0.75), 0.125, 50),  # decided
        ((0.5, 0.25, 0.75), 0.5, None),
        ((0.5, 0.25, 0.75), 0.4999, None),  # 312 million items
        ((0.5, 0.5, 0.5), 0.25, 50),
    ],
)
def test_labels_needed(
    interval: tuple[float, float, float], floor: float, needed: int | None
) -> None:
    value, lower, upper = interval
    assert labels_needed(Interval(value=value, lower=lower, upper=upper), floor, n=50) == needed


def test_labels_needed_decide_when_they_are_there() -> None:
    judge, human = drawn(60, seed=10)
    kappa = agreement(judge, human, levels=LEVELS, seed=0).kappa
    assert kappa is not None
    floor = kappa.lower + 0.05
    needed = labels_needed(kappa, floor, n=60)
    assert needed is not None
    times = math.ceil(needed / 60)
    many_judge = {f"{i}/{t}": r for i, r in judge.items() for t in range(times + 1)}
    many_human = {f"{i}/{t}": r for i, r in human.items() for t in range(times + 1)}
    more = agreement(many_judge, many_human, levels=LEVELS, seed=0).kappa
    assert more is not None
    assert more.value == pytest.approx(kappa.value)
    assert kappa.lower < floor < more.lower


def test_fifty_items_take_less_than_a_second() -> None:
    judge, human = drawn(50, seed=11)
    start = time.perf_counter()
    agreement(judge, human, levels=LEVELS, seed=0, n_resamples=2000)
    assert time.perf_counter() - start < 1
