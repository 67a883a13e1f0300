"""What a regression check says, as it is stored; verdict and exit code come from one value."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from results.paired import Direction
from results.records import Cost

Outcome = Literal["excluded", "shown", "open", "not counted"]
"""Of harm in one metric: of the margin or more excluded; shown; neither; or not asked, because the
judge is not trusted."""


class Verdict(StrEnum):
    """What the check says, in the order of the exit codes."""

    PASS = "PASS"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"
    CANNOT_DECIDE = "CANNOT DECIDE"

    @property
    def exit_code(self) -> int:
        """What the command line returns."""
        return list(Verdict).index(self)


class MetricCheck(BaseModel):
    """One metric of the people scored on both sides; the difference is candidate minus baseline."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    worse: Direction
    margin: float
    tolerated: float
    """Worsening that is no harm yet."""
    baseline: float
    candidate: float
    difference: float
    lower: float
    """Of the difference: one-sided bounds, each at `alpha`."""
    upper: float
    p: float | None
    """That there is no harm beyond what is tolerated; Holm-adjusted over the metrics that count."""
    detectable: float | None
    """True harm that these people would have shown in 80% of the cases; None without a spread."""
    n: int
    """People."""
    n_missing: int
    """Samples without a score, on both sides together."""
    outcome: Outcome
    reason: str
    """In words."""


class Side(BaseModel):
    """One of the two evaluations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    checkpoint: str
    hash: str
    """Of the record."""
    created: str | None
    commit: str | None
    cost: Cost


class CheckResult(BaseModel):
    """The verdict and everything it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    verdict: Verdict
    reasons: tuple[str, ...]
    strict: bool = False
    inconclusive_ok: bool = False
    """Whether INCONCLUSIVE is accepted, with exit code 0."""
    alpha: float | None = None
    benchmark: str | None = None
    metrics: tuple[MetricCheck, ...] = ()
    not_counted: tuple[str, ...] = ()
    """Metrics that do not decide, and why; those of an untrusted judge are among `metrics` too."""
    warnings: tuple[str, ...] = ()
    sight: tuple[str, ...] = ()
    """What this check can see and cannot, in words."""
    baseline: Side | None = None
    blessed: str | None = None
    """Date of the baseline."""
    age_days: int | None = None
    candidate: Side | None = None
    judges: dict[str, str] = Field(default_factory=dict)
    """Hash of the judge behind each metric that a judge gave."""

    @property
    def is_accepted(self) -> bool:
        """Whether it is INCONCLUSIVE and that is accepted."""
        return self.verdict is Verdict.INCONCLUSIVE and self.inconclusive_ok

    @property
    def exit_code(self) -> int:
        """The verdict's, unless it is accepted."""
        return 0 if self.is_accepted else self.verdict.exit_code

    @property
    def headline(self) -> str:
        """The verdict in words."""
        accepted = ", accepted by --inconclusive-ok" if self.is_accepted else ""
        return f"{self.verdict}{accepted}"


def cannot_decide(reason: str) -> CheckResult:
    """There is nothing to compare, for the reason given."""
    return CheckResult(verdict=Verdict.CANNOT_DECIDE, reasons=(reason,))
