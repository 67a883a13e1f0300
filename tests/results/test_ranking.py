"""The ranking: what it shows, its invariances, its error rate, and its speed."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from results.battles import Battles, RankingError
from results.bradley_terry import DavidsonFit
from results.ranking import (
    Ranking,
    RankingSettings,
    _reorderings,
    rank_core,
    rank_methods,
)
from tests.results.battle_tables import Columns, from_wins, simulated

FEW = RankingSettings(n_resamples=200)
SWAPPED = {"A": "B", "B": "A", "tie": "tie"}


def ranked(columns: Columns, *, with_words: bool = False) -> Ranking:
    return rank_methods(columns.battles(with_words=with_words), FEW)


def swapped(columns: Columns, which: list[bool]) -> Columns:
    """The same comparisons with some shown in the other order."""
    return Columns(
        [b if s else a for a, b, s in zip(columns.first, columns.second, which, strict=True)],
        [a if s else b for a, b, s in zip(columns.first, columns.second, which, strict=True)],
        [SWAPPED[w] if s else w for w, s in zip(columns.winner, which, strict=True)],
        columns.person,
        [-words if s else words for words, s in zip(columns.words, which, strict=True)],
    )


def test_a_clear_order_is_shown() -> None:
    found = ranked(simulated([1.5, 0.5, 0.5, -2.5], np.random.default_rng(1), each=40))
    assert [method.name for method in found.methods[::3]] == ["m0", "m3"]
    assert [method.rank for method in found.methods] == [1, 2, 3, 4]
    assert [(m.rank_lower, m.rank_upper) for m in found.methods] == [(1, 1), (2, 3), (2, 3), (4, 4)]
    assert [method.group for method in found.methods] == ["a", "b", "b", "c"]
    assert sum(method.strength for method in found.methods) == pytest.approx(0)
    assert all(method.lower < method.strength < method.upper for method in found.methods)
    assert (found.n_comparisons, found.n_people) == (2000, 50)
    assert (found.tie_reorderings, found.virtual_games) == ((), ())
    assert (found.cyclic_triads.count, found.cyclic_triads.p_value) == (0, 1.0)


def test_counts_of_a_method() -> None:
    columns = from_wins({("a", "b"): 12, ("b", "a"): 7, ("c", "b"): 3, ("b", "c"): 5})
    tied = columns._replace(winner=["tie", *columns.winner[1:]])
    by_name = {method.name: method for method in ranked(tied).methods}
    found = {n: (m.wins, m.losses, m.ties, m.n_people) for n, m in by_name.items()}
    assert found == {"a": (11, 7, 1, 10), "b": (12, 14, 1, 10), "c": (3, 5, 0, 8)}


def test_few_people_show_nothing() -> None:
    # c lost all of its 9 games, one a person; with 9 people nothing is shown of it.
    few = ranked(from_wins({("c", "a"): 0, ("a", "c"): 9, ("a", "b"): 40, ("b", "a"): 10}))
    assert {m.name: (m.rank_lower, m.rank_upper) for m in few.methods} == {
        "a": (1, 2),
        "b": (2, 3),
        "c": (1, 3),
    }
    assert few.virtual_games == ("c",)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_showing_comparisons_in_the_other_order_changes_nothing(
    seed: int, data: st.DataObject
) -> None:
    columns = simulated([0.4, 0.0, -0.4], np.random.default_rng(seed), n_people=12, each=15)
    which = data.draw(st.lists(st.booleans(), min_size=180, max_size=180))
    before, after = (
        rank_core(columns.battles(), FEW),
        rank_core(swapped(columns, which).battles(), FEW),
    )
    assert after.strength_M == pytest.approx(before.strength_M, abs=1e-9)
    assert after.lower_M == pytest.approx(before.lower_M, abs=1e-6)
    assert after.ranks.better_MM.tolist() == before.ranks.better_MM.tolist()


def test_all_in_the_other_order_turns_the_slot_around() -> None:
    columns = simulated([0.4, 0.0, -0.4], np.random.default_rng(3), slot=0.5)
    before = ranked(columns, with_words=True)
    after = ranked(swapped(columns, [True] * 1000), with_words=True)
    assert [method.name for method in after.methods] == [method.name for method in before.methods]
    assert before.slot is not None
    assert after.slot is not None
    assert after.slot.value == pytest.approx(-before.slot.value)
    assert before.length is not None
    assert after.length is not None
    assert after.length.value == pytest.approx(before.length.value)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), names=st.permutations(["z", "y", "x", "w"]))
def test_other_names_permute_the_ranking(seed: int, names: list[str]) -> None:
    columns = simulated([0.8, 0.2, -0.2, -0.8], np.random.default_rng(seed), n_people=12, each=20)
    named = {f"m{number}": name for number, name in enumerate(names)}
    renamed = columns._replace(
        first=[named[name] for name in columns.first],
        second=[named[name] for name in columns.second],
    )
    before = {named[m.name]: m for m in ranked(columns).methods}
    after = {m.name: m for m in ranked(renamed).methods}
    for name, method in before.items():
        again = after[name]
        assert again.strength == pytest.approx(method.strength, abs=1e-8)
        assert (again.lower, again.upper) == pytest.approx((method.lower, method.upper), abs=1e-5)
        assert (again.rank_lower, again.rank_upper) == (method.rank_lower, method.rank_upper)


def test_the_same_seed_gives_the_same_record() -> None:
    columns = simulated([0.3, 0.0, -0.3], np.random.default_rng(4))
    first = rank_methods(columns.battles(with_words=True), FEW)
    assert Ranking.model_validate_json(first.model_dump_json()) == first
    assert rank_methods(columns.battles(with_words=True), FEW) == first
    other = rank_methods(columns.battles(), RankingSettings(n_resamples=200, seed=1))
    assert other.methods[0].lower != first.methods[0].lower
    assert other.methods[0].strength == first.methods[0].strength


def test_shown_pairs_that_swap_when_ties_are_modelled_are_named() -> None:
    core = rank_core(
        simulated([1.5, 0.5, 0.5, -2.5], np.random.default_rng(1), each=40).battles(), FEW
    )
    # m1 and m2 are not shown apart: they may swap. m3 above m2 is against what is shown.
    modelled = DavidsonFit(np.array([1.5, 0.2, -0.9, -0.8]), 0.1)
    assert _reorderings(core, modelled) == (("m2", "m3"),)
    assert _reorderings(core, DavidsonFit(core.strength_M, 0.1)) == ()


def test_slot_and_length_that_cannot_be_told_have_a_reason() -> None:
    columns = from_wins({("a", "b"): 30, ("b", "a"): 20})
    one_order = swapped(columns, [name == "b" for name in columns.first])
    found = ranked(one_order, with_words=True)
    assert (found.slot, found.length, found.at_equal_length) == (None, None, None)
    assert found.style_problem is not None
    assert "in both orders" in found.style_problem
    both = ranked(columns, with_words=True)  # every length difference is 0
    assert both.slot is not None
    assert (both.length, both.at_equal_length, both.style_problem) == (None, None, None)


def test_settings_are_checked() -> None:
    with pytest.raises(ValidationError):
        RankingSettings(n_resamples=10)
    with pytest.raises(ValidationError):
        RankingSettings(alpha=0)
    with pytest.raises(ValidationError):
        RankingSettings(alpha=1)


def test_what_cannot_be_ranked_is_refused() -> None:
    table: Battles = from_wins({("a", "b"): 9, ("c", "d"): 9}).battles()
    with pytest.raises(RankingError, match=r"never met: a, b / c, d"):
        rank_methods(table, FEW)


MEASURED = """
import resource, sys, time
import numpy as np
from results.battles import Battles
from results.ranking import RankingSettings, rank_core
n_people, n = int(sys.argv[1]), 1_000_000
rng = np.random.default_rng(0)
names = np.array([f"method-{number:02d}" for number in range(20)])
first = rng.integers(0, 20, n)
second = (first + rng.integers(1, 20, n)) % 20
odds = (second - first) / 10
winner = np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "A", "B")
winner[rng.random(n) < 0.1] = "t"
columns = [names[first].tolist(), names[second].tolist()]
columns.append(["tie" if name == "t" else name for name in winner.tolist()])
del first, second, odds, winner
columns.append([f"person-{number:05d}" for number in rng.integers(0, n_people, n).tolist()])
pages = int(open("/proc/self/statm").read().split()[1])
before = pages * resource.getpagesize() / 2**20
seconds = []
for _ in range(7):
    start = time.perf_counter()
    core = rank_core(Battles.of(*columns), RankingSettings())
    seconds.append(time.perf_counter() - start)
assert core.strength_M[0] > core.strength_M[10] > core.strength_M[19]
assert core.tally.games_MM.sum() == 2 * n
# of this program: `ru_maxrss` would be that of the process it was started from, if that is larger
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(min(seconds), int(peak) / 1024 - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("n_people", [500, 50_000])
def test_a_million_comparisons_in_a_second(n_people: int) -> None:
    # The memory counts from after the columns were made, so it is at most what is measured.
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(n_people)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, megabytes = map(float, done.stdout.split())
    print(f"{n_people} people: {seconds:.2f} s, {megabytes:.0f} MB")
    assert seconds <= 1.0
    assert megabytes <= 500
