"""What a comparison can show, told before it is run: by hand, and as `results/power.py` says."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from results.ledger import alpha_at, look
from results.paired import Incomparable
from results.power import (
    VarianceComponents,
    guard_power,
    minimum_detectable_effect,
    people_for,
)
from results.records import Measure, RunRecord
from results.stats import equal_length, paired_bounds
from selfevo import evolve
from selfevo.decision import hold
from selfevo.evolve import Checkpoint, Round, foretell
from selfevo.gate_config import Cap, GateConfig, Guard
from selfevo.plan import CapNeed, GuardChance, Plan, plan, told
from selfevo.run import Run
from tests.records import make_measure, make_record

N = 20
PEOPLE = [f"p{i:02}" for i in range(N)]
GAINS = dict(zip(PEOPLE, [0.0, 1.0, 2.0, 3.0] * 5, strict=True))
"""Mean 1.5; squares 1.25 a person, so the variance is 25 / 19."""
SD = math.sqrt(25 / 19)
NOBODY = dict.fromkeys(PEOPLE, 0.0)


def gate(**changes: Any) -> GateConfig:
    given = {"primary": "relief", "control_length": False, "guards": (), "caps": ()}
    return GateConfig(**{"delta_min": 0.5, **given, **changes})


def sides(**measures: Measure) -> tuple[RunRecord, RunRecord]:
    """A candidate with these measures and a champion with as many zeros."""
    champion = {name: m.model_copy(update={"values": NOBODY}) for name, m in measures.items()}
    return make_record("m1", measures=measures), make_record("m0", measures=champion)


RELIEF = sides(relief=make_measure(GAINS))


def found(*, alpha: float = 0.05, n: int = N, sd: float = SD, **more: float) -> float:
    given: dict[str, Any] = {"alpha": alpha, "power": 0.8, "delta_min": 0.5, **more}
    return minimum_detectable_effect(sd / math.sqrt(n), n, **given)


# The primary.


def test_with_the_same_people_it_is_the_effect_of_the_last_spread() -> None:
    planned = plan(*RELIEF, gate())
    assert (planned.metric, planned.people, planned.repeats) == ("relief", N, 1)
    assert planned.alpha == 0.05
    assert planned.detectable == found()
    # by hand, in standard errors of 0.2565: t(0.95, 19) + z(0.8) to be above 0, and z(0.8) to
    # reach the smallest gain; here that is the harder part
    se = SD / math.sqrt(N)
    assert planned.detectable == pytest.approx(0.5 + 0.842 * se, rel=0.02)
    free = plan(*RELIEF, gate(delta_min=0.0)).detectable
    assert free == pytest.approx((1.729 + 0.842) * se, rel=0.02)


def test_more_people_and_the_price_of_a_look_count() -> None:
    planned = plan(*RELIEF, gate(), alpha=0.01, people=80)
    assert (planned.people, planned.alpha) == (80, 0.01)
    assert planned.detectable == found(n=80, alpha=0.01)


def test_repeats_help_against_the_noise_of_repeats_only() -> None:
    # variance 1.316 with two repeats; samples vary by 0.5 on both sides: 0.816 + 1 / repeats
    counts = dict.fromkeys(PEOPLE, 2)
    noisy = make_measure(GAINS, counts=counts, within=0.5)
    planned = plan(*sides(relief=noisy), gate(), repeats=8)
    assert planned.repeats == 8
    assert planned.detectable == pytest.approx(found(sd=math.sqrt(25 / 19 - 0.5 + 1 / 8)))
    assert plan(*sides(relief=noisy), gate()).detectable == pytest.approx(found())


def test_repeats_help_the_guards_too() -> None:
    counts = dict.fromkeys(PEOPLE, 2)
    noisy = make_measure(GAINS, counts=counts, within=0.5)
    guarded = gate(guards=(Guard(metric="trust", margin=0.5, worse="up"),))
    chances = [
        plan(*sides(relief=noisy, trust=noisy), guarded, repeats=repeats).guards[0].chance
        for repeats in (1, 2, 8)
    ]
    assert chances == sorted(chances)
    assert chances[2] > chances[0] + 0.01


def test_a_guard_that_too_few_people_can_pass_is_told() -> None:
    """Nobody changed, so there is no spread; yet 20 such people do not exclude a harm of 5%."""
    still = make_measure(NOBODY, scale=(0.0, 1.0))
    guarded = gate(guards=(Guard(metric="unhelpful", margin=0.05),))
    both = sides(relief=make_measure(GAINS), unhelpful=still)
    assert plan(*both, guarded).guards[0].chance == 0
    assert plan(*both, guarded, people=200).guards[0].chance == 1
    assert "pass an unchanged model in less than half: unhelpful 0%" in told(plan(*both, guarded))


def test_people_needed_are_those_for_twice_the_smallest_gain() -> None:
    spread = VarianceComponents(between=25 / 19, within_a=0, within_b=0, repeats=1)
    expected = people_for(1.0, spread, 1, alpha=0.05, delta_min=0.5)
    assert plan(*RELIEF, gate()).needed == expected
    assert plan(*RELIEF, gate(), people=expected).detectable <= 1.0
    assert plan(*RELIEF, gate(), people=expected - 1).detectable > 1.0


def test_without_a_smallest_gain_no_number_is_named() -> None:
    planned = plan(*RELIEF, gate(delta_min=0.0))
    assert planned.needed is None
    assert not planned.is_underpowered


@pytest.mark.parametrize(("people", "is_weak"), [(10, False), (9, True)])
def test_it_is_underpowered_where_it_finds_only_more_than_twice_what_is_wanted(
    people: int, is_weak: bool
) -> None:
    assert plan(*RELIEF, gate(), people=people).is_underpowered == is_weak


def test_length_has_its_price() -> None:
    lengths = dict(zip(PEOPLE, [1.0, 9.0, 2.0, 8.0, 5.0] * 4, strict=True))
    both = sides(relief=make_measure(GAINS), **{"talk.length": make_measure(lengths)})
    d_N, length_N = list(GAINS.values()), list(lengths.values())
    ratio = float(equal_length(d_N, length_N, 0.05).se / paired_bounds(d_N, 0.05).se)
    assert ratio > 1.3
    planned = plan(*both, gate(control_length=True))
    assert planned.detectable == pytest.approx(found(inflation=ratio))


def test_where_length_hides_every_gain_it_says_so() -> None:
    longer = make_measure(dict.fromkeys(PEOPLE, 10.0))
    planned = plan(
        *sides(relief=make_measure(GAINS), **{"talk.length": longer}), gate(control_length=True)
    )
    assert planned.detectable == math.inf
    assert planned.needed is None
    assert planned.is_underpowered
    assert told(planned) == "no gain in relief could be told from one in length"


def test_lengths_of_other_people_are_no_plan() -> None:
    others = make_measure({"somebody": 1.0, "else": 2.0})
    candidate, champion = (
        record.model_copy(update={"measures": {**record.measures, "talk.length": others}})
        for record in RELIEF
    )
    with pytest.raises(Incomparable, match=r"'talk\.length' is known for 0 of the people"):
        plan(candidate, champion, gate(control_length=True))


def test_a_measure_that_is_not_there_is_no_plan() -> None:
    with pytest.raises(Incomparable, match="has no measure 'trust'"):
        plan(*RELIEF, gate(primary="trust"))


# Guards and caps.


def test_a_guard_is_told_by_how_often_it_passes_an_unchanged_model() -> None:
    rates = make_measure(dict(zip(PEOPLE, [0.0, 0.2] * 10, strict=True)))
    guards = (Guard(metric="copy_rate", margin=0.05), Guard(metric="copy_rate", margin=0.02))
    planned = plan(
        *sides(relief=make_measure(GAINS), copy_rate=rates), gate(guards=guards), people=60
    )
    sd = 0.1 * math.sqrt(20 / 19)
    assert planned.guards == tuple(
        GuardChance("copy_rate", margin, pytest.approx(guard_power(sd, 60, margin, 0.05)))
        for margin in (0.05, 0.02)
    )
    assert planned.guards[0].chance > 0.9 > 0.5 > planned.guards[1].chance
    assert told(planned).endswith(
        f"; guards that pass an unchanged model in less than half: copy_rate "
        f"{planned.guards[1].chance:.0%}"
    )


def test_more_people_are_not_more_instructions() -> None:
    answers = make_measure(dict(zip(PEOPLE, [-0.1, 0.1] * 10, strict=True)))
    guard = Guard(metric="retention", margin=0.05, worse="down")
    both = sides(relief=make_measure(GAINS), retention=answers)
    few, many = (plan(*both, gate(guards=(guard,)), people=n) for n in (N, 500))
    assert few.guards == many.guards


@pytest.mark.parametrize(("people", "is_reached"), [(58, False), (59, True)])
def test_a_cap_needs_its_people_even_if_nobody_is_harmed(people: int, is_reached: bool) -> None:
    config = gate(caps=(Cap(metric="unsafe", cap=0.05),))
    planned = plan(*RELIEF, config, people=people)
    assert planned.caps == (CapNeed("unsafe", 59),)  # 0.95^59 is 4.85%
    assert planned.is_underpowered != is_reached
    said = "; caps that so few people cannot show to hold: unsafe (59)"
    assert told(planned).endswith(said) != is_reached


# In words, and in the loop.


def test_one_line_tells_it() -> None:
    planned = Plan("relief", 41, 2, 0.05, 0.3141, 0.2, 60, ())
    assert told(planned) == (
        "with 41 people a gain in relief of 0.31 or more is found in 80% of the cases (wanted: 0.2)"
    )


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(evolve.console, "print", lines.append)
    return lines


def checkpoint(record: RunRecord) -> Checkpoint:
    return Checkpoint(record.method, cast(Any, None), record)


def a_run(config: GateConfig, root: Path) -> Run:
    return cast(Run, SimpleNamespace(config=SimpleNamespace(gate=config), root=root))


def test_the_second_round_is_foretold_from_the_first_at_its_price(
    said: list[str], tmp_path: Path
) -> None:
    candidate, champion = RELIEF
    rounds = [Round("M1", candidate, hold("so far"), 10)]
    run = a_run(gate(), tmp_path)
    people = list(champion.measures["relief"].values)[:1]  # sharing one person is enough
    ledger = run.root / "ledger.jsonl"
    look(ledger, candidate, champion, 0.05, question="another", people=people)
    foretell(run, rounds, checkpoint(champion))
    assert said == [told(plan(candidate, champion, gate(), alpha=alpha_at(0.05, 2)))]


def test_nothing_is_foretold_of_what_nothing_is_known(said: list[str], tmp_path: Path) -> None:
    candidate, champion = RELIEF
    foretell(a_run(gate(), tmp_path), [], checkpoint(champion))  # before the first round
    no_candidate = [Round("M1", None, hold("too few pairs"), 0)]
    foretell(a_run(gate(), tmp_path), no_candidate, checkpoint(champion))
    promoted = [Round("M1", candidate, hold("as the test says"), 10)]
    foretell(a_run(gate(), tmp_path), promoted, checkpoint(candidate))  # it is the champion now
    foretell(a_run(gate(primary="trust"), tmp_path), promoted, checkpoint(champion))
    assert said == []
