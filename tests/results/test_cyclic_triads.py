"""Preferences in circles: by hand, and as often as chance has them."""

import numpy as np
import pytest

from results.battles import tally
from results.bradley_terry import fit_davidson
from results.cyclic_triads import CyclicTriads, cyclic_triads, design_effect
from tests.results.battle_tables import Columns, from_wins, simulated


def found_in(columns: Columns, seed: int = 0, n_draws: int = 500) -> CyclicTriads:
    counts = tally(columns.battles(), np.random.default_rng(0))
    strength_M = fit_davidson(counts.won_MM, counts.ties_MM).strength_M
    return cyclic_triads(counts, strength_M, seed=seed, n_draws=n_draws)


def circle(wins: int, losses: int) -> Columns:
    pairs = [("a", "b"), ("b", "c"), ("c", "a")]
    return from_wins(
        dict.fromkeys(pairs, wins) | {(loser, winner): losses for winner, loser in pairs}
    )


def test_rock_paper_scissors_is_found() -> None:
    found = found_in(circle(61, 40))
    assert (found.count, found.n_triads) == (1, 1)
    # Of three fair coins, two of the eight outcomes are circles.
    assert found.expected == pytest.approx(0.25, abs=0.06)
    assert found.p_value == pytest.approx(0.25, abs=0.06)


def test_an_order_has_no_circles() -> None:
    found = found_in(from_wins({("a", "b"): 30, ("b", "c"): 30, ("a", "c"): 30, ("c", "a"): 1}))
    assert (found.count, found.n_triads, found.expected, found.p_value) == (0, 1, 0.0, 1.0)


def test_two_circles_among_four() -> None:
    # a > b > c > d > a, a > c, b > d: of four triads, (a, b, d) and (a, c, d) are circles.
    beaten = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a"), ("a", "c"), ("b", "d")]
    found = found_in(from_wins(dict.fromkeys(beaten, 20)))
    assert (found.count, found.n_triads) == (2, 4)


def test_pairs_without_a_majority_make_no_triad() -> None:
    found = found_in(circle(60, 60))
    assert (found.count, found.n_triads) == (0, 0)


def test_many_circles_are_beyond_chance() -> None:
    # Seven methods, each of which beats the three after it: 14 circles, the most there can be.
    names = "abcdefg"
    wins = {(names[i], names[(i + step) % 7]): 30 for i in range(7) for step in (1, 2, 3)}
    found = found_in(from_wins(wins))
    assert (found.count, found.n_triads) == (14, 35)
    assert found.p_value < 0.06


def test_chance_alone_is_seldom_significant() -> None:
    # Each comparison stands in the table eight times. Draws that took them as alone would be too
    # regular: their test finds circles "beyond chance" in a third of these tables.
    rng, p_values = np.random.default_rng(1), []
    for round_ in range(150):
        columns = simulated([0.6, 0.4, 0.2, 0.0, -0.2, -0.4], rng, n_people=40, each=15)
        eightfold = columns.of_rows([*range(600)] * 8)
        p_values.append(found_in(eightfold, seed=round_, n_draws=200).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.08


def test_own_tastes_are_a_design_effect() -> None:
    columns = simulated([0.3, 0.0, -0.3], np.random.default_rng(3), each=100, taste=1.0)
    assert design_effect(tally(columns.battles(), np.random.default_rng(0))) > 1.8


def test_comparisons_alone_have_no_design_effect() -> None:
    columns = simulated([0.5, 0.0, -0.5], np.random.default_rng(2), n_people=2000, each=10)
    counts = tally(columns.battles(), np.random.default_rng(0))
    assert design_effect(counts) == pytest.approx(1, abs=0.04)
    fourfold = tally(columns.of_rows([*range(20_000)] * 4).battles(), np.random.default_rng(0))
    assert design_effect(fourfold) == pytest.approx(4 * design_effect(counts), rel=0.05)
