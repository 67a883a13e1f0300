"""Inspect evals inside a run: started, continued after a kill, and checked.

A failed eval stops the step; it never becomes a number.
"""

import gc
import logging
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, TypedDict

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

GC_THRESHOLD = 10_000
"""Objects that are made before the collector looks at the youngest. With Python's own 700 it takes
twice as long over a hundred conversations, and the memory is the same."""

ERROR_WIDTH = 400
"""Characters of a sample's error that are shown; the rest is in the log."""


class EvalOptions(TypedDict):
    """Arguments that `inspect_ai.eval` and `eval_set` both take."""

    max_samples: int
    max_connections: int
    retry_on_error: int
    log_buffer: int
    score_display: bool
    display: Literal["log"]
    log_level: str


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


@contextmanager
def lean(max_samples: int) -> Iterator[EvalOptions]:
    """What an eval of ours goes by: at most so many samples at once, nothing done that nobody sees.

    Inspect's display `none` lays out the table of all results and then drops it; `log` does not,
    but tells of an error with its traceback, by the root logger itself. That is kept from the
    console: the error is raised. Warnings come from loggers of their own, and get there.

    Modules and models that are there already are kept from the garbage collector meanwhile, unless
    they are anyway: to walk through them takes it half a second each time, in which no conversation
    goes on. It also comes less often.
    """

    def keep_off(record: logging.LogRecord) -> bool:
        return False

    root = logging.getLogger()
    root.addFilter(keep_off)
    was_frozen, threshold = gc.get_freeze_count() > 0, gc.get_threshold()
    if not was_frozen:
        gc.freeze()
    if 0 < threshold[0] < GC_THRESHOLD:
        gc.set_threshold(GC_THRESHOLD, *threshold[1:])
    try:
        yield EvalOptions(
            max_samples=max_samples,
            max_connections=4 * max_samples,
            retry_on_error=RETRIES,
            log_buffer=max_samples,
            score_display=False,  # nobody sees them, and every metric would be computed anew
            display="log",
            log_level="warning",
        )
    finally:
        gc.set_threshold(*threshold)
        if not was_frozen:
            gc.unfreeze()
        root.removeFilter(keep_off)


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
    with sample_progress(title, len(task.dataset)), lean(max_samples) as options:
        success, logs = eval_set(
            task,
            log_dir=str(log_dir),
            model=model,
            model_roles=dict(roles or {}),
            retry_attempts=0,
            retry_immediate=False,
            **options,
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
