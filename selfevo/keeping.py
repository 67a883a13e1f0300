"""Records to keep: of logs, of a run's checkpoints, and of other models on a run's people."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from inspect_ai.model import get_model

from benchmarks.logs import read_summaries
from results.records import RunRecord, read_run, store_record
from selfevo.config import load_recipe
from selfevo.errors import RunError, UsageError
from selfevo.evaluation import measure
from selfevo.material import gather
from selfevo.recording import RECIPE, RECORD, load_record, preferences_of, task_of
from selfevo.run import Run


def keep(
    paths: Sequence[Path], folder: Path, method: str | None = None, against: str | None = None
) -> list[Path]:
    """Store the records of logs, or of every checkpoint of a run; their files.

    Args:
        paths: Logs of one checkpoint, one log of preferences, or the folder of a run.
        folder: Where records are kept.
        method: Name on the board; of a run, what stands before the names of its checkpoints.
        against: Of preferences, the name of the other side.

    Raises:
        RecordError: a record cannot be read, or the folder not be written.
        DataError: a log cannot be read.
        UsageError: `against` without preferences, or several runs.
    """
    if any(path.is_dir() for path in paths):
        if len(paths) > 1 or against:
            raise UsageError(f"{paths[0]}: give one run, without --against")
        return [store_record(r, folder) for r in records_of_run(paths[0], method)]
    if len(paths) == 1 and paths[0].suffix != ".json":
        log = read_summaries(paths[0])
        if task_of(log.header) == "pairwise":
            return [store_record(preferences_of(log, method, against), folder)]
    if against:
        raise UsageError("--against: names the other method of a log of selfevo compare --judge")
    return [store_record(load_record(paths, method), folder)]


def records_of_run(root: Path, name: str | None = None) -> Iterator[RunRecord]:
    """The records of a run's checkpoints, named after the run; logs are named relative to it.

    Raises:
        RunError: it is no run.
        RecordError: a record is damaged.
    """
    recipe = root / RECIPE
    if not recipe.is_file():
        raise RunError(f"{root}: is no run of selfevo evolve, and no log; give either")
    prefix = name or load_recipe(recipe).name
    for path in sorted([*root.glob(f"m0/{RECORD}"), *root.glob(f"round-*/{RECORD}")]):
        record = read_run(path, sealed=False)
        yield record.model_copy(update={"method": f"{prefix} {record.method}"})


def measure_beside(root: Path, model: str, folder: Path, method: str | None = None) -> Path:
    """Evaluate any Inspect model on the held-out people of a run and store its record.

    Raises:
        RunError: it is no run, or an eval failed.
        UsageError: there is no such model.
    """
    recipe = root / RECIPE
    if not recipe.is_file():
        raise RunError(f"{root}: is no run of selfevo evolve; give its folder")
    try:
        asked = get_model(model)
    except ValueError as error:
        raise UsageError(f"--model {model}: {error}; name an Inspect model") from error
    run = Run(root.resolve(), load_recipe(recipe))
    try:
        record = measure(run, asked, gather(run).heldout, method)
    finally:
        run.close()
    return store_record(record, folder)
