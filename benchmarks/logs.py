"""Inspect logs of these benchmarks, read without their transcripts.

The header and the sample summaries (scores, metadata, tokens) are enough to compare; of a thousand
samples they take a tenth of a second, the whole log takes four.
"""

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import zstandard
from inspect_ai.log import (
    EvalLog,
    EvalSampleSummary,
    read_eval_log,
    read_eval_log_sample_summaries,
)
from pydantic import JsonValue

from benchmarks.errors import DataError

OPERATIONAL: Final = frozenset(
    {
        "adaptive_connections",
        "attempt_timeout",
        "batch",
        "cache",
        "cache_prompt",
        "extra_headers",
        "logprobs",
        "max_connections",
        "max_retries",
        "prompt_logprobs",
        "stream_idle_timeout",
        "timeout",
        "top_logprobs",
    }
)
"""Settings of generation that change nothing that is said."""
MAX_TOKENS: Final = "max_tokens"
SHORT: Final = 8
"""Characters of a hash in the name of a method."""
SHOWN: Final = 16
"""Characters of a setting that is shown as it is; a longer one by its hash."""

BROKEN: Final = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,
    EOFError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)
"""What Inspect lets through of a file that is none of its logs, was cut off, or was changed."""


class Summaries(NamedTuple):
    """A finished log: its header and the summary of each sample."""

    path: Path
    header: EvalLog
    samples: list[EvalSampleSummary]


def read_header(path: Path) -> EvalLog:
    """The header of a finished log.

    Raises:
        DataError: no such log, it is none of Inspect's or cut off, or its eval did not succeed.
    """
    if not path.is_file():
        raise DataError(str(path), "no such log", "give the path of an .eval file")
    try:
        header = read_eval_log(str(path), header_only=True)
    except BROKEN as error:
        raise DataError(str(path), "is no log of Inspect, or cut off", "run it again") from error
    if header.status != "success":
        raise DataError(str(path), f"the eval's status is '{header.status}'", "run it again")
    return header


def read_summaries(path: Path) -> Summaries:
    """A finished log without its transcripts.

    Raises:
        DataError: as `read_header`, or samples were taken out or put in.
    """
    header = read_header(path)
    try:
        samples = read_eval_log_sample_summaries(str(path))
    except BROKEN as error:
        raise DataError(str(path), "is cut off", "run it again") from error
    _refuse_other_count(path, header, samples)
    return Summaries(path, header, samples)


def _refuse_other_count(path: Path, header: EvalLog, samples: Sequence[EvalSampleSummary]) -> None:
    """Whoever takes out some samples picks the result."""
    if header.results is None:  # nothing was scored
        return
    completed = header.results.completed_samples
    n_whole = sum(sample.error is None for sample in samples)
    if completed != n_whole:
        raise DataError(
            str(path),
            f"holds {n_whole} completed samples, and its header says {completed}",
            "it was cut or edited, run it again",
        )


def portable(path: Path) -> str:
    """A log as a record names it: relative to the working directory, or by its name only.

    The rest of a path is another on each machine.
    """
    here, there = Path.cwd().resolve(), path.resolve()
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else there.name


def method_name(log: EvalLog) -> str:
    """What the board calls the method of a log: the model, its sampling, and its system prompt."""
    prompted = " with a prompt" if task_prompt(log) else ""
    return f"{model_name(log.eval.model)}{sampling(log)}{prompted}"


def model_name(model: str) -> str:
    """A model of Inspect; a local checkpoint by its provider and the last two parts of its path.

    The rest of the path is another on each machine.
    """
    provider, _, path = model.partition("/")
    if path.startswith("/"):
        return "/".join((provider, *Path(path).parts[-2:]))
    return model


def generation(log: EvalLog) -> dict[str, JsonValue]:
    """How the model was told to generate, where that is not the task's own way.

    Inspect keeps what the command line said with the plan, and a model's own settings with the
    model. The tasks' own are greedy, and what stands in their arguments.
    """
    config = log.eval.model_generate_config.merge(log.plan.config)
    given = config.model_dump(mode="json", exclude_none=True, exclude=set(OPERATIONAL))
    own = {"temperature": 0, "system_message": "", **(log.eval.task_args or {})}
    return {name: value for name, value in given.items() if own.get(name) != value}


def sampling(log: EvalLog, characters: int = SHORT) -> str:
    """What the model was given beside the task's settings, such as ` T=0.7 top_p=0.1`.

    Nothing where all was the task's. How long replies may be is not in it: that is of the suite.

    Args:
        log: The log.
        characters: Of the hash that stands for a long setting.
    """
    given = generation(log)
    given.pop(MAX_TOKENS, None)
    names = sorted(given, key=lambda name: (name != "temperature", name))
    return "".join(f" {_told(name, given[name], characters)}" for name in names)


def _told(name: str, value: JsonValue, characters: int) -> str:
    """One setting: `T=0.7`, `top_p=0.1`, `prompt 1f3c9b0a`."""
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    hashed = hashlib.sha256(text.encode()).hexdigest()[:characters]
    if name == "system_message":
        return f"prompt {hashed}"
    if isinstance(value, int | float):
        return f"{'T' if name == 'temperature' else name}={value:.15g}"
    return f"{name}={text if text.isalnum() and len(text) <= SHOWN else hashed}"


def task_prompt(log: EvalLog) -> str | None:
    """The system message of the model under test."""
    return (log.eval.task_args or {}).get("task_prompt") or None
