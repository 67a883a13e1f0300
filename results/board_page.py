"""A leaderboard as one HTML page.

The page needs nothing beside it and asks for nothing; the links to transcripts are relative to it.
Everything that it says stands in the `Board`; what is decided here is only how it looks.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from results.board_records import (
    Board,
    Cell,
    Entry,
    MeasureBoard,
    Pairwise,
    SuiteBoard,
    TailCell,
)
from results.page import Extent, extent, number, render, signed
from results.prediction_powered import Interval
from results.ranking import Ranked, Ranking


class LogLink(NamedTuple):
    """A transcript; `href` is None where it is not on this machine."""

    name: str
    href: str | None
    folder: str


class Row(NamedTuple):
    """A method in the first table of a suite."""

    entry: Entry
    cell: Cell | None
    tail: TailCell | None
    preferred: Ranked | None
    """Its place in the first ranking by preferences."""
    logs: tuple[LogLink, ...]

    @property
    def tokens(self) -> int | None:
        """In and out together."""
        cost = self.entry.cost
        if cost.input_tokens is None and cost.output_tokens is None:
            return None
        return (cost.input_tokens or 0) + (cost.output_tokens or 0)


class Spans(NamedTuple):
    """The axes of a measure's two intervals."""

    mean: Extent
    difference: Extent


class SuiteView:
    """A suite as the template shows it."""

    def __init__(self, board: SuiteBoard, id: str, links: Mapping[str, LogLink]) -> None:
        self.board = board
        self.id = id
        self.main = board.measures[0] if board.measures else None
        self.spans = {found.measure: _spans(found) for found in board.measures}
        self.attributes = list(dict.fromkeys(found.attribute for found in board.slices))
        self.slice_names = list(dict.fromkeys((s.attribute, s.value) for s in board.slices))
        self.slice_span = extent(
            bound
            for found in board.slices
            if not found.is_small
            for bound in (found.mean, found.lower, found.upper)
        )
        self._controls = {entry.method for entry in board.entries if entry.control}
        self.rows = [self._row(entry, links) for entry in board.entries]

    @property
    def headline(self) -> str:
        """What comes of it, in one sentence."""
        return _headline(self.board)

    def control(self, method: str) -> bool:
        """Whether it is a control."""
        return method in self._controls

    def letters(self, found: MeasureBoard | Ranking | None) -> list[str]:
        """All groups of a table, the best one first."""
        if found is None:
            return []
        rows = found.methods if isinstance(found, Ranking) else found.cells
        return list(dict.fromkeys(letter for row in rows for letter in row.group or ""))

    def tone(self, found: MeasureBoard, cell: Cell) -> str:
        """Colour of a difference: shown better, shown worse, or neither."""
        lower, upper = cell.difference_lower, cell.difference_upper
        if found.better is None or lower is None or upper is None or lower <= 0 <= upper:
            return "quiet"
        return "good" if (lower > 0) == (found.better == "up") else "bad"

    def strengths(self, pair: Pairwise) -> Extent:
        """The axis of a ranking."""
        assert pair.ranking is not None
        equal = (pair.ranking.at_equal_length or {}).values()
        bounds = [(found.lower, found.upper) for found in pair.ranking.methods]
        bounds += [(found.lower, found.upper) for found in equal]
        return extent(bound for both in bounds for bound in both)

    def pair_notes(self, pair: Pairwise) -> list[str]:
        """What a ranking by preferences rests on."""
        return list(_pair_notes(pair))

    def _row(self, entry: Entry, links: Mapping[str, LogLink]) -> Row:
        cells = self.main.cells if self.main else ()
        rankings = [pair.ranking for pair in self.board.pairwise if pair.ranking]
        ranked = rankings[0].methods if rankings else ()
        return Row(
            entry=entry,
            cell=next((cell for cell in cells if cell.method == entry.method), None),
            tail=next((tail for tail in self.board.tails if tail.method == entry.method), None),
            preferred=next((found for found in ranked if found.name == entry.method), None),
            logs=tuple(links.get(log, LogLink(_log_name(log), None, "")) for log in entry.logs),
        )


def page_of(board: Board, links: Mapping[str, LogLink] | None = None, n_records: int = 0) -> str:
    """The page.

    Args:
        board: What it says.
        links: Where the logs are that the records name (`find_logs`).
        n_records: How many records the board was made from.
    """
    views = [
        SuiteView(suite, f"suite-{place}", links or {})
        for place, suite in enumerate(board.suites, start=1)
    ]
    return render("results/board.html.j2", board=board, suites=views, n_records=n_records)


def find_logs(board: Board, page_folder: Path, roots: Sequence[Path]) -> dict[str, LogLink]:
    """Links to the logs that are there, relative to the page; a run may lie under any root."""
    named = {log for suite in board.suites for entry in suite.entries for log in entry.logs}
    found = {}
    for log in sorted(named):
        places = [root / log for root in roots]
        path = next((place for place in places if place.exists()), None)
        if path is not None:
            relative = os.path.relpath(path, page_folder).replace(os.sep, "/")
            folder = path if path.is_dir() else path.parent
            found[log] = LogLink(_log_name(log), quote(relative), os.path.relpath(folder))
    return found


def _spans(found: MeasureBoard) -> Spans:
    return Spans(
        mean=extent(b for cell in found.cells for b in (cell.mean, cell.lower, cell.upper)),
        difference=extent(
            [
                0.0,
                *(
                    b
                    for cell in found.cells
                    for b in (cell.difference, cell.difference_lower, cell.difference_upper)
                ),
            ]
        ),
    )


def _headline(suite: SuiteBoard) -> str:
    by, ranked, n_people = _ranked(suite)
    counted = _count(suite)
    start = f"{suite.name}: {counted}, " if counted else f"{suite.name}: "
    if len(ranked) < 2:
        return f"{start}nothing to rank yet."
    (best, group), *others = ranked
    tied = [name for name, letters in others if set(letters) & set(group)]
    if len(tied) == len(others):
        verdict = "nobody is shown to be worse"
    elif tied:
        verdict = f"is not shown to differ from {_listed(tied)}"
    else:
        verdict = "is shown better than everybody else"
    return f"{start}{n_people} people. {best} leads by {by} and {verdict}."


def _ranked(suite: SuiteBoard) -> tuple[str, list[tuple[str, str]], int]:
    """What methods are ranked by, each with its groups, best first, and over how many people."""
    for found in suite.measures[:1]:
        cells = [c for c in found.cells if c.rank is not None]
        if cells:
            return found.measure, [(c.method, c.group or "") for c in cells], found.n_common
    for pair in suite.pairwise:
        if pair.ranking:
            methods = [(m.name, m.group) for m in pair.ranking.methods]
            return f"preferences in {pair.rubric}", methods, pair.ranking.n_people
    return "", [], 0


def _count(suite: SuiteBoard) -> str:
    measured = [entry for entry in suite.entries if entry.measured]
    n_controls = sum(entry.control is not None for entry in measured)
    counts = ((len(measured) - n_controls, "method"), (n_controls, "control"))
    return " and ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts if n)


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _pair_notes(pair: Pairwise) -> Iterator[str]:
    ranking = pair.ranking
    assert ranking is not None
    if pair.disagreement is not None:
        yield f"The two orders of a pair disagree in {pair.disagreement:.0%}; that is a tie."
    swaps = [f"{one} over {other}" for one, other in ranking.tie_reorderings]
    yield (
        f"Ties: modelled and not halved, the order turns around for {', '.join(swaps)}."
        if swaps
        else "Ties: modelled and not halved, nothing that is shown turns around."
    )
    triads = ranking.cyclic_triads
    yield (
        f"Circles (a over b over c over a): {triads.count} of {triads.n_triads} triads, "
        f"{number(triads.expected)} expected by chance (p = {number(triads.p_value, 2)})"
        + ("; one scale does not fit these preferences." if triads.p_value < 0.05 else ".")
    )
    yield (
        f"Slot: the first one is worth {_shown(ranking.slot)} log-odds."
        if ranking.slot
        else f"Slot and length could not be told: {ranking.style_problem or 'not known'}."
    )
    if ranking.length:
        yield f"Length: much longer replies are worth {_shown(ranking.length)} log-odds."
    if ranking.virtual_games:
        yield (
            f"{', '.join(ranking.virtual_games)} won or lost nothing and got half a virtual game."
        )


def _shown(found: Interval) -> str:
    return f"{signed(found.value)} ({signed(found.lower)} to {signed(found.upper)})"


def _log_name(log: str) -> str:
    """As the record has it; of a whole path only the file, for it is of somebody's machine."""
    return Path(log).name if Path(log).is_absolute() else log
