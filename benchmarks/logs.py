"""Inspect logs of these benchmarks, read without their transcripts.

The header and the sample summaries (scores, metadata, tokens) are enough to compare; of a thousand
samples they take a tenth of a second, the whole log takes four.
"""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import zstandard
from inspect_ai.log import (
    EvalLog,
    EvalSampleSummary,
    read_eval_log,
    read_eval_log_sample_summaries,
)

from benchmarks.errors import DataError

LOCAL: Final = "selfevo/"
"""Prefix of models of the local provider."""


BROKEN: Final = (
    ValueError,
    KeyError,
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
        DataError: as `read_header`.
    """
    header = read_header(path)
    try:
        samples = read_eval_log_sample_summaries(str(path))
    except BROKEN as error:
        raise DataError(str(path), "is cut off", "run it again") from error
    return Summaries(path, header, samples)


def method_name(log: EvalLog) -> str:
    """What the board calls the method of a log: the model, its sampling, and its system prompt."""
    prompted = " with a prompt" if task_prompt(log) else ""
    return f"{model_name(log.eval.model)}{sampling(log)}{prompted}"


def model_name(model: str) -> str:
    """A model of Inspect; a local checkpoint by the last two parts of its path.

    The rest of the path is another on each machine.
    """
    if model.startswith(LOCAL + "/"):
        return LOCAL + "/".join(Path(model.removeprefix(LOCAL)).parts[-2:])
    return model


def sampling(log: EvalLog) -> str:
    """Temperature that the model was given, ` T=0.7`; nothing where it was the task's."""
    temperature = log.eval.model_generate_config.temperature
    return f" T={temperature:g}" if temperature else ""


def task_prompt(log: EvalLog) -> str | None:
    """The system message of the model under test."""
    return (log.eval.task_args or {}).get("task_prompt") or None
