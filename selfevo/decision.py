"""The gate's answer, as it is stored and shown: a verdict, its reasons, and every comparison."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Verdict(StrEnum):
    """What happens to a candidate."""

    PROMOTE = "PROMOTE"
    REJECT = "REJECT"
    HOLD = "HOLD"
    ERROR = "ERROR"

    @property
    def exit_code(self) -> int:
        """Of the command line."""
        return {"PROMOTE": 0, "REJECT": 1, "HOLD": 2, "ERROR": 3}[self.value]


class Comparison(BaseModel):
    """Candidate minus champion in one metric, over the people scored on both sides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    rule: Literal["primary", "guard", "cap"] = "guard"
    champion: float | None
    """Mean over the people; None of a cap, which looks at the candidate alone."""
    candidate: float
    difference: float | None
    lower: float
    upper: float
    """One-sided bounds of the difference each way; of a cap, those of the candidate's own rate."""
    n: int
    """People compared."""
    outcome: Literal["passed", "failed", "open"]
    threshold: float | None = None
    """Of a primary the smallest gain, of a guard the margin, of a cap the rate."""
    worse: Literal["up", "down"] | None = None
    """The direction that is worse."""
    even: tuple[float, float, float] | None = None
    """Of a primary at equal length: difference, lower, upper. None where it cannot be told."""
    worst: tuple[float, float] | None = None
    """Bounds if the samples without a score were the worst possible; None where all have one."""
    p_sign_flip: float | None = None
    """Of a primary, by tossing signs: a second opinion that does not decide."""
    bootstrap: tuple[float, float] | None = None
    """Of a primary, BCa over people: a third."""


class Decision(BaseModel):
    """The gate's answer and everything it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    verdict: Verdict
    reasons: tuple[str, ...]
    champion: str | None = None
    """Content hash of the checkpoint that was compared with."""
    candidate: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    overrides: tuple[str, ...] = ()
    """What the gate would have refused, had the recipe not told it to go on."""
    alpha: float | None = None
    """One-sided error of each bound at this look."""
    look: int | None = None
    """How many times these people have been asked which is better, this time included."""
    detectable: float | None = None
    """Gain in the primary that these people would have shown in 80% of the cases."""

    @property
    def promoted(self) -> bool:
        """Whether the candidate becomes the champion."""
        return self.verdict is Verdict.PROMOTE


def hold(reason: str) -> Decision:
    """A round that ends before there is a candidate to compare."""
    return Decision(verdict=Verdict.HOLD, reasons=(reason,))
