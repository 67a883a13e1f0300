"""The card of a judge: how far it agrees with people, where it fails, and whether to trust it.

A card is of one judge (model, prompt, rubric, settings: one hash) on one set of human ratings. The
bars are in `trust.yaml`. A dimension is TRUSTED when the intervals show that every bar is met,
UNTRUSTED when they show that one is missed, and INCONCLUSIVE with the number of labels that would
decide otherwise. A judge without a good card cannot gate.
"""

import json
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError

from judges.agreement import Agreement, Ceiling, labels_needed
from judges.length import LengthBias
from judges.resampling import Interval
from judges.stability import Stability

Share = Annotated[float, Ge(0), Le(1)]


class Trust(StrEnum):
    """Whether a judge may gate in a dimension; from worst to best."""

    UNTRUSTED = "UNTRUSTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    TRUSTED = "TRUSTED"


class Bars(BaseModel):
    """What a dimension must reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kappa: float
    offset: float
    failure_rate: Share


class Finding(NamedTuple):
    """The verdict on a dimension."""

    trust: Trust
    reason: str
    labels_needed: int | None
    """Rated items in all that would decide; None where it is decided, or no number would."""


class DimensionCard(BaseModel):
    """One dimension of a judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    trust: Trust
    reason: str
    labels_needed: int | None
    agreement: Agreement | None
    """With the median of the people; None where the judge rated too little to compare."""
    ceiling: Ceiling | None
    """What each person reaches against the others; None where one person rated."""
    judge_minus_human: Interval | None
    """Kappa of the judge minus that of one more person, against the same others."""
    length: LengthBias | None


class ProbeOutcome(BaseModel):
    """Replies that must lose against a person's, and how often they do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    below: Interval
    """Share of contexts in which the probe scores below the person's reply; a tie is not below."""
    difference: Interval
    """Mean score of the person's reply minus the probe's."""
    n: int
    n_failed: int
    """Contexts without a verdict on either."""

    @property
    def loses(self) -> bool:
        """Whether it is shown to lose: below in more than half."""
        return self.below.lower > 0.5


class JudgeCard(BaseModel):
    """Everything that was measured of a judge."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    judge: str
    """Name: a model, `embedded`, `stored:...`, or `panel:...`."""
    judge_hash: str
    rubric: str | None
    """Name of the rubric that it answers; None where its questions are not ours."""
    data: str
    data_hash: str
    measured: str
    """Date."""
    command: str
    versions: dict[str, str]
    n_items: int
    n_conversations: int
    failures: dict[str, int]
    """Items without a verdict, by reason."""
    dimensions: tuple[DimensionCard, ...]
    stability: Stability | None = None
    position: Interval | None = None
    """Share of pairs in which the same slot won twice; None where it was not asked in pairs."""
    probes: tuple[ProbeOutcome, ...] = ()
    limits: tuple[str, ...] = ()
    """What this judge cannot do, in words."""

    @property
    def failure_rate(self) -> float:
        """Share of items without a verdict."""
        return sum(self.failures.values()) / self.n_items if self.n_items else 1.0

    def trust_in(self, dimensions: tuple[str, ...]) -> Finding:
        """Whether the judge may be believed in all of these: the worst of them decides."""
        known = {dimension.name: dimension for dimension in self.dimensions}
        findings = []
        for name in dimensions:
            if name not in known:
                reason = f"{name}: never held against people"
                findings.append(Finding(Trust.UNTRUSTED, reason, None))
                continue
            found = known[name]
            findings.append(Finding(found.trust, f"{name}: {found.reason}", found.labels_needed))
        order = list(Trust)
        return min(findings, key=lambda finding: order.index(finding.trust))


class CardError(ValueError):
    """A card cannot be read; the message is one line."""


def trust_of(
    agreement: Agreement | None, *, failure_rate: float, bars: Bars | None = None
) -> Finding:
    """Hold a dimension against the bars.

    Args:
        agreement: With people; None where nothing could be compared.
        failure_rate: Share of items without a verdict.
        bars: What it must reach; None: those of `trust.yaml`.
    """
    bars = bars or load_bars()
    if failure_rate > bars.failure_rate:
        reason = (
            f"{failure_rate:.0%} of the items have no verdict (at most {bars.failure_rate:.0%})"
        )
        return Finding(Trust.UNTRUSTED, reason, None)
    if agreement is None:
        return Finding(Trust.UNTRUSTED, "nothing to compare with people", None)
    if agreement.kappa is None:
        reason = agreement.undefined.get("kappa", "kappa is undefined")
        return Finding(Trust.UNTRUSTED, reason, None)
    kappa, offset = agreement.kappa, agreement.offset
    shown = f"kappa {_shown(kappa)}, the bar is {bars.kappa:.2f}"
    if kappa.upper < bars.kappa:
        return Finding(Trust.UNTRUSTED, shown, None)
    if offset.lower > bars.offset or offset.upper < -bars.offset:
        reason = f"rates {_shown(offset)} levels off people, the bar is {bars.offset:.1f}"
        return Finding(Trust.UNTRUSTED, reason, None)
    is_near = -bars.offset <= offset.lower and offset.upper <= bars.offset
    if kappa.lower >= bars.kappa and is_near:
        return Finding(Trust.TRUSTED, shown, None)
    if kappa.lower >= bars.kappa:
        reason = f"rates {_shown(offset)} levels off people, the bar is {bars.offset:.1f}"
        return Finding(Trust.INCONCLUSIVE, reason, _offset_labels(offset, bars.offset, agreement.n))
    return Finding(Trust.INCONCLUSIVE, shown, labels_needed(kappa, bars.kappa, agreement.n))


def read_card(path: Path) -> JudgeCard:
    """A stored card.

    Raises:
        CardError: there is none, or it is none.
    """
    try:
        return JudgeCard.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(
            f"{path}: no judge card ({error.strerror}); make one with selfevo calibrate"
        ) from None
    except (ValidationError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise CardError(f"{path}: is no judge card ({first}); make it again") from None


def dump_card(card: JudgeCard) -> str:
    """The card as it is stored."""
    return json.dumps(card.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"


@cache
def load_bars() -> Bars:
    """The bars of `trust.yaml`."""
    file = resources.files("judges").joinpath("trust.yaml")
    return Bars.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def _offset_labels(offset: Interval, bar: float, n: int) -> int | None:
    """Items that would put the whole interval on one side of the nearer bar."""
    return labels_needed(offset, bar if offset.value > 0 else -bar, n)


def _shown(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.lower:.2f} to {interval.upper:.2f})"
