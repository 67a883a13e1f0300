"""The rankings of a suite by preferences: one for each judge and rubric.

A pair of conversations is judged in both orders. For the strengths it is one result, where orders
that disagree are a tie: two rows would say that a judge who goes by the slot has been asked twice.
So is it for what length is worth, so that strengths with and without it differ by length alone.
For what the slot is worth the two calls are two rows, for only they know it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from results.battles import Battles, RankingError
from results.board_records import Pairwise
from results.ranking import Ranking, RankingSettings, rank_methods
from results.records import PreferenceRecord, PreferenceRow, Winner
from results.style_control import style_control

SWAPPED: Final[dict[Winner, Winner]] = {"A": "B", "B": "A", "tie": "tie"}


def rankings(preferences: Sequence[PreferenceRecord], seed: int) -> list[Pairwise]:
    """A ranking for each judge and rubric, or why there is none."""
    groups: dict[tuple[str, str], list[PreferenceRecord]] = {}
    for record in preferences:
        groups.setdefault((record.rubric, record.judge_hash), []).append(record)
    return [_pairwise(group, seed) for _, group in sorted(groups.items())]


def result_of(row: PreferenceRow) -> Winner:
    """The winner, where A is the record's `a`: that of both orders, else a tie."""
    return row.forward if row.forward == SWAPPED[row.backward] else "tie"


def _pairwise(records: Sequence[PreferenceRecord], seed: int) -> Pairwise:
    rows = [row for record in records for row in record.rows]
    refused = None
    ranking = None
    try:
        ranking = _ranking(records, seed)
    except RankingError as error:
        refused = str(error)
    disagreeing = sum(row.forward != SWAPPED[row.backward] for row in rows)
    names = Counter(record.judge for record in records)
    return Pairwise(
        judge=names.most_common(1)[0][0],
        judge_hash=records[0].judge_hash,
        rubric=records[0].rubric,
        ranking=ranking,
        refused=refused,
        n_pairs=len(rows),
        n_unscored=sum(record.n_unscored for record in records),
        disagreement=disagreeing / len(rows) if rows else None,
        logs=tuple(log for record in records for log in record.logs),
    )


def _ranking(records: Sequence[PreferenceRecord], seed: int) -> Ranking:
    """Strengths and what length is worth by results, what the slot is worth by single calls.

    Raises:
        RankingError: the methods cannot be ranked.
    """
    ranking = rank_methods(_results(records), RankingSettings(seed=seed))
    alpha = ranking.settings.alpha
    try:
        slot = style_control(_in_both_orders(records, calls=True), alpha=alpha).slot
        style = style_control(_in_both_orders(records, calls=False), alpha=alpha)
    except RankingError as error:
        found: dict[str, object] = {
            "slot": None,
            "length": None,
            "at_equal_length": None,
            "style_problem": str(error),
        }
    else:
        found = {
            "slot": slot,
            "length": style.length,
            "at_equal_length": style.strengths if style.length else None,
            "style_problem": None,
        }
    return ranking.model_copy(update=found)


def _results(records: Sequence[PreferenceRecord]) -> Battles:
    rows = [(record, row) for record in records for row in record.rows]
    return Battles.of(
        first=[record.a for record, _ in rows],
        second=[record.b for record, _ in rows],
        winner=[result_of(row) for _, row in rows],
        person=[row.person for _, row in rows],
    )


def _in_both_orders(records: Sequence[PreferenceRecord], *, calls: bool) -> Battles:
    """Two rows a pair, first with `a` in the first slot and then with `b` there.

    Args:
        records: Of one judge and rubric.
        calls: Each row has the winner of its call; else both have the result of the pair, which
            no slot has a part in.
    """
    rows = [(record, row) for record in records for row in record.rows]
    forward = [row.forward if calls else result_of(row) for _, row in rows]
    backward = [row.backward if calls else SWAPPED[result_of(row)] for _, row in rows]
    return Battles.of(
        first=[*(record.a for record, _ in rows), *(record.b for record, _ in rows)],
        second=[*(record.b for record, _ in rows), *(record.a for record, _ in rows)],
        winner=[*forward, *backward],
        person=[row.person for _, row in rows] * 2,
        words=[
            *(row.words_a - row.words_b for _, row in rows),
            *(row.words_b - row.words_a for _, row in rows),
        ],
    )
