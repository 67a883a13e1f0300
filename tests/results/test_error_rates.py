"""The gate's error rates: every simulated one in its band, and the README tells the same."""

import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from results.error_rates import (
    ALPHA,
    N_ROUNDS,
    SEED,
    Row,
    among,
    guard_costs,
    main,
    simulate,
    table,
)
from results.findings import Finding
from results.simulated_people import GUARDS, N_PEOPLE, REPEATS, STRICT_GUARD, failing, talked
from results.stats import paired_p

README = Path(__file__).parents[2] / "README.md"
LARGEST_ERROR = 0.065
"""One and a half points above alpha, three standard errors of the simulation."""


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return simulate(n_rounds=2000, seed=7)


def named(rows: list[Row], start: str, n: int) -> list[Row]:
    """The scenarios that start so; there must be so many."""
    found = [row for row in rows if row.scenario.startswith(start)]
    assert len(found) == n
    return found


def test_a_candidate_without_a_gain_is_promoted_as_often_as_alpha_says(rows: list[Row]) -> None:
    for row in named(rows, "no gain: primary", 2):
        assert row.ours is not None
        assert 0.035 <= row.ours <= 0.065, row


def test_harm_at_the_margin_passes_no_more_often_than_alpha(rows: list[Row]) -> None:
    for row in [*named(rows, "worse by the margin", 4 + 4 + 2), *named(rows, "harm at the cap", 1)]:
        assert row.ours is not None
        assert row.ours <= LARGEST_ERROR, row


def test_a_gain_of_the_printed_size_is_found_in_80_percent(rows: list[Row]) -> None:
    for row in named(rows, "gain as planned for", 3):
        assert row.ours is not None
        assert 0.76 <= row.ours <= 0.84, row


@pytest.mark.parametrize(
    ("trap", "n"),
    [
        ("no gain: 4 conversations a person", 1),
        ("no gain: 10 conversations a person", 2),
        ("no gain: judge prefers the first slot", 1),
        ("no gain: judge likes length", 2),
        ("no gain: judge fails at the candidate's worst 1.5%", 1),
        ("no gain: a look every 10 people", 1),
        ("no gain: 10 candidates in turn", 1),
        ("no gain: the best of 5 candidates", 1),
    ],
)
def test_a_trap_takes_in_the_naive_gate_alone(rows: list[Row], trap: str, n: int) -> None:
    for row in named(rows, trap, n):
        assert row.naive is not None
        assert row.ours is not None
        assert row.ours <= LARGEST_ERROR < row.naive, row


def test_the_naive_gate_takes_what_is_refused_here(rows: list[Row]) -> None:
    # that it is refused: tests/selfevo/test_gate_is_findings.py
    (row,) = named(rows, "no gain: judge fails at the candidate's worst 6.4%", 1)
    assert row.naive is not None
    assert row.naive > LARGEST_ERROR
    assert row.ours is None


def test_no_scenario_is_untested(rows: list[Row]) -> None:
    assert len(rows) == 2 + 5 + 3 + 10 + 1 + 4 + 2


def test_the_readme_shows_this_table(rows: list[Row]) -> None:
    found = re.search(
        r"<!-- error rates -->\n(.*?)\n<!-- end -->", README.read_text("utf-8"), re.DOTALL
    )
    assert found, "README.md: no block between <!-- error rates --> and <!-- end -->"
    assert found[1].strip() == f"{table(rows)}\n\n{guard_costs()}"


def test_what_is_printed_by_default_is_what_is_tested() -> None:
    assert (N_ROUNDS, SEED, ALPHA) == (2000, 7, 0.05)


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["error_rates", "--rounds", "10", "--seed", "3"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| scenario | naive gate | this gate | must be |"
    assert "\n".join(lines) == f"{table(simulate(10, 3))}\n\n{guard_costs(10, 3)}"


def test_no_rounds_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["error_rates", "--rounds", "0"])
    with pytest.raises(SystemExit):
        main()
    assert "give at least one round" in capsys.readouterr().err


def test_the_table_by_hand() -> None:
    rows = [
        Row("a", None, 0.8, (0.76, 0.84)),
        Row("b", 0.1254, 0.0446, (0.0, 0.065)),
        Row("c", 0.3, None, (0.0, 0.065)),
    ]
    assert table(rows).splitlines()[2:] == [
        "| a |  | 80.0% | 76 to 84% |",
        "| b | 12.5% | 4.5% | at most 6.5% |",
        "| c | 30.0% | ERROR | ERROR |",
    ]


@pytest.mark.parametrize("rule", [*GUARDS, STRICT_GUARD], ids=lambda rule: rule.name)
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_simulated_harm_is_as_large_as_it_says(rule: object, share: float) -> None:
    assert isinstance(rule, type(STRICT_GUARD))
    harm = share * rule.margin * (1 if rule.worse == "up" else -1)
    d_RN = rule.draw(np.random.default_rng(1), 500, harm)
    assert d_RN.shape == (500, N_PEOPLE)
    assert abs(d_RN.mean() - harm) < 4 * d_RN.std() / math.sqrt(d_RN.size)


def test_simulated_people_gain_what_they_should() -> None:
    scores = talked(np.random.default_rng(2), 500, gain=np.repeat([0.0, 0.2], 250))
    assert scores.champion_RNK.shape == (500, N_PEOPLE, REPEATS)
    assert set(np.unique(scores.candidate_RNK)) == {1, 2, 3, 4, 5}
    assert scores.d_RN[:250].mean() == pytest.approx(0, abs=0.012)  # four standard errors
    assert scores.d_RN[250:].mean() == pytest.approx(0.2, abs=0.012 + 0.003)
    # people's gains, and what rounding leaves of the noise: 0.4^2 + 2 (0.52 + 1/12) / 4
    assert scores.d_RN[:250].var() == pytest.approx(0.46, abs=0.02)


def test_the_judge_fails_as_often_as_it_says_and_at_the_worst() -> None:
    scores, lost_RNK, failed_RNK = failing(np.random.default_rng(3), 200, 0.015, both=True)
    assert failed_RNK.mean() == pytest.approx(0.015, abs=0.001)
    assert lost_RNK.mean() == pytest.approx(0.015, abs=0.001)
    assert set(scores.candidate_RNK[failed_RNK]) == {1}
    scores, lost_RNK, failed_RNK = failing(np.random.default_rng(3), 200, 0.064, both=False)
    assert failed_RNK.mean() == pytest.approx(0.064, abs=0.002)
    assert not lost_RNK.any()
    assert scores.candidate_RNK[failed_RNK].max() == 2
    assert not failed_RNK.all(axis=-1).any()


def test_shares_of_alpha_are_holms() -> None:
    # With nothing but a t bound to pass, those that pass are those that Holm rejects.
    rng = np.random.default_rng(4)
    d_CRN = rng.normal(rng.uniform(0, 0.8, (4, 60, 1)), 1, (4, 60, 20))
    found_CR = among(d_CRN, ALPHA)
    p_CR = paired_p(d_CRN)
    order_CR = p_CR.argsort(axis=0)
    steps_C1 = ALPHA / np.arange(4, 0, -1)[:, None]
    so_far_CR = np.logical_and.accumulate(np.take_along_axis(p_CR, order_CR, 0) < steps_C1, axis=0)
    rejected_CR = np.empty_like(so_far_CR)
    np.put_along_axis(rejected_CR, order_CR, so_far_CR, axis=0)
    assert 0 < rejected_CR.mean() < 1
    np.testing.assert_array_equal(found_CR == Finding.PASSED, rejected_CR)
