"""Inspect logs of these benchmarks, read without their transcripts.

The header and the sample summaries (scores, metadata, tokens) are enough to compare; of a thousand
samples they take a tenth of a second, the whole log takes four.
"""

import zipfile
from pathlib import Path
from typing import Final, NamedTuple

from inspect_ai.log import (
    EvalLog,
    EvalSampleSummary,
    read_eval_log,
    read_eval_log_sample_summaries,
)

from benchmarks.errors import DataError

LOCAL: Final = "selfevo/"
"""Prefix of models of the local provider."""


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
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
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
    except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(str(path), "is cut off", "run it again") from error
    return Summaries(path, header, samples)


def method_name(log: EvalLog) -> str:
    """What the board calls the method of a log: the model, its sampling, and its system prompt.

    A local checkpoint is named by the last two parts of its path, which lies elsewhere on each
    machine.
    """
    model = log.eval.model
    if model.startswith(LOCAL + "/"):
        model = LOCAL + "/".join(Path(model.removeprefix(LOCAL)).parts[-2:])
    temperature = log.eval.model_generate_config.temperature
    sampled = f" T={temperature:g}" if temperature else ""
    prompted = " with a prompt" if (log.eval.task_args or {}).get("task_prompt") else ""
    return f"{model}{sampled}{prompted}"
