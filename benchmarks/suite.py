"""What must be equal for two evaluations to compare, written into the log by the task itself.

Each part has a name, so that a refused comparison can say which one differs. What belongs to the
method under test (the model, its sampling, its system prompt) is not in it, and neither is the
number of epochs: a person's repeats are averaged.
"""

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from inspect_ai.model import ModelOutput
from pydantic import BaseModel

KEY: Final = "suite"
"""Of the task's metadata."""
CHECKPOINT_KEY: Final = "checkpoint"
"""Of a score's metadata; the log's header names only the folder of a local checkpoint."""


def suite(task: str, version: str, **parts: object) -> dict[str, Any]:
    """Metadata of a task that name its suite; a part that is None is left out."""
    named = {name: str(value) for name, value in parts.items() if value is not None}
    return {KEY: {"task": f"{task} {version}", **named}}


def content_hash(items: Iterable[BaseModel]) -> str:
    """Content hash of records, whatever their order."""
    lines = sorted(item.model_dump_json() for item in items)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def checkpoint_note(output: ModelOutput) -> dict[str, Any]:
    """Metadata of a score: the content hash of the checkpoint, where the provider tells it."""
    found = (output.metadata or {}).get(CHECKPOINT_KEY)
    return {CHECKPOINT_KEY: found} if found else {}
