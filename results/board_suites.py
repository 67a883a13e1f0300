"""Records by what was measured alike: the suites of a board.

Runs are alike if benchmark and suite are. Preferences go with the runs whose conversations were
compared. Of several records of a method, or of a pair under one judge, the newest is kept and the
others are named.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

from results.records import AnyRecord, PreferenceRecord, RunRecord, suite_hash

NAME_CHARACTERS: Final = 8
"""Of a hash in the name of a suite."""
TALKS: Final = "support"
"""Task of the conversations: in a suite of several tasks its parts are named `support.*`."""
_R = TypeVar("_R", RunRecord, PreferenceRecord)


class Suite(NamedTuple):
    """The records that were measured alike, each method (and pair) once."""

    benchmark: str
    parts: dict[str, str]
    runs: list[RunRecord]
    preferences: list[PreferenceRecord]
    superseded: list[str]


def suites_of(records: Sequence[AnyRecord]) -> list[Suite]:
    """The suites, that with most methods first."""
    runs: dict[tuple[str, str], list[RunRecord]] = {}
    preferences: dict[str, list[PreferenceRecord]] = {}
    for record in records:
        if isinstance(record, RunRecord):
            runs.setdefault((record.benchmark, _key(record.suite)), []).append(record)
        else:
            preferences.setdefault(_key(record.suite), []).append(record)
    suites = []
    for (benchmark, _), found in runs.items():
        pairs = preferences.pop(_key(_parts_of_talks(found[0])), [])
        suites.append(_suite(benchmark, found, pairs))
    suites += [_suite("pairwise", [], found) for found in preferences.values()]
    return sorted(suites, key=lambda suite: (-len(suite.runs), suite.benchmark, _key(suite.parts)))


def _suite(benchmark: str, runs: list[RunRecord], preferences: list[PreferenceRecord]) -> Suite:
    by_method: dict[str, list[RunRecord]] = {}
    for run in runs:
        by_method.setdefault(run.method, []).append(run)
    by_pair: dict[str, list[PreferenceRecord]] = {}
    for record in preferences:
        by_pair.setdefault(_pair(record), []).append(record)
    kept_runs, old_runs = _newest(by_method)
    kept_pairs, old_pairs = _newest(by_pair)
    parts = dict((runs or preferences)[0].suite)
    return Suite(benchmark, parts, kept_runs, kept_pairs, [*old_runs, *old_pairs])


def _newest(groups: Mapping[str, list[_R]]) -> tuple[list[_R], list[str]]:
    """The newest record of each name, and what is said of the others."""
    kept, said = [], []
    for name, group in sorted(groups.items()):  # whatever the order of the files
        if len(group) > 1:  # a hash takes a while
            group.sort(key=lambda one: (one.provenance.created or "", one.hash))
        *old, newest = group
        kept.append(newest)
        said += [f"{name}: {_shown(record)}, by {_shown(newest)}" for record in old]
    return kept, said


def _pair(record: PreferenceRecord) -> str:
    """The two methods, whichever was called `a`, and who judged them in what."""
    methods = " against ".join(sorted((record.a, record.b)))
    judge = f"{record.judge} {record.judge_hash[:NAME_CHARACTERS]}"
    return f"{methods}, {record.rubric} by {judge}"


def _parts_of_talks(run: RunRecord) -> dict[str, str]:
    """The part of a run's suite that a comparison of its conversations has."""
    prefix = f"{TALKS}."
    parts = {k.removeprefix(prefix): v for k, v in run.suite.items() if k.startswith(prefix)}
    return parts or dict(run.suite)


def _shown(record: AnyRecord) -> str:
    return f"{record.hash[:NAME_CHARACTERS]} of {record.provenance.created or 'an unknown date'}"


def _key(parts: Mapping[str, str]) -> str:
    return suite_hash(dict(parts))
