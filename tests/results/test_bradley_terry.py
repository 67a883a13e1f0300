"""Strengths: a published table, two libraries, and the bootstrap in simulation."""

from typing import Any

import numpy as np
import pytest

from results.battles import FloatArray, RankingError, Tally, tally
from results.bradley_terry import (
    bootstrap,
    check_comparable,
    fit,
    fit_davidson,
    virtual_methods,
    with_virtual,
)
from tests.results.battle_tables import Columns, from_wins, simulated

TRUTH = np.array([0.8, 0.3, -0.2, -0.9])


def counted(columns: Columns) -> Tally:
    return tally(columns.battles(), np.random.default_rng(0))


def centred(values: Any) -> FloatArray:
    found: FloatArray = np.asarray(values) - np.mean(values)
    return found


def test_the_american_league_of_1987() -> None:
    # Agresti, Categorical Data Analysis: 13 games of each two teams; estimates against Baltimore.
    teams = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
    won = [[7, 9, 7, 7, 9, 11], [7, 5, 11, 9, 9], [7, 7, 8, 12], [6, 7, 10], [7, 12], [6]]
    wins_MM = np.zeros((7, 7))
    for i, row in enumerate(won):
        for j, count in enumerate(row, start=i + 1):
            wins_MM[i, j], wins_MM[j, i] = count, 13 - count
    strength_M = fit(wins_MM.sum(axis=1), wins_MM + wins_MM.T)
    published = [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0.0]
    against_last = dict(zip(teams, strength_M - strength_M[-1], strict=True))
    assert against_last == pytest.approx(dict(zip(teams, published, strict=True)), abs=6e-4)


def test_two_methods_by_hand() -> None:
    # 3 wins and 2 ties of 6: 4 of 6 points, so the log-odds are log 2.
    assert fit(np.array([4.0, 2.0]), np.array([[0.0, 6], [6, 0]])) == pytest.approx(
        [np.log(2) / 2, -np.log(2) / 2]
    )


def test_evalica_agrees() -> None:
    import evalica

    columns = simulated(TRUTH, np.random.default_rng(1), ties=0.2)
    counts = counted(columns)
    kinds = {"A": evalica.Winner.X, "B": evalica.Winner.Y, "tie": evalica.Winner.Draw}
    winners = [kinds[winner] for winner in columns.winner]
    exact: dict[str, Any] = {"tolerance": 1e-13, "limit": 100_000}
    theirs = evalica.bradley_terry(columns.first, columns.second, winners, **exact).scores
    expected = centred([np.log(theirs[name]) for name in counts.methods])
    assert fit(counts.wins_M, counts.games_MM) == pytest.approx(expected, abs=1e-6)

    newman = evalica.newman(columns.first, columns.second, winners, **exact)
    ours = fit_davidson(counts.won_MM, counts.ties_MM)
    expected = centred([np.log(newman.scores[name]) for name in counts.methods])
    assert ours.strength_M == pytest.approx(expected, abs=1e-6)


def test_evalica_agrees_on_weighted_pairs() -> None:
    import evalica

    counts = counted(simulated(TRUTH, np.random.default_rng(2), ties=0.2))
    rows, columns = np.nonzero(counts.won_MM)
    ties = np.argwhere(np.triu(counts.ties_MM))
    theirs = evalica.bradley_terry(
        [*rows.tolist(), *ties[:, 0].tolist()],
        [*columns.tolist(), *ties[:, 1].tolist()],
        [evalica.Winner.X] * len(rows) + [evalica.Winner.Draw] * len(ties),
        weights=[*counts.won_MM[rows, columns], *counts.ties_MM[ties[:, 0], ties[:, 1]]],
        tolerance=1e-13,
        limit=100_000,
    ).scores
    expected = centred(np.log([theirs[i] for i in range(len(TRUTH))]))
    assert fit(counts.wins_M, counts.games_MM) == pytest.approx(expected, abs=1e-6)


def test_statsmodels_agrees() -> None:
    import statsmodels.api as sm

    table = simulated(TRUTH, np.random.default_rng(3)).battles()
    counts = tally(table, np.random.default_rng(0))
    design = np.zeros((len(table.score_N), len(TRUTH)))
    rows = np.arange(len(design))
    design[rows, table.first_N], design[rows, table.second_N] = 1, -1
    model = sm.GLM(table.score_N, design[:, 1:], family=sm.families.Binomial())
    expected = centred([0, *model.fit(tol=1e-13).params])
    assert fit(counts.wins_M, counts.games_MM) == pytest.approx(expected, abs=1e-6)


def test_davidson_by_hand() -> None:
    # Two methods with 6 wins, 2 losses, 4 ties: the odds of winning are 3, and Davidson's tie
    # parameter is ties / sqrt(wins * losses).
    found = fit_davidson(np.array([[0.0, 6], [2, 0]]), np.array([[0.0, 4], [4, 0]]))
    assert found.strength_M == pytest.approx([np.log(3) / 2, -np.log(3) / 2])
    assert found.tie == pytest.approx(4 / np.sqrt(12))


def test_davidson_without_ties_is_bradley_terry() -> None:
    counts = counted(simulated(TRUTH, np.random.default_rng(4), ties=0.0))
    found = fit_davidson(counts.won_MM, counts.ties_MM)
    assert found.tie == 0
    assert found.strength_M.tolist() == fit(counts.wins_M, counts.games_MM).tolist()


def test_half_a_virtual_game_and_only_where_needed() -> None:
    # a beats b in 10 of 10: both get half a game, so b has 1 of 11.
    assert fit(np.array([10.0, 0]), np.array([[0.0, 10], [10, 0]])) == pytest.approx(
        [np.log(10) / 2, -np.log(10) / 2]
    )
    # c lost to a twice and to b once; its half game is won 2/3 against a and 1/3 against b.
    wins_BM = np.array([[5.0, 4, 0]])
    games_BMM = np.array([[[0.0, 6, 2], [6, 0, 1], [2, 1, 0]]])
    wins, games = with_virtual(wins_BM, games_BMM)
    assert wins.tolist() == [[5, 4, 0.5]]
    assert (games - games_BMM)[0] == pytest.approx(
        np.array([[0, 0, 1 / 3], [0, 0, 1 / 6], [1 / 3, 1 / 6, 0]])
    )
    untouched = with_virtual(np.array([[5.0, 3.5, 0.5]]), games_BMM)
    assert untouched[1] is games_BMM


def test_methods_with_virtual_games_are_named() -> None:
    counts = counted(
        from_wins({("a", "b"): 9, ("b", "a"): 2, ("a", "c"): 3, ("b", "c"): 3, ("d", "a"): 2})
    )
    assert virtual_methods(counts) == ("c", "d")
    check_comparable(counts)


def test_groups_that_never_met_are_named() -> None:
    counts = counted(from_wins({("a", "b"): 9, ("b", "a"): 2, ("c", "d"): 3, ("d", "c"): 2}))
    with pytest.raises(RankingError, match=r"2 groups of methods never met: a, b / c, d; compare"):
        check_comparable(counts)


def test_groups_of_which_one_won_all_are_named() -> None:
    apart = {("a", "b"): 9, ("b", "a"): 2, ("c", "d"): 3, ("d", "c"): 2, ("b", "c"): 7}
    with pytest.raises(RankingError, match=r"one side winning every game: .*a, b.*; collect"):
        check_comparable(counted(from_wins(apart)))
    check_comparable(counted(from_wins(apart | {("d", "a"): 1})))


def test_what_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("results.bradley_terry.MAX_STEPS", 1)
    counts = counted(simulated(TRUTH, np.random.default_rng(5)))
    with pytest.raises(RankingError, match="do not converge in 1 steps"):
        fit(counts.wins_M, counts.games_MM)


def test_a_resample_is_a_fit_of_its_people() -> None:
    # Against the slow way: each resample written out row by row (its tenth of an average cluster
    # apart, which is turned off here).
    columns = simulated(TRUTH, np.random.default_rng(6), n_people=12, each=60)
    counts = counted(columns)
    strength_M = fit(counts.wins_M, counts.games_MM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("results.bradley_terry.AVERAGE_SHARE", 0.0)
        found = bootstrap(counts, strength_M, 3, np.random.default_rng(7))
    drawn = np.random.default_rng(7).integers(0, 12, (3, 12), dtype=np.int32)
    for people, strengths in zip(drawn.tolist(), found, strict=True):
        rows = [60 * person + row for person in people for row in range(60)]
        again = counted(
            columns.of_rows(rows)._replace(person=[f"p{n % 10}" for n in range(len(rows))])
        )
        assert strengths == pytest.approx(fit(again.wins_M, again.games_MM), abs=1e-7)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = counted(simulated(TRUTH, np.random.default_rng(8)))
    whole = bootstrap(counts, np.zeros(4), 100, np.random.default_rng(9))
    monkeypatch.setattr("results.bradley_terry.CHUNK", 7 * 16)
    parts = bootstrap(counts, np.zeros(4), 100, np.random.default_rng(9))
    assert parts == pytest.approx(whole, abs=1e-8)


def test_resamples_that_fall_apart_stay_finite() -> None:
    # Only one person links a, b to c, d: a third of the resamples lack that person.
    columns = from_wins({("a", "b"): 12, ("b", "a"): 8, ("c", "d"): 9, ("d", "c"): 11})
    linked = Columns(
        [*columns.first, "a", "c"],
        [*columns.second, "c", "a"],
        [*columns.winner, "A", "A"],
        [*columns.person, "p0", "p0"],
        [*columns.words, 0.0, 0.0],
    )
    found = bootstrap(counted(linked), np.zeros(4), 500, np.random.default_rng(10))
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 10


def test_duplicated_comparisons_do_not_shrink_intervals() -> None:
    columns = simulated(TRUTH, np.random.default_rng(11), n_people=40, each=12)
    once, rows = counted(columns), [*range(480)] * 5
    five = counted(columns.of_rows(rows))
    as_if_alone = counted(
        columns.of_rows(rows)._replace(person=[f"row{number}" for number in range(len(rows))])
    )
    spread = {}
    for name, counts in (("once", once), ("five", five), ("alone", as_if_alone)):
        strength_M = fit(counts.wins_M, counts.games_MM)
        found = bootstrap(counts, strength_M, 1000, np.random.default_rng(12))
        spread[name] = found.std(axis=0)
    assert spread["five"] == pytest.approx(spread["once"], rel=1e-3)
    # Rows as people: five times the rows, 1 / sqrt(5) = 0.45 of the spread.
    assert np.mean(spread["alone"] / spread["once"]) == pytest.approx(0.45, abs=0.06)


def test_intervals_cover_with_people_and_not_with_rows() -> None:
    # Each comparison stands in the table four times, as from one person asked four times.
    rng, covered, covered_by_rows, rounds = np.random.default_rng(13), 0.0, 0.0, 300
    truth = centred(TRUTH)
    for _ in range(rounds):
        columns = simulated(truth, rng, n_people=80, each=8, ties=0.0)
        repeated = columns.of_rows([*range(640)] * 4)
        alone = repeated._replace(person=[f"row{number}" for number in range(640 * 4)])
        for by_rows, table in ((False, repeated), (True, alone)):
            counts = counted(table)
            strength_M = fit(counts.wins_M, counts.games_MM)
            resamples = bootstrap(counts, strength_M, 200, rng)
            lower_M, upper_M = np.quantile(resamples, (0.025, 0.975), axis=0)
            hit = float(np.mean((lower_M <= truth) & (truth <= upper_M)))
            if by_rows:
                covered_by_rows += hit / rounds
            else:
                covered += hit / rounds
    assert 0.92 < covered < 0.97
    assert covered_by_rows < 0.75
