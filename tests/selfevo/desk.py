"""A desk to rate at: logs of two supporters, rubrics of each kind, and what a page would send."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inspect_ai.model import get_model

import benchmarks.controls
from benchmarks.support import support
from selfevo.annotate_items import Item, read_items, shuffled
from selfevo.annotate_labels import LabelFile
from selfevo.annotate_page import Desk
from tests.benchmarks.fakes import run

CONTROLS = benchmarks.controls.CONTROLS  # imported for Inspect to know them
RATER = "ana"
SEED = 7


def talked(people: Path, model: str, log_dir: Path, **options: Any) -> Path:
    """A log of conversations with everybody in a file of people."""
    options = {"users": str(people), "split": None, "turns": 3, **options}
    return Path(run(support(**options), get_model(model), log_dir).location)


def write_rubric(path: Path, kind: str, **changes: Any) -> Path:
    """A rubric of two questions, or of the one template."""
    values = {"ordinal": (1, 2, 3), "items": (0, 1), "preferences": (-1, 0, 1)}[kind]
    names = ("preference",) if kind == "preferences" else ("warmth", "fit")
    criteria = [
        {
            "name": name,
            "question": "Was it so? {preference}" if kind == "preferences" else f"How is {name}?",
            "weight": 1.0,
            "levels": [
                {"value": v, "name": f"level {v}", "anchor": f"Anchor {v}."} for v in values
            ],
            **({"not_applicable": "Never came up."} if name in ("fit", "preference") else {}),
        }
        for name in names
    ]
    rubric = {
        "name": f"test_{kind}",
        "version": "1",
        "language": "en",
        "kind": kind,
        "higher_is": "better",
        "about": "conversation",
        "needs_persona": kind == "preferences",
        "instructions": "Read, then answer.",
        "criteria": criteria,
        **changes,
    }
    path.write_text(json.dumps(rubric), encoding="utf-8")  # JSON is YAML
    return path


@contextmanager
def at_desk(logs: list[Path], rubric: Path | str, out: Path, **options: Any) -> Iterator[Desk]:
    """A desk with its file of labels."""
    found = read_items(logs, str(rubric))
    items = shuffled(found.items, SEED, RATER)
    with LabelFile(out, found.rubric, RATER) as labels:
        yield Desk(items, found.rubric, RATER, labels, **options)


def submission(of: Item, answers: Mapping[str, object], **changes: Any) -> dict[str, Any]:
    """What the page sends."""
    return {"item": of.id, "answers": dict(answers), "notes": "", "seconds": 12.34, **changes}


SERVE = """
import sys
from pathlib import Path
from selfevo.annotate import annotate
log, rubric, out = sys.argv[1:]
annotate([Path(log)], rubric=rubric, rater="ana", out=Path(out))
"""


@contextmanager
def program(log: Path, rubric: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a program of its own; killed at the end if it still runs."""
    arguments = [sys.executable, "-u", "-c", SERVE, str(log), str(rubric), str(out)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()
