"""Panels: by hand, against crowd-kit's stored estimates, and on Lend an Ear.

`data/make_dawid_skene.py` made the stored estimates and says how.
"""

import json
import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from benchmarks.ratings import RatedSet, load_rated
from judges.panel import (
    Method,
    NotConverged,
    PanelResult,
    PanelVerdict,
    aggregate,
    dawid_skene,
)

LEVELS = (1, 2, 3, 4, 5)
METHODS: tuple[Method, ...] = ("mean", "median", "majority", "reliability")
STORED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "data" / "dawid_skene.json").read_text("utf-8")
)
UNSMOOTHED = 1e-10
"""crowd-kit's smallest count, which keeps its logarithms finite."""

Ratings = dict[str, dict[str, float | None]]


def rated(**rows: str) -> Ratings:
    """One character an item, "." for unscored."""
    return {
        judge: {f"item-{n:03d}": None if c == "." else float(c) for n, c in enumerate(row)}
        for judge, row in rows.items()
    }


def values(result: PanelResult) -> list[float | None]:
    return [verdict.value for verdict in result.items.values()]


def one_hot(rows: list[str], levels: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    given_NJL = np.zeros((len(rows[0]), len(rows), levels))
    for j, row in enumerate(rows):
        for n, c in enumerate(row):
            if c != ".":
                given_NJL[n, j, int(c) - 1] = 1
    return given_NJL


PANEL = rated(a="1255.", b="1345.", c="14.4.", d="2...3")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [5 / 4, 3.0, 4.5, 14 / 3, None]),
        ("median", [1.0, 3.0, 4.5, 5.0, None]),
        ("majority", [1.0, None, None, 5.0, None]),
    ],
)
def test_methods_by_hand(method: Method, expected: list[float | None]) -> None:
    result = aggregate(PANEL, method, levels=LEVELS)
    assert values(result) == expected
    reasons = [verdict.reason for verdict in result.items.values()]
    tie = "tie" if method == "majority" else None
    assert reasons == [None, tie, tie, None, "too_few_judges"]
    assert (result.n_scored, result.n_total) == (sum(v is not None for v in expected), 5)


def test_spread_by_hand() -> None:
    result = aggregate(PANEL, "mean", levels=LEVELS)
    items = list(result.items.values())
    assert [verdict.n_judges for verdict in items] == [4, 3, 2, 3, 1]
    assert [verdict.spread for verdict in items] == [1, 2, 1, 1, 0]
    # 1 1 1 2: squares 3/16 + 9/16; 2 3 4: 2; 5 4: 1/2; 5 5 4: 2/3; over one less than there are
    expected = [np.sqrt(1 / 4), 1.0, np.sqrt(1 / 2), np.sqrt(1 / 3)]
    assert [v.sd for v in items[:4]] == pytest.approx(expected)
    assert items[4].sd is None
    # the widest first; of equal spreads the larger deviation; no disagreement of one judge
    assert result.disagreements == ("item-001", "item-002", "item-003", "item-000")
    assert result.scored_by == {"a": 4, "b": 4, "c": 3, "d": 2}


def test_a_plurality_is_a_majority() -> None:
    ratings = rated(a="1", b="1", c="2", d="3", e="4")
    assert values(aggregate(ratings, "majority", levels=LEVELS)) == [1.0]


def test_what_nobody_scored() -> None:
    verdict = aggregate(rated(a=".", b="."), "mean", levels=LEVELS).items["item-000"]
    assert verdict == PanelVerdict(
        value=None, reason="too_few_judges", n_judges=0, spread=None, sd=None
    )
    assert aggregate({}, "mean", levels=LEVELS).n_total == 0


def test_a_missing_item_is_unscored() -> None:
    with_none = rated(a="12", b="1.", c="21")
    without: Ratings = {**with_none, "b": {"item-000": 1.0}}
    for method in ("mean", "median", "majority"):
        assert aggregate(with_none, method, levels=LEVELS) == aggregate(
            without, method, levels=LEVELS
        )


def test_scores_between_levels_have_a_mean_but_no_majority() -> None:
    ratings: Ratings = {"a": {"x": 2.5}, "b": {"x": 3.0}}
    assert values(aggregate(ratings, "median", levels=LEVELS)) == [2.75]
    with pytest.raises(ValueError, match=r"judge 'a', item 'x': the score 2\.5 is none of the"):
        aggregate(ratings, "majority", levels=LEVELS)


@pytest.mark.parametrize("score", [0, 6, float("nan"), float("inf")])
@pytest.mark.parametrize("method", METHODS)
def test_a_score_off_the_scale_is_an_error(score: float, method: Method) -> None:
    with pytest.raises(ValueError, match=r"judge 'b', item 'x': .*give None where there is no"):
        aggregate({"a": {"x": 1.0}, "b": {"x": score}}, method, levels=LEVELS)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="two or more in ascending order"):
        aggregate(PANEL, "mean", levels=(5, 1))
    with pytest.raises(ValueError, match="min_judges is 0"):
        aggregate(PANEL, "mean", levels=LEVELS, min_judges=0)
    with pytest.raises(ValueError, match="reliability of 2 judges with scores: it takes 3"):
        aggregate(rated(a="12", b="12", c=".."), "reliability", levels=LEVELS)
    with pytest.raises(ValueError, match="give exactly one"):
        PanelVerdict(value=1.0, reason="tie", n_judges=2, spread=0, sd=0)


@pytest.mark.parametrize("name", STORED["panels"])
def test_dawid_and_skene_as_in_crowd_kit(name: str) -> None:
    panel = STORED["panels"][name]
    assert panel["moved"] < 1e-9
    given_NJL = one_hot(panel["ratings"], panel["levels"])
    fit = dawid_skene(given_NJL, smoothing=UNSMOOTHED)
    means = fit.posterior_NT @ np.arange(1, panel["levels"] + 1)
    assert np.abs(means - panel["values"]).max() < 1e-6
    diagonals = np.einsum("jtt->jt", fit.confusion_JTL)
    assert np.abs(diagonals - panel["diagonals"]).max() < 1e-6


def test_one_iteration_by_hand() -> None:
    # Two levels, shares of votes 1, 2/3, 0 for the first. Smoothing 0.
    given_NJL = one_hot(["112", "112", "122"], 2)
    # Judge 1 and 2 give the first level to items 1 and 2; judge 3 to item 1 only. True level 1 has
    # mass 5/3, level 2 has 4/3. P(1|1) = 1, 1, 3/5; P(1|2) = 1/4, 1/4, 0.
    # Item 2 (levels 1, 1, 2): 5/9 * 1 * 1 * 2/5 against 4/9 * 1/4 * 1/4 * 1 is 8 to 1: it moves
    # from 2/3 to 8/9, and the others not at all.
    with pytest.raises(NotConverged, match=r"3 judges on 3 items: .*by 0\.2 after 1 "):
        dawid_skene(given_NJL, smoothing=1e-12, max_iterations=1)
    fit = dawid_skene(given_NJL, smoothing=1e-12)
    assert fit.posterior_NT[:, 0] == pytest.approx([1, 1, 0], abs=1e-6)
    assert fit.confusion_JTL[2] == pytest.approx(np.array([[0.5, 0.5], [0, 1]]), abs=1e-6)


def test_reliability_hears_the_better_judge() -> None:
    rng = np.random.default_rng(7)
    truth = rng.integers(1, 6, 300)
    guesses = rng.integers(1, 6, (3, 300))
    rows = {"good": np.where(rng.random(300) < 0.95, truth, guesses[0])}
    rows |= {
        name: np.where(rng.random(300) < 0.4, truth, guesses[i]) for i, name in ((1, "x"), (2, "y"))
    }
    ratings = rated(**{judge: "".join(map(str, row)) for judge, row in rows.items()})
    result = aggregate(ratings, "reliability", levels=LEVELS)
    assert result.reliability is not None
    accuracy = {judge: found.accuracy for judge, found in result.reliability.judges.items()}
    assert accuracy["good"] > 0.8 > 0.65 > max(accuracy["x"], accuracy["y"])
    found = [verdict.most_probable for verdict in result.items.values()]
    right = statistics.fmean(f == t for f, t in zip(found, truth.tolist(), strict=True))
    majority = values(aggregate(ratings, "majority", levels=LEVELS))
    assert (
        right
        > statistics.fmean(m == t for m, t in zip(majority, truth.tolist(), strict=True)) + 0.1
    )


def test_reliability_is_consistent() -> None:
    panel = STORED["panels"]["five"]
    ratings = rated(**dict(zip("abcdef", panel["ratings"], strict=True)))
    result = aggregate(ratings, "reliability", levels=LEVELS)
    assert result.reliability is not None
    for verdict in result.items.values():
        assert verdict.probabilities is not None
        assert sum(verdict.probabilities) == pytest.approx(1)
        expected = sum(p * level for p, level in zip(verdict.probabilities, LEVELS, strict=True))
        assert verdict.value == pytest.approx(expected)
        assert verdict.most_probable is not None
        assert verdict.probabilities[verdict.most_probable - 1] == max(verdict.probabilities)
    for judge in result.reliability.judges.values():
        assert [sum(row) for row in judge.confusion] == pytest.approx([1.0] * 5)
    assert sum(result.reliability.level_shares) == pytest.approx(1)
    assert result.reliability.iterations > 1
    again = PanelResult.model_validate_json(result.model_dump_json())
    assert again == result


def test_items_with_too_few_judges_do_not_move_the_estimate() -> None:
    whole = rated(a="11223312", b="11223321", c="12223312")
    more: Ratings = {**whole, "a": {**whole["a"], "lonely": 5.0}}
    one, other = (aggregate(r, "reliability", levels=LEVELS) for r in (whole, more))
    assert one.reliability == other.reliability
    assert other.items["lonely"].reason == "too_few_judges"
    assert other.items["lonely"].probabilities is None


def test_not_converged_is_no_value() -> None:
    panel = STORED["panels"]["five"]
    ratings = rated(**dict(zip("abcdef", panel["ratings"], strict=True)))
    with pytest.raises(NotConverged, match="judge more items, or use the median"):
        aggregate(ratings, "reliability", levels=LEVELS, max_iterations=2)


scores = st.one_of(st.none(), st.sampled_from([float(level) for level in LEVELS]))
panels = st.integers(3, 5).flatmap(
    lambda n_judges: st.lists(st.tuples(*[scores] * n_judges), min_size=1, max_size=8)
)


def as_ratings(rows: list[tuple[float | None, ...]], names: list[str]) -> Ratings:
    return {
        name: {f"item-{n}": row[j] for n, row in enumerate(rows)} for j, name in enumerate(names)
    }


@settings(deadline=None, max_examples=60)
@given(rows=panels, method=st.sampled_from(["mean", "median", "majority"]), data=st.data())
def test_neither_order_nor_silent_judges_matter(
    rows: list[tuple[float | None, ...]], method: Method, data: st.DataObject
) -> None:
    names = [f"judge-{j}" for j in range(len(rows[0]))]
    ratings = as_ratings(rows, names)
    result = aggregate(ratings, method, levels=LEVELS)
    order = data.draw(st.permutations(names))
    assert aggregate({name: ratings[name] for name in order}, method, levels=LEVELS) == result
    silent: Mapping[str, float | None] = dict.fromkeys(ratings[names[0]], None)
    more = aggregate({"a-silent": silent, **ratings}, method, levels=LEVELS)
    assert more.scored_by == {"a-silent": 0, **result.scored_by}
    assert more.model_copy(update={"scored_by": result.scored_by}) == result
    for item, verdict in result.items.items():
        given_scores = [r[item] for r in ratings.values() if r[item] is not None]
        assert verdict.n_judges == len(given_scores)
        if verdict.value is not None:
            found = [score for score in given_scores if score is not None]
            assert min(found) <= verdict.value <= max(found)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), data=st.data())
def test_reliability_does_not_depend_on_order_or_silent_judges(
    seed: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, 6, 60)
    given_JN = np.where(rng.random((4, 60)) < 0.7, truth, rng.integers(1, 6, (4, 60)))
    ratings = rated(**{f"j{j}": "".join(map(str, row)) for j, row in enumerate(given_JN)})
    result = aggregate(ratings, "reliability", levels=LEVELS)
    order = data.draw(st.permutations(sorted(ratings)))
    silent: Mapping[str, float | None] = dict.fromkeys(ratings["j0"], None)
    other = aggregate(
        {"silent": silent, **{name: ratings[name] for name in order}}, "reliability", levels=LEVELS
    )
    assert other.items == result.items
    assert other.reliability == result.reliability


@pytest.fixture(scope="module")
def lend_an_ear() -> RatedSet:
    data = os.environ.get("SELFEVO_DATA")
    if data is None:
        pytest.skip("set SELFEVO_DATA to a folder that holds lend-an-ear/ to test on its ratings")
    return load_rated(f"lend-an-ear:{Path(data) / 'lend-an-ear'}")


@pytest.mark.parametrize("dimension", STORED["lend_an_ear"])
def test_lend_an_ear_as_in_crowd_kit(lend_an_ear: RatedSet, dimension: str) -> None:
    stored = lend_an_ear.stored_of(dimension)
    items = sorted(stored["gpt"])
    rows = ["".join(f"{stored[j][i]:.0f}" for i in items) for j in ("claude", "gemini", "gpt")]
    fit = dawid_skene(one_hot(rows, 5), smoothing=UNSMOOTHED)
    means = fit.posterior_NT @ np.arange(1, 6)
    estimate = STORED["lend_an_ear"][dimension]
    assert estimate["moved"] < 1e-8
    assert np.abs(means - estimate["values"]).max() < 1e-6
    diagonals = np.array(estimate["diagonals"])  # of the levels that were given: from 1 on
    is_estimated = fit.prior_T[: diagonals.shape[1]] > 0.001  # else no item is at the level
    ours = np.einsum("jtt->jt", fit.confusion_JTL)[:, : diagonals.shape[1]]
    assert np.abs(ours - diagonals)[:, is_estimated].max() < 1e-6


def test_fifty_items_hardly_determine_the_estimate(lend_an_ear: RatedSet) -> None:
    moved = {}
    for dimension in lend_an_ear.dimensions:
        result = aggregate(lend_an_ear.stored_of(dimension), "reliability", levels=LEVELS)
        assert result.reliability is not None
        assert result.reliability.iterations < 300
        found = np.array([result.items[item].value for item in sorted(result.items)], dtype=float)
        moved[dimension] = np.abs(found - STORED["lend_an_ear"][dimension]["values"]).max()
    assert min(moved.values()) > 0.1
    assert max(moved.values()) == pytest.approx(1, abs=0.01)


def test_accuracy_within_a_panel_is_not_agreement_with_people(lend_an_ear: RatedSet) -> None:
    stored = lend_an_ear.stored_of("dismissing_emotions")
    result = aggregate(stored, "reliability", levels=LEVELS)
    assert result.reliability is not None
    for judge, found in result.reliability.judges.items():
        assert found.accuracy > 0.6
        assert kappa_with_experts(lend_an_ear, "dismissing_emotions", stored[judge]) < 0.2


def kappa_with_experts(rated_set: RatedSet, dimension: str, panel: Mapping[str, float]) -> float:
    experts = rated_set.by_rater(dimension).values()
    items = sorted(panel)
    sides = [
        [panel[item] for item in items],
        [statistics.median(rater[item] for rater in experts) for item in items],
    ]
    nearest = [[min(LEVELS, key=lambda at: (abs(at - r), at % 2)) for r in side] for side in sides]
    return float(cohen_kappa_score(*nearest, weights="quadratic", labels=list(LEVELS)))


@pytest.mark.parametrize(
    ("method", "median_kappa"),
    [("mean", 0.66), ("median", 0.65), ("reliability", 0.66)],
)
def test_no_panel_beats_the_best_judge_of_lend_an_ear(
    lend_an_ear: RatedSet, method: Method, median_kappa: float
) -> None:
    single: dict[str, list[float]] = {}
    kappas = []
    for dimension in lend_an_ear.dimensions:
        stored = lend_an_ear.stored_of(dimension)
        result = aggregate(stored, method, levels=LEVELS)
        panel = {i: v.value for i, v in result.items.items() if v.value is not None}
        assert len(panel) == result.n_total == 50
        kappas.append(kappa_with_experts(lend_an_ear, dimension, panel))
        for judge, judged in stored.items():
            single.setdefault(judge, []).append(kappa_with_experts(lend_an_ear, dimension, judged))
    medians = {judge: round(statistics.median(found), 2) for judge, found in single.items()}
    assert medians == {"gpt": 0.66, "gemini": 0.64, "claude": 0.52}
    assert statistics.median(kappas) == pytest.approx(median_kappa, abs=0.005)
    assert statistics.median(kappas) < statistics.median(single["gpt"])
