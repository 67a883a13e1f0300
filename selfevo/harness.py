"""Inspect evals inside a run: started, continued after a kill, and checked.

A failed eval stops the step; it never becomes a number.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from inspect_ai import Task, eval_set
from inspect_ai import eval as inspect_eval
from inspect_ai.log import (
    EvalLog,
    list_eval_logs,
    read_eval_log,
    read_eval_log_sample_summaries,
)
from inspect_ai.model import Model, get_model

from selfevo.config import ModelConfig
from selfevo.endpoints import Servers
from selfevo.errors import RunError, UsageError
from selfevo.progress import sample_progress

RETRIES = 1
"""A sample that fails is tried once more (a server hiccup); then its error stops the step."""

ERROR_WIDTH = 400
"""Characters of a sample's error that are shown; the rest is in the log."""


class Evaluand(NamedTuple):
    """A checkpoint as Inspect calls it."""

    path: Path
    model: Model


def evaluand(path: Path, config: ModelConfig, servers: Servers | None = None) -> Evaluand:
    """The model behind a checkpoint folder: on the run's vLLM servers, or else local."""
    if servers is not None:
        from selfevo.served import served_model

        return Evaluand(path, served_model(path, servers))
    name = f"selfevo/{path}"
    return Evaluand(path, get_model(name, dtype=config.dtype) if config.dtype else get_model(name))


def run_eval(
    task: Task,
    model: Model,
    log_dir: Path,
    *,
    title: str,
    roles: Mapping[str, Model] | None = None,
    max_samples: int,
) -> EvalLog:
    """Run `task` into `log_dir`, or finish what a killed run left there.

    Samples that were finished and written are not repeated.

    Raises:
        RunError: the eval did not succeed; the message names the sample, its error and the log.
        KeyboardInterrupt: it was interrupted; the same call finishes it.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    with sample_progress(title, len(task.dataset)):
        success, logs = eval_set(
            task,
            log_dir=str(log_dir),
            model=model,
            model_roles=dict(roles or {}),
            max_samples=max_samples,
            max_connections=4 * max_samples,
            retry_attempts=0,
            retry_immediate=False,
            retry_on_error=RETRIES,
            log_buffer=max_samples,
            score_display=False,  # nobody sees them, and every metric would be computed anew
            display="none",
            log_level="warning",
        )
    if not logs:
        raise KeyboardInterrupt  # Inspect catches it, and returns "success" without a log
    if not success:
        raise RunError(f"{title}: {_first_error(logs)}; see `inspect view --log-dir {log_dir}`")
    return finished_log(log_dir)


def run_judge(task: Task, judge: str, log_dir: Path) -> EvalLog:
    """Run a task in which nothing is generated and a model in the role `judge` is asked.

    Raises:
        UsageError: there is no such model.
        RunError: the eval did not succeed.
    """
    try:
        model = get_model(judge)
    except ValueError as error:
        raise UsageError(f"judge '{judge}': {error}; name an Inspect model") from error
    log_dir.mkdir(parents=True, exist_ok=True)
    [log] = inspect_eval(
        task,
        model="none/none",
        model_roles={"judge": model},
        log_dir=str(log_dir),
        display="none",
    )
    if log.status != "success":
        raise RunError(f"{judge}: {_first_error([log])}; see `inspect view --log-dir {log_dir}`")
    return log


def finished_log(log_dir: Path) -> EvalLog:
    """The successful log in a folder.

    Raises:
        RunError: there is none.
    """
    for info in list_eval_logs(str(log_dir)):
        log = read_eval_log(info)
        if log.status == "success":
            return log
    raise RunError(f"{log_dir}: no successful Inspect log; delete the folder to run it again")


def _first_error(logs: list[EvalLog]) -> str:
    for log in logs:
        for sample in read_eval_log_sample_summaries(log.location):
            if sample.error:
                return f"sample {sample.id}: {_shown(sample.error)}"
        if log.error:
            return _shown(log.error.message)
    return "the eval failed without saying why"


def _shown(error: str) -> str:
    return textwrap.shorten(error, ERROR_WIDTH, placeholder=" ...")
