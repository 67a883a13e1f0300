"""Lend an Ear: our measures must give the published figures, and those found before.

Published: the kappas of each pair of experts (arXiv 2506.10150, replication data). The authors gave
kappa no scale, so levels that neither rater used count for nothing and the distances shrink; with
the whole scale, which is what we report, the same ratings give up to 0.034 less or more.
"""

import csv
import os
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import median

import pytest
from sklearn.metrics import cohen_kappa_score

from benchmarks.ratings import RatedSet, load_rated
from judges.agreement import (
    Agreement,
    Ratings,
    agreement,
    ceiling,
    consensus,
    judge_minus_human,
    spearman,
)

LLMS = ("gpt", "claude", "gemini")


@pytest.fixture(scope="module")
def folder() -> Path:
    data = os.environ.get("SELFEVO_DATA")
    if data is None:
        pytest.skip("set SELFEVO_DATA to a folder that holds lend-an-ear/ to test on its ratings")
    return Path(data) / "lend-an-ear"


@pytest.fixture(scope="module")
def rated(folder: Path) -> RatedSet:
    return load_rated(f"lend-an-ear:{folder}")


def compared(a: Ratings, b: Ratings) -> Agreement:
    return agreement(a, b, levels=range(1, 6), seed=0, n_resamples=200)


def kappa(a: Ratings, b: Ratings) -> float:
    found = compared(a, b).kappa
    assert found is not None
    return found.value


def kappa_of_used_levels(a: Ratings, b: Ratings) -> float:
    items = sorted(a)
    pair = ([int(rater[item]) for item in items] for rater in (a, b))
    return float(cohen_kappa_score(*pair, weights="quadratic"))


def rank(a: Ratings, b: Ratings) -> float:
    items = sorted(a)
    return spearman([a[item] for item in items], [b[item] for item in items])


@pytest.mark.parametrize(
    ("column", "measure", "tolerance"),
    [
        ("Weighted Cohen's Kappa", kappa, 0.04),
        ("Weighted Cohen's Kappa", kappa_of_used_levels, 0.005),
        ("Spearman Correlation", rank, 0.005),
    ],
)
def test_experts_agree_as_published(
    folder: Path,
    rated: RatedSet,
    column: str,
    measure: Callable[[Ratings, Ratings], float],
    tolerance: float,
) -> None:
    with (folder / "published_expert_kappas.csv").open(encoding="utf-8") as file:
        published = {(r["Dimension"], r["Annotator Pair"]): r[column] for r in csv.DictReader(file)}
    pairs = (("expert1", "expert2"), ("expert2", "expert3"), ("expert3", "expert1"))
    differences = {}
    for dimension in rated.dimensions:
        raters = rated.by_rater(dimension)
        for pair in pairs:
            told = float(published[dimension, str(pair)])
            differences[dimension, pair] = abs(measure(*(raters[name] for name in pair)) - told)
    assert len(differences) == 18
    assert max(differences.values()) < tolerance


def all_pairs(rated: RatedSet, ones: str, others: str) -> list[Agreement]:
    """Every rater of one kind against every one of the other, in every dimension."""
    found: list[Agreement] = []
    for dimension in rated.dimensions:
        kinds = {
            "experts": [*rated.by_rater(dimension).values()],
            "llms": [rated.stored[name][dimension] for name in LLMS],
            "crowd": [rated.group_means["crowd"][dimension]],
        }
        pairs = (
            combinations(kinds[ones], 2)
            if ones == others
            else ((a, b) for a in kinds[ones] for b in kinds[others])
        )
        found.extend(compared(a, b) for a, b in pairs)
    return found


@pytest.mark.parametrize(
    ("ones", "others", "median_kappa", "median_exact"),
    [
        ("experts", "experts", 0.53, 0.53),
        ("experts", "llms", 0.54, 0.45),
        ("experts", "crowd", 0.35, 0.24),
        ("llms", "llms", 0.81, 0.63),
    ],
)
def test_pairs_of_raters(
    rated: RatedSet, ones: str, others: str, median_kappa: float, median_exact: float
) -> None:
    found = all_pairs(rated, ones, others)
    kappas = [pair.kappa.value for pair in found if pair.kappa is not None]
    assert len(kappas) == len(found)
    assert median(kappas) == pytest.approx(median_kappa, abs=0.02)
    assert median(pair.exact.value for pair in found) == pytest.approx(median_exact, abs=0.02)


def test_the_ceiling(rated: RatedSet) -> None:
    kappas: list[float] = []
    for dimension in rated.dimensions:
        raters = [*rated.by_rater(dimension).values()]
        found = ceiling(raters, levels=rated.levels, seed=0, n_resamples=200)
        assert found.kappas is not None
        kappas.extend(found.kappas)
    assert median(kappas) == pytest.approx(0.58, abs=0.02)


@pytest.mark.parametrize(
    ("judge", "median_kappa"),
    [("gpt", 0.66), ("gemini", 0.64), ("claude", 0.52), ("all", 0.65), ("crowd", 0.37)],
)
def test_stored_judges_against_the_experts_median(
    rated: RatedSet, judge: str, median_kappa: float
) -> None:
    kappas = []
    for dimension in rated.dimensions:
        stored = rated.stored_of(dimension)
        ratings = {
            **stored,
            "all": consensus([*stored.values()]),
            "crowd": rated.group_means["crowd"][dimension],
        }
        kappas.append(kappa(ratings[judge], consensus([*rated.by_rater(dimension).values()])))
    assert median(kappas) == pytest.approx(median_kappa, abs=0.02)


@pytest.mark.parametrize("judge", LLMS)
def test_judges_see_dismissal_where_experts_do_not(rated: RatedSet, judge: str) -> None:
    raters = [*rated.by_rater("dismissing_emotions").values()]
    ratings = rated.stored_of("dismissing_emotions")[judge]
    found = agreement(ratings, consensus(raters), levels=rated.levels, seed=0)
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx(0.16, abs=0.02)
    assert 1.4 < found.offset.value < 1.8
    assert found.spearman is not None
    assert found.spearman.value > 0.3
    # by about a quarter less kappa than one more expert, which 50 conversations just do not show
    worse = judge_minus_human(ratings, raters, levels=rated.levels, seed=0)
    assert worse.value < -0.2
    assert -0.05 < worse.upper < 0.05
