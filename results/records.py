"""Records of evaluations: what a checkpoint scored, person by person, and what it compares with."""

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, FiniteFloat, JsonValue, model_validator

Count = Annotated[int, Ge(0)]


class Measure(BaseModel):
    """One metric of a checkpoint: a value for each unit (a person, an instruction) with a score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict[str, FiniteFloat]
    """Mean over the unit's samples, by unit id; a unit without a score is not in it."""
    n_scored: Count
    """Samples with a score."""
    n_total: Count
    """Samples asked for: `n_total - n_scored` failed and are in no mean."""

    @model_validator(mode="after")
    def _counts_fit(self) -> "Measure":
        if not len(self.values) <= self.n_scored <= self.n_total:
            raise ValueError(
                f"{len(self.values)} units from {self.n_scored} scored of {self.n_total} samples; "
                "there cannot be more units than scores, nor more scores than samples"
            )
        return self

    @property
    def mean(self) -> float | None:
        """Mean over units; None when nothing was scored."""
        return sum(self.values.values()) / len(self.values) if self.values else None


class RunRecord(BaseModel):
    """An evaluation of one checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    suite: str
    """Content hash of what must be equal in a comparison: people, contexts, tasks, reference."""
    checkpoint: str
    """Content hash of the checkpoint."""
    measures: dict[str, Measure]
    corpus: dict[str, float]
    """Numbers of all replies together, which have no value a person (distinct-n)."""
    judges: dict[str, str] = {}
    """Hash of the judge behind each metric that a judge gave."""
    logs: tuple[str, ...]
    """Inspect logs behind the numbers, relative to the run."""


def suite_hash(parts: Mapping[str, JsonValue]) -> str:
    """Content hash of what defines a comparison."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
