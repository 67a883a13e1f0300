"""The card of a judge: how far it agrees with people, where it fails, and whether to trust it.

A card is of one judge (model, prompt, rubric, settings: one hash) on one set of human ratings. The
bars are in `trust.yaml`. A dimension is TRUSTED when the intervals of kappa and offset show that
the bars are met, on enough items; UNTRUSTED when they show that one is missed, or when too many
items have no verdict; and INCONCLUSIVE, with the number of labels that would decide, otherwise. A
judge without a good card cannot gate.
"""

import json
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, ValidationError

from judges.agreement import Agreement, Ceiling, labels_needed
from judges.length import LengthBias
from judges.resampling import Interval
from judges.stability import Stability

Share = Annotated[float, Ge(0), Le(1)]
SCALE_OF_OFFSET: Final = 4
"""From the first to the last of five levels; on a shorter scale the bar is as much lower."""


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
    """In levels of a scale of five."""
    failure_rate: Share
    items: int


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

    def trust_in(self, name: str) -> Finding:
        """Whether the judge may be believed in a dimension."""
        for dimension in self.dimensions:
            if dimension.name == name:
                reason = f"{name}: {dimension.reason}"
                return Finding(dimension.trust, reason, dimension.labels_needed)
        return Finding(Trust.UNTRUSTED, f"{name}: never held against people", None)


class CardError(ValueError):
    """A card cannot be read; the message is one line."""


def trust_of(
    agreement: Agreement | None,
    *,
    failure_rate: float,
    levels: Sequence[int],
    bars: Bars | None = None,
) -> Finding:
    """Hold a dimension against the bars.

    Args:
        agreement: With people; None where nothing could be compared.
        failure_rate: Share of items without a verdict.
        levels: The whole scale.
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
    allowed = bars.offset * (levels[-1] - levels[0]) / SCALE_OF_OFFSET
    of_kappa = f"kappa {_shown(kappa)}, the bar is {bars.kappa:.2f}"
    of_offset = f"rates {_shown(offset)} levels off people, the bar is {allowed:.2f}"
    if kappa.upper < bars.kappa:
        return Finding(Trust.UNTRUSTED, of_kappa, None)
    if offset.lower > allowed or offset.upper < -allowed:
        return Finding(Trust.UNTRUSTED, of_offset, None)
    open_: list[tuple[str, int | None]] = []
    if agreement.n < bars.items:
        open_.append((f"{agreement.n} items, the bar is {bars.items}", bars.items))
    if kappa.lower < bars.kappa:
        open_.append((of_kappa, labels_needed(kappa, bars.kappa, agreement.n)))
    if not -allowed <= offset.lower <= offset.upper <= allowed:
        nearer = allowed if offset.value > 0 else -allowed
        open_.append((of_offset, labels_needed(offset, nearer, agreement.n)))
    if not open_:
        return Finding(Trust.TRUSTED, of_kappa, None)
    needed = [n for _, n in open_]
    known = [n for n in needed if n is not None]
    return Finding(
        Trust.INCONCLUSIVE,
        "; ".join(reason for reason, _ in open_),
        max(known) if len(known) == len(needed) else None,
    )


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


def _shown(interval: Interval) -> str:
    return f"{interval.value:.2f} ({interval.lower:.2f} to {interval.upper:.2f})"
