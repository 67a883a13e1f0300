"""Before a comparison is run: what can it show? From what the last one taught of the spread.

    selfevo gate --champion A --candidate B --plan [--people N] [--epochs K]

The last candidate and champion say how much people differ in the change, and how much the repeats
of one person do (`results/power.py`). From that follow the smallest gain that the gate would find
in 80% of the cases, the people that a gain of twice `delta_min` needs (at `delta_min` itself half
of all means fall short), how often each guard lets an unchanged model pass, and the people that a
cap needs. A plan that finds only more than twice `delta_min`, or has too few people for a cap, is
underpowered: it would mostly end in HOLD.
"""

import math
from typing import Final, NamedTuple

from results.findings import is_binary
from results.paired import MIN_PEOPLE, Incomparable, pair
from results.power import (
    VarianceComponents,
    guard_power,
    minimum_detectable_effect,
    people_for,
    variance_components,
)
from results.records import SHARE, RunRecord
from results.stats import equal_length, paired_bounds, score_excludes
from selfevo.gate_config import INSTRUCTION_METRICS, GateConfig, Guard

POWER: Final = 0.8
UNDERPOWERED: Final = 2.0
"""Times `delta_min`: a plan that cannot find less is not worth running."""
EVEN_ODDS: Final = 0.5


class GuardChance(NamedTuple):
    """How often a guard passes a model that did not change."""

    metric: str
    margin: float
    chance: float


class CapNeed(NamedTuple):
    """How many people without an event show that a rare harm stays below its cap."""

    metric: str
    people: int


class Plan(NamedTuple):
    """What a comparison with so many people and repeats can show."""

    metric: str
    people: int
    repeats: float
    alpha: float
    detectable: float
    """Gain that is found with 80% power."""
    delta_min: float
    needed: int | None
    """People to find a gain of twice `delta_min`; None: no gain is named, or over a million."""
    guards: tuple[GuardChance, ...]
    caps: tuple[CapNeed, ...] = ()

    @property
    def unreachable(self) -> tuple[CapNeed, ...]:
        """Caps that so few people cannot show to hold, even if nobody is harmed."""
        return tuple(cap for cap in self.caps if cap.people > self.people)

    @property
    def is_underpowered(self) -> bool:
        """Whether it could only find more than twice what is wanted, or never show a cap."""
        is_weak = self.delta_min > 0 and self.detectable > UNDERPOWERED * self.delta_min
        return is_weak or bool(self.unreachable)


def plan(
    candidate: RunRecord,
    champion: RunRecord,
    config: GateConfig,
    *,
    alpha: float | None = None,
    people: int | None = None,
    repeats: float | None = None,
) -> Plan:
    """What the next comparison can show, if it is like the last one.

    Args:
        candidate: The last one's.
        champion: What it was compared with.
        config: The gate.
        alpha: Error of each bound; None: all of `config.alpha`.
        people: Of the next; None: as many as were compared.
        repeats: Conversations a person of the next; None: as many as there were.

    Raises:
        Incomparable: the two do not compare in a metric of the gate.
    """
    spent = config.alpha if alpha is None else alpha
    found = pair(candidate, champion, config.primary)
    measure, other = candidate.measures[config.primary], champion.measures[config.primary]
    k_then = min(measure.repeats, other.repeats)
    spread = variance_components(found.differences, other.within, measure.within, k_then)
    n, k = people or len(found.people), repeats or k_then
    inflation = _inflation(candidate, champion, config)
    detectable = (
        minimum_detectable_effect(
            spread.standard_error(n, k),
            n,
            alpha=spent,
            power=POWER,
            delta_min=config.delta_min,
            inflation=inflation,
        )
        if math.isfinite(inflation)
        else math.inf
    )
    return Plan(
        metric=config.primary,
        people=n,
        repeats=k,
        alpha=spent,
        detectable=detectable,
        delta_min=config.delta_min,
        needed=_needed(spread, k, config, spent, inflation),
        guards=tuple(
            _guard_chance(candidate, champion, guard, n, k, spent) for guard in config.guards
        ),
        caps=tuple(
            CapNeed(cap.metric, math.ceil(math.log(config.alpha) / math.log1p(-cap.cap)))
            for cap in config.caps
        ),
    )


def _guard_chance(
    candidate: RunRecord, champion: RunRecord, guard: Guard, n: int, repeats: float, alpha: float
) -> GuardChance:
    """Instructions do not become more with the people."""
    found = pair(candidate, champion, guard.metric)
    units = len(found.people) if guard.metric in INSTRUCTION_METRICS else n
    measure, other = candidate.measures[guard.metric], champion.measures[guard.metric]
    k_then = min(measure.repeats, other.repeats)
    spread = variance_components(found.differences, other.within, measure.within, k_then)
    is_counted = measure.scale == SHARE and guard.margin < 1 and is_binary(found.differences)
    if is_counted and not score_excludes(0, 0, units, guard.margin, alpha):
        return GuardChance(guard.metric, guard.margin, 0.0)  # too few even if nobody changes
    chance = guard_power(spread.sd(repeats), units, guard.margin, alpha)
    return GuardChance(guard.metric, guard.margin, chance)


def told(found: Plan) -> str:
    """The plan in one line, as it is printed before an evaluation."""
    weak = [f"{g.metric} {g.chance:.0%}" for g in found.guards if g.chance < EVEN_ODDS]
    guards = (
        f"; guards that pass an unchanged model in less than half: {', '.join(weak)}"
        if weak
        else ""
    )
    capped = [f"{cap.metric} ({cap.people})" for cap in found.unreachable]
    guards += (
        f"; caps that so few people cannot show to hold: {', '.join(capped)}" if capped else ""
    )
    if math.isinf(found.detectable):
        return f"no gain in {found.metric} could be told from one in length{guards}"
    return (
        f"with {found.people} people a gain in {found.metric} of {found.detectable:.2g} or more is "
        f"found in {POWER:.0%} of the cases (wanted: {found.delta_min:g}){guards}"
    )


def _inflation(candidate: RunRecord, champion: RunRecord, config: GateConfig) -> float:
    """Standard error at equal length over the plain one; infinite where length hides any gain."""
    if not config.control_length:
        return 1.0
    found, lengths = (pair(candidate, champion, m) for m in (config.primary, config.length_metric))
    by_person = dict(zip(lengths.people, lengths.differences, strict=True))
    both = [i for i, person in enumerate(found.people) if person in by_person]
    if len(both) < MIN_PEOPLE:
        raise Incomparable(
            f"'{config.length_metric}' is known for {len(both)} of the people who have "
            f"'{config.primary}'; set control_length to false or evaluate again"
        )
    d_N = found.differences[both]
    length_N = [by_person[found.people[i]] for i in both]
    raw, even = paired_bounds(d_N, config.alpha), equal_length(d_N, length_N, config.alpha)
    if float(raw.se) == 0:
        return 1.0
    ratio = float(even.se) / float(raw.se)
    return ratio if math.isfinite(ratio) and ratio > 0 else math.inf


def _needed(
    spread: VarianceComponents, repeats: float, config: GateConfig, alpha: float, inflation: float
) -> int | None:
    """People to find twice `delta_min`: at `delta_min` itself, half of all means fall short."""
    wanted = UNDERPOWERED * config.delta_min
    try:
        return people_for(
            wanted,
            spread,
            repeats,
            alpha=alpha,
            power=POWER,
            delta_min=config.delta_min,
            inflation=inflation,
        )
    except ValueError:  # no wanted gain, or more people than there are
        return None
