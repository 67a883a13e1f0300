"""Which supporters the simulated users tell apart: logs side by side, the same people in each.

Means of the user outcome, and for each log the paired difference to the next one down with its
two-sided 95% t interval. People who are unscored on either side of a pair are left out of it; how
many are left is shown as n.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import EvalLog
from inspect_ai.scorer import Score
from rich.console import Console
from rich.table import Table

from benchmarks.errors import DataError
from benchmarks.logs import read_summaries
from benchmarks.pairwise import SAME_ARGS
from benchmarks.suite import KEY as SUITE
from results.records import differing_parts
from results.stats import Bound, paired_bound
from selfevo.recording import suite_of_log

ALPHA = 0.025
"""One-sided, so that the interval is a two-sided 95% one."""
SCORER = "user_outcome"
PRINTED = ("relief", "satisfied", "gave_up")
NAME_WIDTH = 16
"""Of the supporters, however narrow the terminal is: a table without names says nothing."""
PEOPLE_PARTS = ("users", "subset")
"""Of a suite: who is there. Of logs with different people those in both are compared."""
SHOWN = ("relief", "trust", "satisfied", "gave_up", "turns")


class Outcomes(NamedTuple):
    """The outcomes of one log, person by person (epochs averaged)."""

    name: str
    people: dict[str, dict[str, float]]
    n_unscored: int
    """Conversations, not people."""
    settings: dict[str, object]
    """Arguments of the task in which comparable logs agree."""
    suite: dict[str, str]
    """What was asked, but for the list of people; empty in logs that are older than suites."""
    cards: dict[str, str]
    """By person, what their sample began with and notes of them."""

    def mean(self, measure: str) -> float:
        """Mean over the people."""
        return sum(values[measure] for values in self.people.values()) / len(self.people)


def read_outcomes(path: Path) -> Outcomes:
    """The user outcomes of a log of `benchmarks/support.py`.

    Raises:
        DataError: no such log, it failed or was edited, or it holds no user outcome.
    """
    _, log, samples = read_summaries(path)
    found: dict[str, list[dict[str, float]]] = {}
    n_unscored, n_other = 0, 0
    for sample in samples:
        score = (sample.scores or {}).get(SCORER)
        values = _values(score)
        if values is not None:
            found.setdefault(str(sample.id), []).append(values)
        n_unscored += values is None
        n_other += score is None
    if not found and n_other == n_unscored:
        raise DataError(str(path), "holds no user outcome", "give logs of benchmarks/support.py")
    if not found:
        raise DataError(
            str(path),
            f"all {n_unscored} conversations are unscored",
            "see why in `inspect view`, and run it again",
        )
    people = {
        person: {name: sum(row[name] for row in rows) / len(rows) for name in SHOWN}
        for person, rows in found.items()
    }
    arguments = log.eval.task_args or {}
    settings = {name: arguments.get(name) for name in SAME_ARGS}
    suite = suite_of_log(log) if SUITE in (log.eval.metadata or {}) else {}
    for part in PEOPLE_PARTS:
        suite.pop(part, None)
    cards = {str(sample.id): f"{sample.input} {sample.metadata}" for sample in samples}
    return Outcomes(_name(log), people, n_unscored, settings, suite, cards)


def compare(better: Outcomes, worse: Outcomes) -> Bound:
    """Paired difference in relief of two logs, over the people scored in both.

    Raises:
        DataError: fewer than two people in common, or other settings.
    """
    refuse_other_settings(better, worse)
    both = sorted(better.people.keys() & worse.people.keys())
    if len(both) < 2:
        raise DataError(
            f"{better.name} and {worse.name}",
            f"share {len(both)} of their people",
            "run them with the same people",
        )
    differences = [better.people[p]["relief"] - worse.people[p]["relief"] for p in both]
    return paired_bound(differences, ALPHA)


def refuse_other_settings(one: Outcomes, other: Outcomes) -> None:
    """Outcomes compare only under the same settings.

    Raises:
        DataError: they differ.
    """
    for name, value in one.settings.items():
        if other.settings[name] != value:
            raise DataError(
                f"{one.name} and {other.name}",
                f"were run with {name}={value} and {name}={other.settings[name]}",
                "run them with the same arguments",
            )
    parts = differing_parts(one.suite, other.suite)
    if parts:
        raise DataError(
            f"{one.name} and {other.name}",
            f"were asked other things: {', '.join(parts)}",
            "run them with the same arguments",
        )
    for person in sorted(one.cards.keys() & other.cards.keys()):
        if one.cards[person] != other.cards[person]:
            raise DataError(
                f"{one.name} and {other.name}",
                f"have other people under the same ids, such as '{person}'",
                "run them with the same file of people",
            )


def print_ranking(paths: Sequence[Path]) -> None:
    """Print the logs from most to least relief."""
    ranked = sorted(_told_apart(paths), key=lambda log: -log.mean("relief"))
    table = Table()
    table.add_column("supporter", overflow="fold", min_width=NAME_WIDTH)
    for name in ("people", "unscored", *PRINTED):
        table.add_column(name.replace("_", " "), justify="right")
    for log in ranked:
        shown = [f"{log.mean(name):.2f}" for name in PRINTED]
        table.add_row(log.name, str(len(log.people)), str(log.n_unscored), *shown)
    differences = [
        f"{better.name} over {worse.name}: {_shown(compare(better, worse))}"
        for better, worse in itertools.pairwise(ranked)
    ]
    console = Console(markup=False, highlight=False)
    console.print(table)
    if differences:
        console.print("paired, in relief, with its 95% interval:")
    for line in differences:
        console.print(line, soft_wrap=True)


def _told_apart(paths: Sequence[Path]) -> list[Outcomes]:
    """The outcomes of the logs; where two have the same name, the file is part of it."""
    logs = [read_outcomes(path) for path in paths]
    times = Counter(log.name for log in logs)
    return [
        log if times[log.name] == 1 else log._replace(name=f"{log.name} ({path.name})")
        for log, path in zip(logs, paths, strict=True)
    ]


def _values(score: Score | None) -> dict[str, float] | None:
    """The shown measures; None where the score is unscored or lacks one."""
    if score is None or not isinstance(score.value, dict):
        return None
    found = {name: score.value.get(name) for name in SHOWN}
    values = {name: float(v) for name, v in found.items() if isinstance(v, int | float)}
    return (
        values if len(values) == len(SHOWN) and all(map(math.isfinite, values.values())) else None
    )


def _shown(bound: Bound) -> str:
    return f"{bound.mean:+.2f} ({bound.lower:+.2f} to {bound.upper:+.2f}), n={bound.n}"


def _name(log: EvalLog) -> str:
    """The model, with the sampling that is not the task's own."""
    config = log.eval.model_generate_config
    changed = f" T={config.temperature:g}" if config.temperature else ""
    return f"{log.eval.model}{changed}"
