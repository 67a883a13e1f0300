"""Two logs of conversations side by side: outcomes of the same people, and a judge's preference.

The unit is the person: epochs are averaged, differences are paired, intervals are two-sided 95% t
intervals over people. Nobody is left out silently: people without a pair are counted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import EvalLog
from rich.console import Console
from rich.table import Table

from benchmarks.errors import DataError
from benchmarks.logs import read_summaries
from benchmarks.pairwise import MEASURES as OPINIONS
from benchmarks.pairwise import pairwise
from results.records import PreferenceRecord, store_record
from results.stats import Bound, paired_bound
from selfevo.embedded_preferences import NAME as EMBEDDED
from selfevo.embedded_preferences import embedded_preferences
from selfevo.harness import run_judge
from selfevo.labelled import Labelled, labelled_difference
from selfevo.recording import preferences_of
from selfevo.users_rank import ALPHA, SHOWN, read_outcomes, refuse_other_settings


class Preferred(NamedTuple):
    """A judge's preference between two logs."""

    win: Bound
    """Win rate of A minus one half."""
    means: dict[str, float]
    n_pairs: int
    n_unscored: int
    n_without_pair: int
    """Conversations that broke on one side, or are on one side only."""
    log: Path


def compare_logs(
    a: Path,
    b: Path,
    *,
    judge: str | None,
    rubric: str,
    out: Path | None,
    labels: Sequence[Path] = (),
    users: Path | None = None,
    keep: Path | None = None,
    names: tuple[str | None, str | None] = (None, None),
) -> None:
    """Print how A did against B.

    Args:
        a: Log of `benchmarks/support.py`.
        b: The other one, with the same people.
        judge: Inspect model that compares the conversations, or `embedded`; None: outcomes only.
        rubric: In what they are compared.
        out: Folder of the judge's log; None: beside A.
        labels: People's labels of both logs, to correct the judge's scores in them.
        users: File of the people, where it is not the one that the logs name.
        keep: Folder in which the preferences are kept as a record, for a leaderboard.
        names: Of the two methods on the board; None: those of the models.

    Raises:
        DataError: the logs cannot be compared.
        RecordError: the record cannot be written.
    """
    console = Console()
    console.print(_outcomes(a, b))
    if labels:
        console.print(_labelled(labelled_difference(a, b, labels, users)))
    if judge is None:
        return
    if judge == EMBEDDED:
        record = embedded_preferences(a, b, users, names)
        console.print(_counted(record))
    else:
        found = ask_judge(
            a, b, judge=judge, rubric=rubric, out=out or a.parent / "compared", users=users
        )
        console.print(_preference(found, judge, rubric))
        record = preferences_of(read_summaries(found.log), *names)
    if keep is not None:
        console.print(f"kept: {store_record(record, keep)}")


def ask_judge(
    a: Path, b: Path, *, judge: str, rubric: str, out: Path, users: Path | None = None
) -> Preferred:
    """Let a model compare the conversations of two logs, as an Inspect eval of its own.

    Raises:
        RunError: the eval failed.
        DataError: fewer than two people were compared.
    """
    named = None if users is None else str(users)
    held = pairwise(a=str(a), b=str(b), rubric=rubric, users=named)
    return read_preferences(run_judge(held, judge, out))


def read_preferences(log: EvalLog) -> Preferred:
    """What a finished pairwise log says, person by person.

    Raises:
        DataError: fewer than two people were compared.
    """
    by_person: dict[str, list[Mapping[str, float]]] = {}
    n_unscored = 0
    for sample in log.samples or []:
        score = (sample.scores or {}).get("preferred")
        if score is None or not isinstance(score.value, Mapping):
            n_unscored += 1
            continue
        row = {name: float(str(score.value[name])) for name in OPINIONS}
        by_person.setdefault(str(sample.metadata["persona"]), []).append(row)
    if len(by_person) < 2:
        raise DataError(
            log.location,
            f"the judge gave an answer for {len(by_person)} people ({n_unscored} unscored)",
            "look at its failures in the log",
        )
    people = [_mean(rows) for rows in by_person.values()]
    return Preferred(
        win=paired_bound([person["win"] - 0.5 for person in people], ALPHA),
        means=_mean(people),
        n_pairs=len(log.samples or []),
        n_unscored=n_unscored,
        n_without_pair=int((log.eval.metadata or {}).get("without_pair", 0)),
        log=Path(log.location),
    )


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in OPINIONS}


def _outcomes(a: Path, b: Path) -> Table:
    ours, theirs = read_outcomes(a), read_outcomes(b)
    refuse_other_settings(ours, theirs)
    both = sorted(ours.people.keys() & theirs.people.keys())
    if len(both) < 2:
        raise DataError(
            f"{a.name} and {b.name}",
            f"share {len(both)} of their people",
            "run them with the same people",
        )
    left = len(ours.people.keys() ^ theirs.people.keys())
    table = Table(
        title=f"A: {ours.name}   B: {theirs.name}",
        caption=f"{len(both)} people on both sides, {left} on one; "
        f"unscored {ours.n_unscored} and {theirs.n_unscored}; intervals 95%",
    )
    for name in ("outcome", "A", "B", "A - B"):
        table.add_column(name, justify="left" if name == "outcome" else "right")
    for name in SHOWN:
        values = [(ours.people[p][name], theirs.people[p][name]) for p in both]
        bound = paired_bound([one - other for one, other in values], ALPHA)
        means = [sum(side) / len(both) for side in zip(*values, strict=True)]
        table.add_row(name, *(f"{mean:.2f}" for mean in means), _shown(bound))
    return table


def _labelled(found: Labelled) -> Table:
    estimate = found.a_minus_b
    table = Table(
        title=f"{found.rubric}: A - B, from people's labels and the judge",
        caption=f"{estimate.n_human} people labelled on both sides, {estimate.n_judge} judged; "
        f"{found.n_incomplete} labels leave a question open",
    )
    for name in ("together", "people alone", "judge alone"):
        table.add_column(name, justify="right")
    alone = estimate.human_only
    table.add_row(
        f"{estimate.value:+.2f} ({estimate.lower:+.2f} to {estimate.upper:+.2f})",
        f"{alone.value:+.2f} ({alone.lower:+.2f} to {alone.upper:+.2f})",
        f"{estimate.judge_only:+.2f}",
    )
    return table


def _preference(found: Preferred, judge: str, rubric: str) -> Table:
    win = found.win
    table = Table(
        title=f"{judge} on {rubric}",
        caption=f"{win.n} people, {found.n_pairs} pairs, {found.n_unscored} unscored, "
        f"{found.n_without_pair} conversations without a pair; log: {found.log.name}",
    )
    for name in ("A wins", "95%", "margin", "consistent", "same slot twice"):
        table.add_column(name, justify="right")
    table.add_row(
        f"{win.mean + 0.5:.1%}",
        f"{max(0, win.lower + 0.5):.1%} to {min(1, win.upper + 0.5):.1%}",
        f"{found.means['margin']:+.2f}",
        f"{found.means['consistent']:.0%}",
        f"{found.means['slot_driven']:.0%}",
    )
    return table


def _counted(record: PreferenceRecord) -> Table:
    """Preferences of a judge that scores each side by itself."""
    points = {"A": 1.0, "tie": 0.5, "B": 0.0}
    by_person: dict[str, list[float]] = {}
    for row in record.rows:
        by_person.setdefault(row.person, []).append(points[row.forward] - 0.5)
    win = paired_bound([sum(rows) / len(rows) for rows in by_person.values()], ALPHA)
    table = Table(
        title=f"{record.judge} on {record.rubric}",
        caption=f"{win.n} people, {len(record.rows)} pairs, {record.n_unscored} unscored",
    )
    for name in ("A wins", "95%"):
        table.add_column(name, justify="right")
    lower, upper = max(0, win.lower + 0.5), min(1, win.upper + 0.5)
    table.add_row(f"{win.mean + 0.5:.1%}", f"{lower:.1%} to {upper:.1%}")
    return table


def _shown(bound: Bound) -> str:
    return f"{bound.mean:+.2f} ({bound.lower:+.2f} to {bound.upper:+.2f})"
