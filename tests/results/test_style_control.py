"""Slot and length: against statsmodels, and in simulation."""

import numpy as np
import pytest

from results.battles import Battles, RankingError, tally
from results.bradley_terry import fit
from results.style_control import style_control
from tests.results.battle_tables import Columns, from_wins, simulated


def test_statsmodels_agrees() -> None:
    import statsmodels.api as sm
    from scipy import stats

    columns = simulated(
        [0.5, 0.0, -0.5], np.random.default_rng(1), slot=0.4, length=0.6, longer=10, taste=0.5
    )
    table = columns.battles(with_words=True)
    assert table.words_N is not None
    found = style_control(table)
    spread = np.sqrt(np.mean(table.words_N**2))
    assert found.spread == pytest.approx(spread)
    rows = np.arange(len(table.score_N))
    design = np.zeros((len(rows), 3))
    design[rows, table.first_N], design[rows, table.second_N] = 1, -1
    more = np.column_stack([np.ones(len(rows)), np.tanh(table.words_N / spread)])
    theirs = sm.GLM(
        table.score_N, np.hstack([design[:, 1:], more]), family=sm.families.Binomial()
    ).fit(
        tol=1e-13,
        cov_type="cluster",
        cov_kwds={"groups": table.person_N, "use_correction": False},
    )
    # Strengths with mean 0 from those against the first method.
    contrasts = np.zeros((5, 4))
    contrasts[:3, :2] = np.array([[0, 0], [1, 0], [0, 1]]) - 1 / 3
    contrasts[3, 2] = contrasts[4, 3] = 1
    values = contrasts @ theirs.params
    errors = np.sqrt(np.diag(contrasts @ theirs.cov_params() @ contrasts.T) * 50 / 49)
    half = stats.t.ppf(0.975, 49) * errors
    assert found.length is not None
    ours = [*found.strengths.values(), found.slot, found.length]
    assert [interval.value for interval in ours] == pytest.approx(values, abs=1e-6)
    assert [interval.lower for interval in ours] == pytest.approx(values - half, abs=1e-6)
    assert [interval.upper for interval in ours] == pytest.approx(values + half, abs=1e-6)


def test_length_makes_a_method_and_control_unmakes_it() -> None:
    # Equal methods, of which the last one is a deviation longer, before a judge that likes length.
    columns = simulated(
        [0.0, 0.0, 0.0], np.random.default_rng(2), n_people=400, length=0.6, longer=20, slot=0.3
    )
    table = columns.battles(with_words=True)
    counts = tally(table, np.random.default_rng(0))
    raw = fit(counts.wins_M, counts.games_MM)
    assert raw[2] - raw[0] > 0.15
    found = style_control(table)
    assert found.length is not None
    # 1 in 10 ties by chance, which draws log-odds a little to 0.
    assert found.length.lower < 0.55 < found.length.upper
    assert found.slot.lower < 0.27 < found.slot.upper
    assert abs(found.strengths["m2"].value - found.strengths["m0"].value) < 0.08
    assert found.strengths["m2"].lower < 0 < found.strengths["m2"].upper


def test_balanced_orders_leave_the_strengths_alone() -> None:
    # Each comparison stands in both orders with the same answer: no slot, and the raw strengths.
    columns = simulated([0.5, 0.0, -0.5], np.random.default_rng(3))
    turned = {"A": "B", "B": "A", "tie": "tie"}
    both = Columns(
        columns.first + columns.second,
        columns.second + columns.first,
        columns.winner + [turned[name] for name in columns.winner],
        columns.person * 2,
        columns.words * 2,
    )
    table = both.battles()
    found = style_control(table)
    counts = tally(table, np.random.default_rng(0))
    raw = fit(counts.wins_M, counts.games_MM)
    assert found.slot.value == pytest.approx(0, abs=1e-10)
    assert [interval.value for interval in found.strengths.values()] == pytest.approx(raw)
    assert (found.length, found.spread) == (None, None)


def test_people_are_the_clusters() -> None:
    columns = simulated([0.5, 0.0, -0.5], np.random.default_rng(4), length=0.5)
    once = style_control(columns.battles(with_words=True))
    again = style_control(columns.of_rows([*range(1000)] * 4).battles(with_words=True))
    assert once.length is not None
    assert again.length is not None
    assert again.length.lower == pytest.approx(once.length.lower)
    assert again.slot.upper == pytest.approx(once.slot.upper)


def test_the_slot_interval_covers() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(400):
        columns = simulated([0.5, 0.0, -0.5], rng, n_people=60, each=10, ties=0.0, slot=0.4)
        found = style_control(columns.of_rows([*range(600)] * 3).battles()).slot
        hits += found.lower <= 0.4 <= found.upper
    assert 0.92 < hits / 400 < 0.975


def test_a_method_without_a_win_has_a_finite_strength() -> None:
    columns = from_wins({("a", "b"): 40, ("b", "a"): 20, ("a", "c"): 40})
    found = style_control(columns.battles())
    counts = tally(columns.battles(), np.random.default_rng(0))
    raw = fit(counts.wins_M, counts.games_MM)
    assert found.slot.value == pytest.approx(0, abs=1e-9)
    assert found.strengths["c"].value == pytest.approx(raw[2])


def test_one_order_only_is_refused() -> None:
    rows = 50
    table = Battles.of(
        ["a"] * rows,
        ["b"] * rows,
        ["A", "B"] * 25,
        [f"p{number % 10}" for number in range(rows)],
    )
    with pytest.raises(RankingError, match="show each pair in both orders"):
        style_control(table)


def test_a_slot_that_decides_everything_is_refused() -> None:
    columns = from_wins({("a", "b"): 100, ("b", "a"): 100})
    first_wins = columns._replace(winner=["A"] * 200)
    with pytest.raises(RankingError, match="decides \\(nearly\\) every comparison"):
        style_control(first_wins.battles())
