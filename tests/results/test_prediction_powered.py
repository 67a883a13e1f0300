"""Prediction-powered estimates: by hand, against two libraries' stored output, and in simulation.

`data/make_prediction_powered.py` made the stored output and says how.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from results import prediction_powered
from results.prediction_powered import Estimate, difference_estimate, mean_estimate

STORED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "prediction_powered.json").read_text("utf-8")
)
N_ROUNDS = 1200

Values = dict[str, float]


def named(values: Any) -> Values:
    return {f"p{index:04d}": float(value) for index, value in enumerate(values)}


def labels_and_judge(seed: int, n: int = 40, total: int = 200) -> tuple[Values, Values]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(3, 0.6, total)
    return named(truth[:n]), named(truth + rng.normal(0.4, 0.5, total))


def test_by_hand() -> None:
    # 20 labels, half -1 and half 1, that the judge gets right but for 2 too much; 20 others that
    # it gives -1 + 2 fifteen times and 1 + 2 five times, so that its mean falls by 0.5.
    label = [-1.0] * 10 + [1.0] * 10
    judge = [value + 2 for value in label] + [1.0] * 15 + [3.0] * 5
    found = mean_estimate(named(label), named(judge))
    # A label deviates by 1 and adds (1/20)^2 to the variance: 20/400 = 1/20. So does the judge on
    # the labelled items. On the others it deviates by 0.5 or 1.5: (15/4 + 5 * 9/4) / 400 = 15/400.
    weight = (1 / 20) / (1 / 20 + 15 / 400)
    assert found.judge_weight == pytest.approx(weight) == pytest.approx(4 / 7)
    assert found.value == pytest.approx(weight * -0.5)
    variance = (1 - weight) ** 2 / 20 + weight**2 * 15 / 400
    half = stats.t.ppf(0.975, 18) * math.sqrt(20 / 18 * variance)
    assert (found.lower, found.upper) == pytest.approx((found.value - half, found.value + half))
    alone = stats.ttest_1samp(label, 0).confidence_interval(0.95)
    assert (found.human_only.lower, found.human_only.upper) == pytest.approx(alone)
    assert found.gain == pytest.approx((1 / 20 * 20 / 19) / (variance * 20 / 18))
    assert found.judge_only == pytest.approx((20 * 2 + 15 * 1 + 5 * 3) / 40)
    assert found.label_shift == pytest.approx(0.5 / math.sqrt(1 / 20 + 15 / 400))
    assert (found.n_human, found.n_people, found.n_judge, found.n_left_out) == (20, 20, 40, 0)


def library_error(parts: prediction_powered._Parts, weight: float) -> float:
    """Our standard error without the correction for what was fitted, as the libraries have it."""
    people = parts.n_people
    return prediction_powered._standard_error(parts, weight) * math.sqrt((people - 2) / people)


@pytest.mark.parametrize("name", STORED["ppi"])
def test_at_the_same_weight_the_interval_is_ppi_pythons(name: str) -> None:
    case = STORED["ppi"][name]
    parts = prediction_powered._parts(named(case["human"]), named(case["judge"]), None)
    value, half = parts.human_mean + 0.5 * parts.move, 1.959963984540054
    half *= library_error(parts, 0.5)
    stored = (case["lower_at_half"], case["upper_at_half"])
    assert (value - half, value + half) == pytest.approx(stored, abs=1e-9)


@pytest.mark.parametrize("name", STORED["ppi"])
def test_the_estimate_is_nearly_ppi_pythons(name: str) -> None:
    # It pools the judge's variance, stops the weight at 1, and takes the normal quantile.
    case = STORED["ppi"][name]
    found = mean_estimate(named(case["human"]), named(case["judge"]))
    width = case["upper"] - case["lower"]
    assert found.value == pytest.approx(case["value"], abs=0.05 * width)
    assert 1.0 < (found.upper - found.lower) / width < 1.08


def test_clusters_are_nearly_glides() -> None:
    case = STORED["glide"]
    judge = named(case["judge"])
    people = {item: str(n // case["items_a_person"]) for n, item in enumerate(judge)}
    found = mean_estimate(named(case["human"]), judge, clusters=people)
    width = case["upper"] - case["lower"]
    assert (found.n_human, found.n_people) == (120, 40)
    assert found.value == pytest.approx(case["value"], abs=0.02 * width)
    assert 1.0 < (found.upper - found.lower) / width < 1.08
    as_if_alone = mean_estimate(named(case["human"]), judge)
    assert (as_if_alone.upper - as_if_alone.lower) / width < 0.75


def simulated(
    seed: int, *, agreement: float, bias: float, effect: float = 0.0, alpha: float = 0.05
) -> tuple[list[Estimate], float]:
    """Rounds of 200 people, 40 labelled; and how often the judge alone shows B better.

    Differences B - A have deviation 0.65 for people and for the judge, and correlate by
    `agreement`; the judge inflates B by `bias`.
    """
    rng = np.random.default_rng(seed)
    human, other = 0.65 * rng.normal(size=(2, N_ROUNDS, 200))
    judge = effect + bias + agreement * human + math.sqrt(1 - agreement**2) * other
    human += effect
    zero = named(np.zeros(200))
    zero_40 = named(np.zeros(40))
    found = [
        difference_estimate(zero_40, zero, named(h[:40]), named(j), alpha=alpha)
        for h, j in zip(human, judge, strict=True)
    ]
    promoted = stats.ttest_1samp(judge, 0, axis=1, alternative="greater").pvalue < 0.05
    return found, float(promoted.mean())


def share(found: list[Estimate], truth: float) -> float:
    return sum(e.lower <= truth <= e.upper for e in found) / len(found)


def test_a_biased_judge_is_corrected() -> None:
    found, judge_alone = simulated(1, agreement=0.65, bias=0.12)
    assert 0.925 < share(found, 0.0) < 0.975
    assert judge_alone > 0.78
    assert np.mean([e.judge_only for e in found]) == pytest.approx(0.12, abs=0.01)
    assert np.mean([e.value for e in found]) == pytest.approx(0.0, abs=0.01)
    widths = [(e.upper - e.lower) / (e.human_only.upper - e.human_only.lower) for e in found]
    assert np.mean(widths) < 0.85
    assert 1.3 < np.mean([e.gain for e in found]) < 1.7


def test_promotions_at_the_null_and_power() -> None:
    null, judge_alone = simulated(2, agreement=0.65, bias=0.12, alpha=0.1)
    assert judge_alone == pytest.approx(0.83, abs=0.03)
    assert sum(e.lower > 0 for e in null) / N_ROUNDS == pytest.approx(0.05, abs=0.015)
    better, _ = simulated(3, agreement=0.65, bias=0.12, effect=0.15, alpha=0.1)
    assert share(better, 0.15) == pytest.approx(0.9, abs=0.02)
    power = sum(e.lower > 0 for e in better) / N_ROUNDS
    assert power == pytest.approx(0.54, abs=0.05)
    assert power > sum(e.human_only.lower > 0 for e in better) / N_ROUNDS + 0.1


def test_a_useless_judge_does_no_harm() -> None:
    found, _ = simulated(4, agreement=0.0, bias=0.12)
    assert 0.925 < share(found, 0.0) < 0.975
    widths = [(e.upper - e.lower) / (e.human_only.upper - e.human_only.lower) for e in found]
    assert max(widths) < 1.03
    assert np.mean([e.judge_weight for e in found]) < 0.1


def test_clusters_hold_where_items_of_a_person_are_alike() -> None:
    rng = np.random.default_rng(5)
    people = {f"p{index:04d}": str(index // 4) for index in range(400)}
    covered = as_if_alone = 0
    for _ in range(500):
        human = np.repeat(rng.normal(0, 0.6, 100), 4) + rng.normal(0, 0.3, 400)
        judge = named(human + np.repeat(rng.normal(0.3, 0.4, 100), 4))
        labels = named(human[:120])
        found = mean_estimate(labels, judge, clusters=people)
        covered += found.lower <= 0 <= found.upper
        found = mean_estimate(labels, judge)
        as_if_alone += found.lower <= 0 <= found.upper
    assert 0.92 < covered / 500 < 0.98
    assert as_if_alone / 500 < 0.8


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    shift=st.floats(-5, 5),
    scale=st.floats(0.1, 10),
)
def test_the_judges_scale_does_not_matter(seed: int, shift: float, scale: float) -> None:
    human, judge = labels_and_judge(seed)
    found = mean_estimate(human, judge)
    other = mean_estimate(human, {item: shift + scale * value for item, value in judge.items()})
    assert (other.value, other.lower, other.upper) == pytest.approx(
        (found.value, found.lower, found.upper)
    )
    assert other.judge_weight == pytest.approx(found.judge_weight / scale)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_swapping_the_checkpoints_swaps_the_sign(seed: int) -> None:
    a, b = labels_and_judge(seed), labels_and_judge(seed + 5000)
    one, other = difference_estimate(*a, *b), difference_estimate(*b, *a)
    assert (other.value, other.lower, other.upper) == pytest.approx(
        (-one.value, -one.upper, -one.lower)
    )
    assert other.gain == pytest.approx(one.gain)


def test_a_difference_is_the_mean_of_the_differences() -> None:
    (human_a, judge_a), (human_b, judge_b) = labels_and_judge(1), labels_and_judge(2)
    human = {item: human_b[item] - human_a[item] for item in human_a}
    judge = {item: judge_b[item] - judge_a[item] for item in judge_a}
    assert difference_estimate(human_a, judge_a, human_b, judge_b) == mean_estimate(human, judge)


def test_one_sided_items_are_counted_and_left_out() -> None:
    a, b = labels_and_judge(1), labels_and_judge(2)
    whole = difference_estimate(*a, *b)
    (human_a, judge_a), (human_b, judge_b) = a, b
    found = difference_estimate({**human_a, "p0150": 9.0}, {**judge_a, "x": 9.0}, human_b, judge_b)
    assert found == whole.model_copy(update={"n_left_out": 2})


@pytest.mark.parametrize("n_others", [0, 19])
def test_with_few_others_the_judge_has_no_weight(n_others: int) -> None:
    human, judge = labels_and_judge(3, n=40, total=40 + n_others)
    found = mean_estimate(human, judge)
    assert (found.judge_weight, found.label_shift) == (0.0, None)
    assert found.value == found.human_only.value


@pytest.mark.parametrize("value", [0.1, 3.0])
def test_a_constant_judge_has_no_weight(value: float) -> None:
    human, judge = labels_and_judge(3)
    found = mean_estimate(human, dict.fromkeys(judge, value))
    assert (found.judge_weight, found.value) == (0.0, found.human_only.value)


def test_a_judge_that_ranks_the_other_way_round_has_no_weight() -> None:
    human, judge = labels_and_judge(3)
    found = mean_estimate(human, {item: -value for item, value in judge.items()})
    assert found.judge_weight == 0.0


def test_labels_of_the_best_show_in_the_shift() -> None:
    human, judge = labels_and_judge(3)
    drawn = mean_estimate(human, judge)
    assert drawn.label_shift is not None
    assert abs(drawn.label_shift) < 3
    best = sorted(judge, key=lambda item: -judge[item])[:40]
    chosen = mean_estimate({item: judge[item] for item in best}, judge)
    assert chosen.label_shift is not None
    assert chosen.label_shift > 5


def test_an_unlabelled_side_is_refused() -> None:
    human, judge = labels_and_judge(1)
    few = {item: human[item] for item in sorted(human)[:19]}
    for side, labels in (("B", {}), ("B", few)):
        with pytest.raises(ValueError, match=rf"side {side}: {len(labels)} labelled people; label"):
            difference_estimate(human, judge, labels, judge)
    with pytest.raises(ValueError, match=r"side A: 0 labelled people; label 20 or more"):
        difference_estimate({}, judge, human, judge)


def test_labels_of_different_people_are_refused() -> None:
    human, judge = labels_and_judge(1, n=60)
    items = sorted(human)
    ones, others = ({i: human[i] for i in part} for part in (items[:30], items[30:]))
    with pytest.raises(ValueError, match="both sides: 0 labelled people"):
        difference_estimate(ones, judge, others, judge)


def test_twenty_items_of_few_people_are_refused() -> None:
    human, judge = labels_and_judge(1)
    people = {item: str(index % 19) for index, item in enumerate(sorted(judge))}
    with pytest.raises(ValueError, match="19 labelled people"):
        mean_estimate(human, judge, clusters=people)


def test_other_errors_are_one_line() -> None:
    human, judge = labels_and_judge(1)
    unjudged = {item: value for item, value in judge.items() if item not in ("p0003", "p0007")}
    cases: list[tuple[str, Values, Values, dict[str, Any]]] = [
        ("2 labelled items have no value of the judge.*first 'p0003'", human, unjudged, {}),
        ("item 'p0001': the label of people is nan", {**human, "p0001": math.nan}, judge, {}),
        ("item 'p0150': the value of the judge is inf", human, {**judge, "p0150": math.inf}, {}),
        ("all 40 labels are 3: there is no spread", dict.fromkeys(human, 3.0), judge, {}),
        ("item 'p0000' is in no cluster", human, judge, {"clusters": {}}),
        ("alpha is 0", human, judge, {"alpha": 0}),
    ]
    for told, labels, values, settings_ in cases:
        with pytest.raises(ValueError, match=told) as caught:
            mean_estimate(labels, values, **settings_)
        assert "\n" not in str(caught.value)
