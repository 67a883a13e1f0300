"""What a leaderboard says, as records: everything that its page, its table and its JSON show.

A `Board` holds one `SuiteBoard` a suite, for what was measured differently is never put side by
side. It is made by `results.board.make_board`; nothing later computes anything.
"""

from typing import Literal

from pydantic import FiniteFloat

from results.means import ALPHA, N_RESAMPLES, Better
from results.ranking import Ranking
from results.records import Cost, Count, Record

SCHEMA_VERSION: Literal[1] = 1


class Entry(Record):
    """A method of a suite, or a control that nobody has measured."""

    method: str
    control: str | None = None
    """What a control is; None: a method."""
    measured: bool
    """Has a record of this suite; another one may still stand in a ranking of preferences."""
    command: str | None = None
    """Of a control that was not measured: what would measure it."""
    record: str | None = None
    """Content hash of the record."""
    checkpoint: str | None = None
    created: str | None = None
    commit: str | None = None
    cost: Cost = Cost()
    length: FiniteFloat | None = None
    """Mean words of a reply; None: not measured."""
    logs: tuple[str, ...] = ()
    """Inspect logs, as the record names them."""


class Cell(Record):
    """A method on a measure."""

    method: str
    n: Count
    """People scored for this method."""
    own_mean: FiniteFloat | None
    """Over those; not comparable with another method where somebody is missing."""
    worst_mean: FiniteFloat | None
    """Over everybody, with whoever is missing at the worst value; None: nobody is missing."""
    mean: FiniteFloat | None = None
    """Over the people scored for every method that is compared."""
    lower: FiniteFloat | None = None
    upper: FiniteFloat | None = None
    difference: FiniteFloat | None = None
    """To the reference, person by person."""
    difference_lower: FiniteFloat | None = None
    """These two hold for all pairs of methods together."""
    difference_upper: FiniteFloat | None = None
    rank: int | None = None
    rank_lower: int | None = None
    """1 plus the methods shown to be better."""
    rank_upper: int | None = None
    group: str | None = None
    """Letters; two methods that share one are not shown to differ."""
    left_out: str | None = None
    """Why the method is not compared on this measure."""


class MeasureBoard(Record):
    """One measure of a suite."""

    measure: str
    better: Better | None
    """None: neither is better, so it is shown and not ranked."""
    judge: str | None
    """Hash of the judge that gave it."""
    scale: tuple[FiniteFloat, FiniteFloat] | None
    reference: str | None
    """Method that differences are to; None: fewer than two methods are compared."""
    n_people: Count
    """Scored for one method at least."""
    n_common: Count
    """Scored for every method that is compared: who the means are over."""
    cells: tuple[Cell, ...]
    """Best first; those that are not compared last."""


class Slice(Record):
    """The primary measure of one method among people with one attribute."""

    attribute: str
    value: str
    method: str
    n: Count
    mean: FiniteFloat
    lower: FiniteFloat | None
    """None: one person has no interval."""
    upper: FiniteFloat | None
    is_small: bool


class TailCell(Record):
    """Mean of the primary measure over the worst tenth of the people of one method."""

    method: str
    n: Count
    """People in the tenth."""
    mean: FiniteFloat
    lower: FiniteFloat | None
    """None: too few people in it."""
    upper: FiniteFloat | None


class Pairwise(Record):
    """All preferences of one judge under one rubric."""

    judge: str
    judge_hash: str
    rubric: str
    ranking: Ranking | None
    """From one result a pair, where orders that disagree are a tie; only what the slot is worth is
    from the single calls. None: see `refused`."""
    refused: str | None
    """Why there is no ranking."""
    n_pairs: Count
    n_unscored: Count
    """Pairs of which the judge gave no usable answer; in no ranking."""
    disagreement: FiniteFloat | None
    """Share of pairs whose two orders disagree; None: no pair."""
    logs: tuple[str, ...]


class SuiteBoard(Record):
    """The methods that were measured alike."""

    name: str
    """Benchmark and start of the suite's hash."""
    benchmark: str
    suite: dict[str, str]
    differs: tuple[str, ...]
    """What this suite differs in from the first one of the board."""
    primary: str | None
    """Measure that methods are listed by; None: there are preferences only."""
    n_people: Count
    entries: tuple[Entry, ...]
    """By the primary measure, best first; controls that were not measured last."""
    measures: tuple[MeasureBoard, ...]
    """The primary one first."""
    slices: tuple[Slice, ...]
    tails: tuple[TailCell, ...]
    pairwise: tuple[Pairwise, ...]
    warnings: tuple[str, ...]
    """What a reader must know before believing the order."""
    superseded: tuple[str, ...]
    """Older records of a method, which are not shown."""

    def measure(self, name: str) -> MeasureBoard | None:
        """The measure of that name."""
        return next((found for found in self.measures if found.measure == name), None)


class Board(Record):
    """A whole leaderboard."""

    schema_version: Literal[1] = SCHEMA_VERSION
    alpha: FiniteFloat = ALPHA
    n_resamples: Count = N_RESAMPLES
    seed: Count
    suites: tuple[SuiteBoard, ...]
