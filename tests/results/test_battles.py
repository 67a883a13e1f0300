"""Tables of comparisons: what is refused, and how they add up."""

import numpy as np
import pytest

from results import battles
from results.battles import Battles, RankingError, tally
from results.bradley_terry import bootstrap, fit
from tests.results.battle_tables import Columns, simulated

PEOPLE = [f"p{number}" for number in range(10)]


def test_names_become_numbers() -> None:
    table = Battles.of(
        ["b", "c"] * 5, ["a", "b"] * 5, ["A", "tie"] * 5, list(reversed(PEOPLE)), range(10)
    )
    assert table.methods == ("a", "b", "c")
    assert table.first_N.tolist() == [1, 2] * 5
    assert table.second_N.tolist() == [0, 1] * 5
    assert table.score_N.tolist() == [1.0, 0.5] * 5
    assert table.person_N.tolist() == list(range(9, -1, -1))
    assert table.n_people == 10
    assert table.words_N is not None
    assert table.words_N.tolist() == list(range(10))


def test_sums_by_hand() -> None:
    # a beats b three times (once from the second slot), b beats a once, they tie once; b ties c.
    first, second = ["a", "a", "b", "a", "b", "b"], ["b", "b", "a", "b", "a", "c"]
    winner = ["A", "A", "B", "B", "tie", "tie"]
    person = ["p0", "p0", "p1", "p1", "p2", "p2"]
    counts = tally(
        Battles.of(first + ["c"] * 7, second + ["b"] * 7, winner + ["A"] * 7, person + PEOPLE[3:]),
        np.random.default_rng(0),
    )
    assert counts.won_MM.tolist() == [[0, 3, 0], [1, 0, 0], [0, 7, 0]]
    assert counts.ties_MM.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert counts.games_MM.tolist() == [[0, 5, 0], [5, 0, 8], [0, 8, 0]]
    assert counts.wins_M.tolist() == [3.5, 2, 7.5]
    assert counts.n_people_M.tolist() == [3, 10, 8]
    assert list(zip(counts.low_K, counts.high_K, strict=True)) == [(0, 1), (1, 2)]
    assert counts.games_GK[:4].tolist() == [[2, 0], [2, 0], [1, 1], [0, 1]]
    assert counts.net_GK[:4].tolist() == [[2, 0], [0, 0], [0, 0], [0, -1]]
    assert counts.wins_GM[:4].tolist() == [[2, 0, 0], [1, 1, 0], [0.5, 1, 0.5], [0, 0, 1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"second": ["b"] * 9}, "the columns have 10, 9, 10, 10 entries"),
        ({"second": ["b"] * 4 + ["a"] + ["b"] * 5}, "comparison 5: 'a' against itself"),
        ({"winner": ["A", "B", "a", *["tie"] * 7]}, "comparison 3: the winner is 'a'"),
        ({"person": ["p"] * 10}, "needs 2 methods and 10 people; got 2 and 1"),
        ({"second": ["a"] * 10}, "needs 2 methods and 10 people; got 1 and 10"),
        ({"words": [0.0] * 9}, "the columns have 10, 10, 10, 10, 9 entries"),
        ({"words": [0.0] * 9 + [float("nan")]}, "comparison 10: the length difference is nan"),
    ],
)
def test_refusals_are_one_line(change: dict[str, list[str]], message: str) -> None:
    columns = {"first": ["a"] * 10, "second": ["b"] * 10, "winner": ["A"] * 10, "person": PEOPLE}
    with pytest.raises(RankingError, match=message) as refused:
        Battles.of(**{**columns, **change})  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(RankingError, match="got 0 and 0"):
        Columns([], [], [], [], []).battles()


def test_pools_of_people_give_the_intervals_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = simulated(
        [0.5, 0.0, -0.5], np.random.default_rng(1), n_people=4000, each=6, taste=1.0
    )
    widths = {}
    for clusters in (4000, 1000):
        monkeypatch.setattr(battles, "MAX_CLUSTERS", clusters)
        counts = tally(columns.battles(), np.random.default_rng(2))
        assert len(counts.wins_GM) == clusters
        strength_M = fit(counts.wins_M, counts.games_MM)
        resamples = bootstrap(counts, strength_M, 1000, np.random.default_rng(3))
        widths[clusters] = resamples.std(axis=0)
    assert widths[1000] == pytest.approx(widths[4000], rel=0.1)
