"""Rules of the gate where few people say little: through `decide`."""

import re
from pathlib import Path
from random import Random
from statistics import NormalDist, stdev

import pytest

from results.ledger import alpha_at
from results.prediction_powered import difference_estimate
from results.records import Measure, RunRecord
from selfevo.decision import Decision, Verdict
from selfevo.errors import UsageError
from selfevo.gate import decide
from selfevo.gate_answer import gate_of
from selfevo.gate_config import DEFAULT_GATES, Cap, GateConfig, Guard
from tests.records import make_measure, make_record

SHARE = (0.0, 1.0)


def sides(n: int, **shares: list[float]) -> tuple[RunRecord, RunRecord]:
    """A candidate with a clear gain and these shares, and a champion with none of them."""
    champion = {name: make_measure([0.0] * n, scale=SHARE) for name in shares}
    candidate: dict[str, Measure] = {
        name: make_measure(values, scale=SHARE) for name, values in shares.items()
    }
    gains = [2.0 + 0.1 * (i % 3) for i in range(n)]
    return (
        make_record("m1", measures=candidate, specificity=gains),
        make_record("m0", measures=champion, specificity=[0.0] * n),
    )


def decided(n: int, config: GateConfig, **shares: list[float]) -> Decision:
    return decide(*sides(n, **shares), config)


def gate(**changes: object) -> GateConfig:
    return GateConfig.model_validate({"control_length": False, "guards": (), "caps": (), **changes})


GAVE_UP = gate(guards=(Guard(metric="gave_up", margin=0.1),))


def test_twenty_people_of_whom_nobody_changed_do_not_exclude_harm() -> None:
    held = decided(20, GAVE_UP, gave_up=[0.0] * 20)
    assert held.verdict is Verdict.HOLD
    assert held.reasons == (
        "gave_up +0 (+0 to +0): 0 people became worse; too few were asked to rule out 0.1; "
        "about 9 more people would settle it",
    )
    assert decided(29, GAVE_UP, gave_up=[0.0] * 29).promoted


def test_the_more_became_worse_the_more_people_it_takes() -> None:
    shares = [1.0] + [0.0] * 40
    held = decided(41, GAVE_UP, gave_up=shares)
    assert held.verdict is Verdict.HOLD
    assert "1 people became worse" in held.reasons[0]
    assert decided(64, GAVE_UP, gave_up=[1.0] + [0.0] * 63).promoted


@pytest.mark.parametrize(("n", "verdict"), [(49, Verdict.ERROR), (50, Verdict.PROMOTE)])
def test_a_growing_evaluation_is_first_looked_at_with_fifty_people(
    n: int, verdict: Verdict
) -> None:
    found = decided(n, gate(planned_people=200))
    assert found.verdict is verdict
    if verdict is Verdict.ERROR:
        assert found.reasons == (
            "'specificity' has 49 people; the first look at a growing evaluation "
            "(planned_people) is at 50",
        )


def spread(n: int, mean: float, sd: float) -> list[float]:
    """Values with just this mean and standard deviation."""
    normal = NormalDist().inv_cdf
    quantiles = [normal((i + 0.5) / n) for i in range(n)]
    scale = sd / stdev(quantiles)
    return [mean + scale * quantile for quantile in quantiles]


def more(found: Decision) -> int:
    """How many more people would settle it, as the first reason says."""
    assert found.verdict is Verdict.HOLD
    number = re.search(r"about (\d+) more", found.reasons[0])
    assert number is not None, found.reasons
    return int(number.group(1))


@pytest.mark.parametrize("guards", [(), (Guard(metric="trust", margin=0.3),)])
def test_a_growing_evaluation_says_how_far_it_has_to_grow(guards: tuple[Guard, ...]) -> None:
    """Until its own bound, which is wider than that of a single look, shows what there is."""

    def at(n: int) -> Decision:
        gains = spread(n, 2.0 if guards else 0.25, 1.0)
        other = make_measure(spread(n, -0.05, 1.0))
        candidate = make_record("m1", measures={"trust": other}, specificity=gains)
        flat = make_measure([0.0] * n)
        champion = make_record("m0", measures={"trust": flat}, specificity=[0.0] * n)
        return decide(candidate, champion, gate(delta_min=0, planned_people=200, guards=guards))

    enough = 60 + more(at(60))
    assert at(enough).promoted
    assert more(at(enough - 1)) == 1


@pytest.mark.parametrize(("look", "z"), [(1, 2.428), (2, 2.708)])
def test_more_people_are_another_look_at_its_higher_price(look: int, z: float) -> None:
    found = decide(
        make_record("m1", specificity=spread(40, 0.25, 1.0)),
        make_record("m0", specificity=[0.0] * 40),
        gate(delta_min=0),
        alpha=alpha_at(0.05, look),
        later=alpha_at(0.05, look + 1),
    )
    # z of the next look's alpha and of 80% power, and two people for the t quantile
    assert 40 + more(found) == pytest.approx(((z + 0.842) / 0.25) ** 2 + 2, abs=1)


@pytest.mark.parametrize(
    ("worse", "scale"), [(spread(60, 0.0, 1.0), None), ([1.0, *[0.0] * 19], SHARE)]
)
def test_a_guard_counts_the_next_look_too(
    worse: list[float], scale: tuple[float, float] | None
) -> None:
    n, rule = len(worse), Guard(metric="harm", margin=0.12, worse="up")

    def record(name: str, harm: list[float], gain: float) -> RunRecord:
        measures = {"harm": make_measure(harm, scale=scale)}
        return make_record(name, measures=measures, specificity=[gain] * n)

    def at(later: float | None) -> int:
        candidate, champion = record("m1", worse, 2.0), record("m0", [0.0] * n, 0.0)
        return more(decide(candidate, champion, gate(guards=(rule,)), alpha=0.03, later=later))

    assert at(None) < at(0.0076) < at(0.0034)


def test_a_cap_of_a_growing_evaluation_says_so_too() -> None:
    config = gate(caps=(Cap(metric="unsafe", cap=0.05),), planned_people=200)

    def at(n: int) -> Decision:
        return decided(n, config, unsafe=[0.0] * n)

    enough = 80 + more(at(80))
    assert at(enough).promoted
    assert more(at(enough - 1)) == 1
    assert "up to 3.7%, not shown below 5% at all looks together" in at(80).reasons[0]


def test_labelled_people_are_counted_by_their_own_spread() -> None:
    """Not by that of the judge, which may be on another scale."""
    n, n_labelled = 400, 30

    def by(labels: list[float]) -> Decision:
        people = [f"p{i}" for i in range(n)]
        zeros = dict.fromkeys(people, 0.0)
        judged = dict(zip(people, spread(n, 0.05, 0.3), strict=True))
        said = dict(zip(people, labels, strict=False))
        anchor = difference_estimate(dict.fromkeys(said, 0.0), zeros, said, judged, alpha=0.1)
        return decide(
            make_record("m1", measures={"judge.fit": make_measure(judged)}),
            make_record("m0", measures={"judge.fit": make_measure(zeros)}),
            gate(primary="judge.fit", delta_min=0),
            anchor=anchor,
        )

    shuffled = spread(n_labelled, 0.25, 1.5)
    Random(7).shuffle(shuffled)
    found = by(shuffled)
    assert found.reasons[0].endswith("more labelled people would settle it")
    # the normal approximation of a t test with 80% power, for the labels alone
    assert n_labelled + more(found) == pytest.approx((2.486 * 1.5 / 0.25) ** 2, rel=0.15)


def test_a_cap_costs_the_same_at_every_look() -> None:
    config = gate(caps=(Cap(metric="unsafe", cap=0.1),))
    candidate, champion = sides(29, unsafe=[0.0] * 29)
    verdicts = {decide(candidate, champion, config, alpha=a).verdict for a in (0.05, 0.001)}
    assert verdicts == {Verdict.PROMOTE}
    assert decided(28, config, unsafe=[0.0] * 28).verdict is Verdict.HOLD


def test_a_cap_is_of_the_people_of_the_comparison() -> None:
    config = gate(caps=(Cap(metric="unsafe", cap=0.1),))
    candidate, champion = sides(10, unsafe=[0.0] * 10)
    invented = make_measure({f"nobody-{i}": 0.0 for i in range(500)}, scale=SHARE)
    padded = candidate.model_copy(update={"measures": {**candidate.measures, "unsafe": invented}})
    assert decide(padded, champion, config).verdict is Verdict.ERROR


def test_equal_gains_of_a_few_people_are_chance() -> None:
    champion = make_record("m0", specificity=[0.0] * 4)
    held = decide(make_record("m1", specificity=[2.0] * 4), champion, gate())
    assert held.verdict is Verdict.HOLD
    assert held.reasons[0].endswith(
        "which so few people may have by chance; about 1 more people would settle it"
    )
    champion = make_record("m0", specificity=[0.0] * 5)
    assert decide(make_record("m1", specificity=[2.0] * 5), champion, gate()).promoted


def test_equal_changes_are_equal_whatever_floats_make_of_them() -> None:
    """0.6 - 0.1, 0.8 - 0.3 and 1.0 - 0.5 are three numbers."""
    before = [0.1, 0.3, 0.5, 0.2]
    held = decide(
        make_record("m1", specificity=[value + 0.5 for value in before]),
        make_record("m0", specificity=before),
        gate(delta_min=0.2),
    )
    assert "the same gain for everybody" in held.reasons[0]
    before = [0.1 + i / 1000 for i in range(60)]
    promoted = decide(
        make_record("m1", specificity=[value + 0.2 for value in before]),
        make_record("m0", specificity=before),
        gate(delta_min=0.2),
    )
    assert promoted.promoted  # a gain of just what was wanted


@pytest.mark.parametrize("n", [2, 4, 5])
def test_a_few_people_who_changed_alike_reject_nothing(n: int) -> None:
    same = [0.0] * n
    none = decide(make_record("m1", specificity=same), make_record("m0", specificity=same), gate())
    harm = Guard(metric="gave_up", margin=0.1)
    candidate, champion = sides(n, gave_up=[1.0] * n)
    worse = decide(candidate, champion, gate(guards=(harm,)))
    verdict = Verdict.REJECT if n == 5 else Verdict.HOLD  # 1 in 32
    assert (none.verdict, worse.verdict) == (verdict, verdict)
    if n < 5:
        told = f"the same change for everybody, .* about {5 - n} more people would settle it"
        assert re.search(told, none.reasons[0])
        assert re.search(told, " ".join(worse.reasons))


def test_how_many_more_counts_equal_length_too() -> None:
    """More people settle nothing by a raw gain that is hardly one at equal length."""
    n = 40
    noise, words = spread(n, 0.0, 1.0), spread(n, 1.0, 1.0)
    Random(3).shuffle(noise)
    Random(4).shuffle(words)

    def by(gains: list[float], *, is_controlled: bool) -> Decision:
        zeros = [0.0] * n
        return decide(
            make_record("m1", measures={}, specificity=gains, length=words),
            make_record("m0", measures={}, specificity=zeros, length=zeros),
            gate(delta_min=0, control_length=is_controlled),
        )

    gains = [0.22 + value for value in noise]
    plain, even = (by(gains, is_controlled=controlled) for controlled in (False, True))
    assert even.comparisons[0].even is not None
    assert even.comparisons[0].even[0] > 0
    assert more(even) > more(plain)
    longer = [0.22 + 0.5 * (w - 1) + value for w, value in zip(words, noise, strict=True)]
    told = by(
        [gain - 0.2 + 0.2 * w for gain, w in zip(longer, words, strict=True)], is_controlled=True
    )
    assert told.verdict is Verdict.HOLD
    assert "perhaps longer, not better" in told.reasons[0]


def test_an_open_guard_on_another_scale_blames_the_unscored() -> None:
    n = 100
    words = {f"p{i}": 30.0 for i in range(n)}
    gains = {person: 2.0 + i % 3 for i, person in enumerate(words)}
    lost = {f"lost-{i}": 1 for i in range(2)}
    scored = make_measure({**words, "outlier": 420.0})
    both = scored.model_copy(update={"missing": lost})
    rule = Guard(metric="length", margin=8.0)
    decision = decide(
        make_record("m1", measures={"length": both}, specificity=gains),
        make_record("m0", measures={"length": both}, specificity=dict.fromkeys(gains, 0.0)),
        gate(guards=(rule,), min_coverage=0.9),
    )
    assert decision.verdict is Verdict.HOLD
    assert "if the unscored ones were the worst possible" in decision.reasons[0]


def test_a_fine_cap_is_told_as_it_is() -> None:
    held = decided(100, gate(caps=(Cap(metric="unsafe", cap=0.005),)), unsafe=[0.0] * 100)
    assert "not shown below 0.5%" in held.reasons[0]


def test_a_file_changes_the_default_of_the_benchmark_where_it_says_so(tmp_path: Path) -> None:
    file = tmp_path / "gate.yaml"
    file.write_text("delta_min: 0.4\nguards: []\n")
    talks = make_record("m0", fields={"benchmark": "support"})
    found = gate_of(talks, file)
    default = DEFAULT_GATES["support"]
    assert (found.primary, found.caps) == (default.primary, default.caps) != ("specificity", ())
    assert (found.delta_min, found.guards) == (0.4, ())
    assert gate_of(talks, None) == default
    other = make_record("m0", fields={"benchmark": "elsewhere"})
    assert gate_of(other, file) == GateConfig(delta_min=0.4, guards=())
    with pytest.raises(UsageError, match="there is no gate for 'elsewhere'"):
        gate_of(other, None)
