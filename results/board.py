"""A leaderboard from records: who is better, by how much, how sure that is, and what is wrong.

    board = make_board(read_records(Path("results/runs")))

What was measured alike is one suite, and there is a board for each. Of several records of a method
on a suite the newest counts. The controls are on every board, also where nobody has measured them.

Left out: any score over several measures (weights are a choice of the reader), and any comparison
over suites.
"""

from collections.abc import Sequence
from typing import Final

from results.board_controls import (
    BASE,
    STOCK,
    control_of,
    control_warnings,
    not_measured,
)
from results.board_pairs import rankings
from results.board_records import Board, Cell, Entry, MeasureBoard, Pairwise, SuiteBoard
from results.board_scores import (
    PRIMARIES,
    Column,
    better_of,
    columns,
    measure_board,
    scores_of,
)
from results.board_slices import slices_of, tails_of
from results.board_suites import NAME_CHARACTERS, Suite, suites_of
from results.records import AnyRecord, RunRecord, differing_parts, suite_hash

SEED: Final = 0
LENGTHS: Final = ("talk.length", "length")
"""Measures of the words of a reply; the first one there is."""


class BoardError(ValueError):
    """No board can be made; the message is one line: what, and what to do."""


def make_board(
    records: Sequence[AnyRecord], *, primary: str | None = None, seed: int = SEED
) -> Board:
    """The board of some records.

    Args:
        records: Of any number of suites.
        primary: Measure that methods are listed by; None: the first of `PRIMARIES` there is.
        seed: Of the resamples.

    Raises:
        BoardError: no record, or no suite has the primary measure.
    """
    if not records:
        raise BoardError("no record; make one with selfevo record LOG")
    suites = suites_of(records)
    measured = sorted({name for suite in suites for run in suite.runs for name in run.measures})
    if primary is not None and primary not in measured:
        known = f"; measured are {', '.join(measured)}" if measured else ""
        raise BoardError(f"no record has the measure '{primary}'{known}")
    first = suites[0]
    return Board(
        seed=seed,
        suites=tuple(_suite_board(suite, first, primary, seed) for suite in suites),
    )


def _suite_board(suite: Suite, first: Suite, wanted: str | None, seed: int) -> SuiteBoard:
    found = columns(suite.runs)
    primary = _primary(found, wanted)
    reference = _reference([run.method for run in suite.runs])
    measures: list[MeasureBoard] = []
    for column in found:
        better = better_of(column, primary)
        measures.append(measure_board(column, scores_of(column, better, seed), better, reference))
    measures.sort(key=lambda m: (m.measure != primary, m.better is None, m.measure))
    main = next((column for column in found if column.name == primary), None)
    scores = scores_of(main, better_of(main, primary), seed) if main else None
    pairs = rankings(suite.preferences, seed)
    attributes = {person: given for run in suite.runs for person, given in run.people.items()}
    return SuiteBoard(
        name=f"{suite.benchmark} {suite_hash(dict(suite.parts))[:NAME_CHARACTERS]}",
        benchmark=suite.benchmark,
        suite=suite.parts,
        differs=() if suite is first else _differences(suite, first),
        primary=primary,
        n_people=measures[0].n_people if measures else 0,
        entries=tuple(_entries(suite, measures, pairs)),
        measures=tuple(measures),
        slices=tuple(slices_of(scores, attributes, [c.method for c in measures[0].cells]))
        if scores
        else (),
        tails=tuple(tails_of(scores)) if scores else (),
        pairwise=tuple(pairs),
        warnings=tuple(_warnings(suite, measures, pairs, wanted)),
        superseded=tuple(suite.superseded),
    )


def _primary(found: Sequence[Column], wanted: str | None) -> str | None:
    """The column that methods are listed by: of several judges' the one with most methods."""
    names = [wanted] if wanted else []
    names += [*PRIMARIES, *(column.measure for column in found if better_of(column, None))]
    names += [column.measure for column in found]
    for name in names:
        candidates = [column for column in found if column.measure == name]
        if candidates:
            return max(candidates, key=lambda column: len(column.values)).name
    return None


def _reference(methods: Sequence[str]) -> str | None:
    """What differences are to: the base model, else stock phrases, else the first by name."""
    return next((name for name in (BASE, STOCK, *sorted(methods)) if name in methods), None)


def _differences(suite: Suite, first: Suite) -> tuple[str, ...]:
    benchmark = (
        [f"benchmark ({first.benchmark} and {suite.benchmark})"]
        if suite.benchmark != first.benchmark
        else []
    )
    return (*benchmark, *differing_parts(first.parts, suite.parts))


def _entries(
    suite: Suite, measures: Sequence[MeasureBoard], pairs: Sequence[Pairwise]
) -> list[Entry]:
    """The methods in the order of the primary measure, then those that were not measured."""
    runs = {run.method: run for run in suite.runs}
    order = [cell.method for cell in measures[0].cells] if measures else []
    order += sorted(runs.keys() - set(order))
    compared = {m.name for pair in pairs if pair.ranking for m in pair.ranking.methods}
    compared |= {name for record in suite.preferences for name in (record.a, record.b)}
    entries = [_entry(runs[method], measures) for method in order]
    entries += [
        Entry(method=name, control=control_of(name), measured=False)
        for name in sorted(compared - runs.keys())
    ]
    return [*entries, *not_measured({entry.method for entry in entries}, suite.benchmark)]


def _entry(run: RunRecord, measures: Sequence[MeasureBoard]) -> Entry:
    return Entry(
        method=run.method,
        control=control_of(run.method),
        measured=True,
        record=run.hash,
        checkpoint=run.checkpoint,
        created=run.provenance.created,
        commit=run.provenance.commit,
        cost=run.provenance.cost,
        length=next((run.measures[name].mean for name in LENGTHS if name in run.measures), None),
        logs=run.logs,
    )


def _warnings(
    suite: Suite,
    measures: Sequence[MeasureBoard],
    pairs: Sequence[Pairwise],
    wanted: str | None,
) -> list[str]:
    warnings = _of_controls(measures, pairs)
    if measures and wanted and measures[0].measure.split(" @ ")[0] != wanted:
        warnings.append(
            f"'{wanted}' was not measured; methods are listed by {measures[0].measure}."
        )
    if len(suite.runs) == 1:
        warnings.append(f"{suite.runs[0].method} is the only method: there is nothing to rank.")
    warnings += [
        f"{run.method}: the evaluation ended early ({run.exhausted}); not everybody was asked."
        for run in suite.runs
        if run.exhausted
    ]
    if measures:
        measured = {cell.method for cell in measures[0].cells}
        warnings += [
            f"{run.method} has no {measures[0].measure}: it is listed and not ranked."
            for run in suite.runs
            if run.method not in measured
        ]
        warnings += [_said_of_missing(cell, measures[0]) for cell in _with_missing(measures[0])]
    warnings += [
        f"No ranking by preferences ({p.rubric}, {p.judge}): {p.refused}."
        for p in pairs
        if p.refused
    ]
    return warnings


def _of_controls(measures: Sequence[MeasureBoard], pairs: Sequence[Pairwise]) -> list[str]:
    """By the primary measure, and by preferences."""
    ranks = {c.method: c.rank for m in measures[:1] for c in m.cells if c.rank is not None}
    warnings = control_warnings(ranks, measures[0].measure) if measures else []
    for pair in pairs:
        if pair.ranking:
            ranks = {method.name: method.rank for method in pair.ranking.methods}
            warnings += control_warnings(ranks, f"preferences in {pair.rubric} ({pair.judge})")
    return warnings


def _with_missing(found: MeasureBoard) -> list[Cell]:
    return [cell for cell in found.cells if cell.worst_mean is not None or cell.left_out]


def _said_of_missing(cell: Cell, found: MeasureBoard) -> str:
    if cell.left_out:
        return f"{cell.method} is not ranked by {found.measure}: {cell.left_out}."
    return (
        f"{cell.method} lacks scores of {found.measure}: {cell.n} of {found.n_people} people have "
        f"one; with the worst value for what is missing its mean is {cell.worst_mean:.3g}, not "
        f"{cell.own_mean:.3g}."
    )
