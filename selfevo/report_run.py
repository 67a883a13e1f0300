"""What a run folder holds, read for its report: a run that is not finished too.

Nothing is computed here and no transcript is read; of the Inspect logs, the headers (tokens). What
is not there yet is None, and `missing` says what that is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from inspect_ai.log import read_eval_log
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.errors import DataError
from results.records import RecordError, RunRecord, read_run
from selfevo.config import RunConfig, load_recipe
from selfevo.decision import Decision
from selfevo.errors import RunError
from selfevo.evolve import Champion
from selfevo.pairs import PreferencePair, read_pairs
from selfevo.pairs_report import PairsReport
from selfevo.run import RunInfo, StepTime

Stored = TypeVar("Stored", bound=BaseModel)

ARTEFACTS: Final = {
    "pairs-report.json": "its pairs",
    "checkpoint": "its training",
    "record.json": "its evaluation",
    "decision.json": "the decision of the gate",
}
"""What a round has when it is finished, in the order in which it comes to be."""


class Training(BaseModel):
    """What the report shows of `training.TrainingRecord`, which cannot be had without torch."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    n_examples: int
    steps: int
    curve: tuple[dict[str, float], ...]


class Diagnostics(BaseModel):
    """What the report shows of `diagnostics.RoundDiagnostics`, as above."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    chosen_logp_change: float
    rejected_logp_change: float
    margin: float
    accuracy: float
    kl_to_initial: float


class RoundFiles(NamedTuple):
    """What there is of one round."""

    number: int
    folder: Path
    n_contexts: int | None
    pairs: tuple[PreferencePair, ...]
    pairs_report: PairsReport | None
    training: Training | None
    diagnostics: Diagnostics | None
    record: RunRecord | None
    decision: Decision | None

    @property
    def name(self) -> str:
        """Of its candidate."""
        return f"M{self.number}"


class Usage(NamedTuple):
    """Tokens of one eval; in a local model's log too."""

    input_tokens: int
    output_tokens: int


class RunFiles(NamedTuple):
    """What there is of a run."""

    root: Path
    config: RunConfig
    info: RunInfo | None
    champion: str | None
    m0_training: Training | None
    m0: RunRecord | None
    rounds: tuple[RoundFiles, ...]
    """Those that were begun."""
    times: tuple[StepTime, ...]
    usage: dict[str, Usage]
    """By the title of the step, as in `times`."""
    missing: tuple[str, ...]
    """What a finished run has and this one has not; empty when it is finished."""


def read_run_folder(root: Path) -> RunFiles:
    """Everything but the transcripts.

    Raises:
        RunError: there is no run, or one of its files cannot be read.
    """
    if not (root / "recipe.yaml").is_file():
        what = "holds no run (no recipe.yaml)" if root.is_dir() else "no such run"
        raise RunError(f"{root}: {what}; give the folder of selfevo evolve --run")
    config = load_recipe(root / "recipe.yaml")
    m0 = _record(root / "m0/record.json")
    rounds = tuple(_rounds(root, config))
    champion = _stored(Champion, root / "champion.json")
    return RunFiles(
        root=root,
        config=config,
        info=_stored(RunInfo, root / "run.json"),
        champion=champion.name if champion else None,
        m0_training=_stored(Training, root / "m0/checkpoint/training.json"),
        m0=m0,
        rounds=rounds,
        times=tuple(_times(root / "times.jsonl")),
        usage=dict(_usage(root, config.rounds)),
        missing=tuple(_missing(root, config)),
    )


def log_files(folder: Path) -> list[Path]:
    """The Inspect logs of an eval's folder, the last first."""
    return sorted(folder.glob("*.eval"), reverse=True)


def _rounds(root: Path, config: RunConfig) -> Iterator[RoundFiles]:
    for number in range(1, config.rounds + 1):
        folder = root / f"round-{number}"
        if not (folder / "synthesis").exists():
            continue
        contexts = [folder / "contexts-with-users.jsonl", folder / "contexts.jsonl"]
        pairs = folder / "pairs.jsonl"
        yield RoundFiles(
            number=number,
            folder=folder,
            n_contexts=next((_n_lines(path) for path in contexts if path.exists()), None),
            pairs=tuple(_pairs(pairs)) if pairs.exists() else (),
            pairs_report=_stored(PairsReport, folder / "pairs-report.json"),
            training=_stored(Training, folder / "checkpoint/training.json"),
            diagnostics=_stored(Diagnostics, folder / "diagnostics.json"),
            record=_record(folder / "record.json"),
            decision=_stored(Decision, folder / "decision.json"),
        )


def _missing(root: Path, config: RunConfig) -> Iterator[str]:
    yield from _absent(root / "m0", "M0", ("checkpoint", "record.json"))
    for number in range(1, config.rounds + 1):
        folder = root / f"round-{number}"
        if (folder / "decision.json").exists():
            continue  # a round with too few pairs ends without a checkpoint
        if any(folder.glob("synthesis*")):
            yield from _absent(folder, f"M{number}", tuple(ARTEFACTS))
        else:
            yield f"M{number}: not begun"


def _absent(folder: Path, model: str, needed: Sequence[str]) -> Iterator[str]:
    absent = [ARTEFACTS[name] for name in needed if not (folder / name).exists()]
    if absent:
        yield f"{model}: {', '.join(absent)}"


def _usage(root: Path, rounds: int) -> Iterator[tuple[str, Usage]]:
    for number in range(rounds + 1):
        name, folder = f"M{number}", root / (f"round-{number}" if number else "m0")
        titles = {
            f"{name}: talk with training users": folder / "conversations",
            f"{name}: draft, reflect, refine": folder / "synthesis",
        }
        for task in sorted((folder / "evaluation").glob("[!.]*")):
            titles[f"{name}: evaluate ({task.name})"] = task
        for title, logs in titles.items():
            for log in log_files(logs)[:1]:
                used = read_eval_log(str(log), header_only=True).stats.model_usage.values()
                yield (
                    title,
                    Usage(sum(u.input_tokens for u in used), sum(u.output_tokens for u in used)),
                )


def _record(path: Path) -> RunRecord | None:
    try:
        return read_run(path, sealed=False) if path.exists() else None
    except RecordError as error:
        raise RunError(str(error)) from None


def _pairs(path: Path) -> list[PreferencePair]:
    try:
        return read_pairs(path)
    except DataError as error:
        raise RunError(str(error)) from None


def _times(path: Path) -> Iterator[StepTime]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for n, line in enumerate(lines, start=1):
        yield _parsed(StepTime, line, f"{path}:{n}")


def _stored(kind: type[Stored], path: Path) -> Stored | None:
    return _parsed(kind, path.read_bytes(), str(path)) if path.exists() else None


def _parsed(kind: type[Stored], text: str | bytes, where: str) -> Stored:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        place = f"field '{field}': " if field else ""
        raise RunError(
            f"{where}: {place}{first['msg']}; delete the file and continue the run"
        ) from None


def _n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")
