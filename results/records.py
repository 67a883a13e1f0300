"""Records of evaluations: what a checkpoint scored, person by person, and with what it may be compared."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Measure(BaseModel):
    """One metric of a checkpoint: a value for each unit (a person, an instruction) that could be scored."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict[str, float]
    """Mean over the unit's samples, by unit id."""
    n_scored: int
    """Samples with a score."""
    n_total: int
    """Samples asked for: `n_total - n_scored` failed and are in no mean."""

    @property
    def mean(self) -> float:
        """Mean over units; raises ZeroDivisionError when nothing was scored."""
        return sum(self.values.values()) / len(self.values)


class RunRecord(BaseModel):
    """An evaluation of one checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    suite: str
    """Content hash of everything that must be equal for a comparison: people, contexts, tasks, reference model."""
    checkpoint: str
    """Content hash of the checkpoint."""
    measures: dict[str, Measure]
    corpus: dict[str, float]
    """Numbers of all replies together, which have no value a person (distinct-n)."""
    logs: tuple[str, ...]
    """Inspect logs behind the numbers, relative to the run."""


def suite_hash(parts: Mapping[str, Any]) -> str:
    """Content hash of what defines a comparison."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()
