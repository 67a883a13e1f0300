"""The directory of a run: append-only, resumable, and everything in it readable with plain tools.

```
RUN/recipe.yaml            the resolved recipe
RUN/run.json               versions, hashes, when
RUN/data/                  the dialogues and contexts used, and the load report
RUN/m0/checkpoint/         phase 1's adapter
RUN/m0/evaluation/         Inspect logs
RUN/m0/record.json         what they say, person by person
RUN/round-1/synthesis/     Inspect log of the pairs
RUN/round-1/pairs.jsonl, pairs-report.json
RUN/round-1/checkpoint/    phase 2's adapter and training.json
RUN/round-1/evaluation/, record.json, decision.json
RUN/champion.json          which checkpoint won
RUN/ledger.jsonl           how often the held-out people were asked, unless the recipe has a ledger
```

An artefact is written to `NAME.partial`, synced and renamed: what has its final name is whole.
Resuming means finding the first one missing; a `.partial` folder holds what a long step can go on
from. A recipe that changed is refused, unless nothing but data was drawn: who corrects a mistake
that stopped the run at once has lost nothing.
"""

import json
import os
import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from selfevo.config import RunConfig, changed_keys, dump_recipe, load_recipe
from selfevo.errors import RunError
from selfevo.progress import console, step

Record = TypeVar("Record", bound=BaseModel)

RECIPE = "recipe.yaml"
DRAWN = (
    "run.json",
    "data/report.json",
    "data/train.jsonl",
    "data/replay.jsonl",
    "data/heldout.jsonl",
    "data/heldout-people.jsonl",
    "data/retention.jsonl",
    "data/users-train.jsonl",
    "data/users-gate.jsonl",
    "round-*/contexts.jsonl",
)
"""What is there before anything is computed."""
COMPUTED = ("m0", "others")
"""Folders of what is there afterwards."""
PACKAGES = (
    "selfevo",
    "inspect-ai",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "accelerate",
    "numpy",
    "scipy",
)


class RunInfo(BaseModel):
    """What a run was started with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = 1
    started: str
    python: str
    platform: str
    cpu_count: int
    packages: dict[str, str]
    commit: str | None
    """Of the working tree that holds this package, `+` if it had changes; None outside one."""
    base_model: str
    """Content hash of the base checkpoint."""
    principles: str
    """Content hash of the principles."""


class StepTime(BaseModel):
    """How long one step took."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    seconds: float


class Run:
    """One run directory, held open by one process at a time."""

    def __init__(self, root: Path, config: RunConfig) -> None:
        self.root = root
        self.config = config
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{root}: not a run folder: {error.strerror}; choose another") from None
        self._lock = FileLock(root / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunError(
                f"{root}: another process is working on this run; wait for it or choose another "
                "--run folder"
            ) from None
        try:
            self._settle_the_recipe()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process continue the run."""
        self._lock.release()

    def once(self, name: str, make: Callable[[Path], object], title: str | None = None) -> Path:
        """The path of artefact `name`; if it is missing, `make(partial)` writes it elsewhere first.

        A partial *folder* is left for `make` to continue; a partial file is begun again. With a
        `title`, the step is announced, timed, and its time kept in `times.jsonl`.
        """
        path = self.root / name
        if not path.exists():
            partial = path.with_name(path.name + ".partial")
            partial.parent.mkdir(parents=True, exist_ok=True)
            if partial.is_file():
                partial.unlink()
            if title is None:
                make(partial)
            else:
                with step(title) as elapsed:
                    make(partial)
                self._note_time(title, elapsed())
            _sync_all(partial)
            partial.rename(path)
            _sync(path.parent)
        return path

    def times(self) -> list[StepTime]:
        """How long each step took, in order; a step that was resumed counts its last part."""
        path = self.root / "times.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [_parsed(StepTime, line, f"{path}:{n}") for n, line in enumerate(lines, start=1)]

    def _note_time(self, title: str, seconds: float) -> None:
        line = StepTime(step=title, seconds=round(seconds, 1)).model_dump_json()
        with (self.root / "times.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def record(self, name: str, kind: type[Record], make: Callable[[], Record]) -> Record:
        """The JSON record `name`, made if it is missing."""
        path = self.once(name, lambda partial: _write(partial, to_json(make())))
        return _parsed(kind, path.read_bytes(), str(path))

    def has(self, name: str) -> bool:
        """Whether artefact `name` is finished."""
        return (self.root / name).exists()

    def replace(self, name: str, record: BaseModel) -> None:
        """Write a pointer such as `champion.json` (the only kind of file that changes)."""
        partial = self.root / f"{name}.partial"
        _write(partial, to_json(record))
        _sync(partial)
        partial.replace(self.root / name)
        _sync(self.root)

    def _settle_the_recipe(self) -> None:
        """Keep to the recipe that the run began with; until something is computed, it may change.

        Raises:
            RunError: it changed after that, or the folder holds somebody's data and no run.
        """
        path = self.root / RECIPE
        if not path.exists() and (foreign := self._drawn()):
            raise RunError(
                f"{foreign[0]}: is of no run, and would be taken for its own; "
                "choose another --run folder"
            )
        stored = load_recipe(path) if path.exists() else self.config
        changes = "; ".join(changed_keys(stored, self.config))
        # a recipe that a hand wrote is nobody's to replace: the folder is more than a run
        is_ours = not changes or path.read_text("utf-8") == dump_recipe(stored)
        if changes and (self.has_computed() or not is_ours):
            raise RunError(
                f"{self.root}: was started with another recipe ({changes}); "
                "undo the change or choose another --run folder"
            )
        if changes:
            console.print(f"recipe: changed before anything was computed ({changes}): drawn anew")
            self._begin_again()
        self.once(RECIPE, lambda partial: _write(partial, dump_recipe(self.config)))

    def has_computed(self) -> bool:
        """Whether there is more than what was drawn from the data, if only the start of it."""
        return any(f.is_file() for folder in COMPUTED for f in (self.root / folder).rglob("*"))

    def _drawn(self) -> list[Path]:
        return [path for pattern in DRAWN for path in self.root.glob(pattern)]

    def _begin_again(self) -> None:
        """Take away what was drawn for another recipe; that recipe last, if this is killed."""
        for path in self._drawn():
            path.unlink()
        (self.root / RECIPE).unlink()


def to_json(record: BaseModel) -> str:
    """A record as stored: indented, sorted by field, UTF-8."""
    return json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def describe_run(*, base_model: str, principles: str) -> RunInfo:
    """The machine, the versions and the hashes of a run that starts now."""
    return RunInfo(
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        python=platform.python_version(),
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 1,
        packages={name: _version(name) for name in PACKAGES},
        commit=_commit(),
        base_model=base_model,
        principles=principles,
    )


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _commit() -> str | None:
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=False
        )

    try:
        head = git("rev-parse", "--short=12", "HEAD")
    except FileNotFoundError:
        return None
    if head.returncode != 0:
        return None
    changed = git("status", "--porcelain", "--untracked-files=no").stdout.strip()
    return head.stdout.strip() + ("+" if changed else "")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _parsed(kind: type[Record], text: str | bytes, where: str) -> Record:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        place = f"field '{field}': " if field else ""
        raise RunError(
            f"{where}: {place}{first['msg']}; delete the file to make it again"
        ) from None


def _sync_all(path: Path) -> None:
    """Bring an artefact and all that is in it to disk before a rename makes it count."""
    for inner in path.rglob("*"):
        _sync(inner)
    _sync(path)


def _sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
