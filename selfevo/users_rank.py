"""Which supporters the simulated users tell apart: logs side by side, the same people in each.

Means of the user outcome, and for each log the paired difference to the next one down with its
two-sided 95% t interval. People who are unscored on either side of a pair are left out and counted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import EvalLog, read_eval_log, read_eval_log_sample_summaries
from rich.console import Console
from rich.table import Table

from benchmarks.errors import DataError
from results.stats import Bound, paired_bound

ALPHA = 0.025
"""One-sided, so that the interval is a two-sided 95% one."""
SCORER = "user_outcome"
SHOWN = ("relief", "trust", "satisfied", "gave_up", "turns")


class Outcomes(NamedTuple):
    """The outcomes of one log, person by person (epochs averaged)."""

    name: str
    people: dict[str, dict[str, float]]
    n_unscored: int

    def mean(self, measure: str) -> float:
        """Mean over the people."""
        return sum(values[measure] for values in self.people.values()) / len(self.people)


def read_outcomes(path: Path) -> Outcomes:
    """The user outcomes of a log of `benchmarks/support.py`.

    Raises:
        DataError: no such log, it failed, or it holds no user outcome.
    """
    if not path.is_file():
        raise DataError(str(path), "no such log", "give the path of an .eval file")
    log = read_eval_log(str(path), header_only=True)
    if log.status != "success":
        raise DataError(str(path), f"the eval's status is '{log.status}'", "run it again")
    found: dict[str, list[dict[str, float]]] = {}
    n_unscored = 0
    for sample in read_eval_log_sample_summaries(str(path)):
        score = (sample.scores or {}).get(SCORER)
        if score is None or not isinstance(score.value, dict):
            n_unscored += 1
            continue
        values = {name: float(str(score.value[name])) for name in SHOWN}
        found.setdefault(str(sample.id), []).append(values)
    if not found:
        raise DataError(str(path), "holds no user outcome", "give logs of benchmarks/support.py")
    people = {
        person: {name: sum(row[name] for row in rows) / len(rows) for name in SHOWN}
        for person, rows in found.items()
    }
    return Outcomes(_name(log), people, n_unscored)


def compare(better: Outcomes, worse: Outcomes) -> Bound:
    """Paired difference in relief of two logs, over the people scored in both.

    Raises:
        DataError: fewer than two people in common.
    """
    both = sorted(better.people.keys() & worse.people.keys())
    if len(both) < 2:
        raise DataError(
            f"{better.name} and {worse.name}",
            f"have {len(both)} people in common",
            "run them with the same people",
        )
    differences = [better.people[p]["relief"] - worse.people[p]["relief"] for p in both]
    return paired_bound(differences, ALPHA)


def print_ranking(paths: Sequence[Path]) -> None:
    """Print the logs from most to least relief."""
    ranked = sorted(map(read_outcomes, paths), key=lambda log: -log.mean("relief"))
    table = Table(caption="difference: paired, in relief, with its 95% interval")
    table.add_column("supporter")
    for name in ("people", "unscored", *SHOWN):
        table.add_column(name, justify="right")
    table.add_column("to the next", justify="right")
    for place, log in enumerate(ranked):
        shown = [f"{log.mean(name):.2f}" for name in SHOWN]
        difference = _shown(compare(log, ranked[place + 1])) if place + 1 < len(ranked) else ""
        table.add_row(log.name, str(len(log.people)), str(log.n_unscored), *shown, difference)
    Console().print(table)


def _shown(bound: Bound) -> str:
    return f"{bound.mean:+.2f} ({bound.lower:+.2f} to {bound.upper:+.2f})"


def _name(log: EvalLog) -> str:
    """The model, with the sampling that is not the task's own."""
    config = log.eval.model_generate_config
    changed = f" T={config.temperature:g}" if config.temperature else ""
    return f"{log.eval.model}{changed}"
