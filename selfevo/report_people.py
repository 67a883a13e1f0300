"""Where a candidate did better and worse than the champion, and for whom.

The difference is taken person by person, from two records. The few people with the largest ones are
looked up in the Inspect logs of the evaluation, so that a reader sees what was said to them.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inspect_ai.log import EvalSample, read_eval_log_sample, read_eval_log_sample_summaries

from benchmarks.contexts import Message
from results.records import RunRecord
from results.stats import paired_bound
from selfevo.gate_config import JUDGE_PREFIX, TALK_PREFIX, USER_MEASURES
from selfevo.report_pairs import said_before
from selfevo.report_run import log_files

N_SHOWN: Final = 5
"""People at either end whose replies are shown."""
N_CONTEXTS: Final = 2
"""Replies to one person that are shown."""


class Side(NamedTuple):
    """A checkpoint in a comparison."""

    name: str
    record: RunRecord
    folder: Path
    """Of its evaluation's logs."""


class Person(NamedTuple):
    """One person (or instruction) on both sides."""

    unit: str
    attributes: dict[str, str]
    champion: float
    candidate: float

    @property
    def difference(self) -> float:
        """Candidate minus champion."""
        return self.candidate - self.champion


class Heard(NamedTuple):
    """What both sides said to a person; `before` is what they answered, where it is the same."""

    before: tuple[Message, ...]
    champion: tuple[Message, ...]
    candidate: tuple[Message, ...]


class Change(NamedTuple):
    """A person with a large difference."""

    person: Person
    heard: tuple[Heard, ...]


class Slice(NamedTuple):
    """People who share an attribute: two or more, for one has no spread."""

    attribute: str
    value: str
    n: int
    mean: float
    lower: float
    upper: float


class Contrast(NamedTuple):
    """A candidate against the champion, person by person."""

    champion: str
    candidate: str
    metric: str
    people: tuple[Person, ...]
    """The most helped first."""
    attributes: tuple[str, ...]
    slices: tuple[Slice, ...]
    helped: tuple[Change, ...]
    harmed: tuple[Change, ...]
    """The most harmed first."""

    @property
    def n_better(self) -> int:
        """People with a gain."""
        return sum(person.difference > 0 for person in self.people)

    @property
    def n_worse(self) -> int:
        """People with a loss."""
        return sum(person.difference < 0 for person in self.people)


def contrast(champion: Side, candidate: Side, metric: str, alpha: float) -> Contrast | None:
    """Compare in one metric, of which more is better; None where nobody was scored on both sides.

    Args:
        champion: What it is compared with.
        candidate: The one that should be better.
        metric: Of the records.
        alpha: One-sided error rate of the bounds of a slice.
    """
    if any(metric not in side.record.measures for side in (champion, candidate)):
        return None
    theirs, ours = (side.record.measures[metric].values for side in (champion, candidate))
    attributes = {**champion.record.people, **candidate.record.people}
    people = [
        Person(unit, attributes.get(unit, {}), theirs[unit], ours[unit])
        for unit in ours.keys() & theirs.keys()
    ]
    if not people:
        return None
    people.sort(key=lambda person: (-person.difference, person.unit))
    helped = [person for person in people if person.difference > 0][:N_SHOWN]
    harmed = [person for person in reversed(people) if person.difference < 0][:N_SHOWN]
    names = tuple(_varying(people))
    return Contrast(
        champion=champion.name,
        candidate=candidate.name,
        metric=metric,
        people=tuple(people),
        attributes=names,
        slices=tuple(_slices(people, names, alpha)),
        helped=tuple(_changes(helped, champion.folder, candidate.folder, metric)),
        harmed=tuple(_changes(harmed, champion.folder, candidate.folder, metric)),
    )


def _varying(people: Sequence[Person]) -> Iterator[str]:
    """Attributes in which people differ, by name; what all share tells nothing."""
    for name in sorted({name for person in people for name in person.attributes}):
        if len({person.attributes.get(name) for person in people}) > 1:
            yield name


def _slices(people: Sequence[Person], attributes: Sequence[str], alpha: float) -> Iterator[Slice]:
    for attribute in attributes:
        groups: dict[str, list[float]] = defaultdict(list)
        for person in people:
            if attribute in person.attributes:
                groups[person.attributes[attribute]].append(person.difference)
        for value, found in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            if len(found) > 1:
                bound = paired_bound(found, alpha)
                yield Slice(attribute, value, bound.n, bound.mean, bound.lower, bound.upper)


def _changes(
    people: Sequence[Person], champion: Path, candidate: Path, metric: str
) -> Iterator[Change]:
    theirs, ours = (
        _samples(folder, [p.unit for p in people], metric) for folder in (champion, candidate)
    )
    for person in people:
        shared = sorted(theirs[person.unit].keys() & ours[person.unit].keys())[:N_CONTEXTS]
        heard = (_heard(theirs[person.unit][id], ours[person.unit][id]) for id in shared)
        yield Change(person, tuple(heard))


def _samples(folder: Path, units: Sequence[str], metric: str) -> dict[str, dict[str, EvalSample]]:
    """The samples of some people, by person and sample id; empty where there is no log."""
    found: dict[str, dict[str, EvalSample]] = {unit: {} for unit in units}
    for log in log_files(folder / _task_of(metric))[:1] if units else ():
        ids: dict[str, set[str]] = defaultdict(set)
        for summary in read_eval_log_sample_summaries(str(log)):
            ids[str(summary.metadata.get("dialogue_id", summary.id))].add(str(summary.id))
        for unit, own in found.items():
            for id in sorted(ids[unit])[:N_CONTEXTS]:
                own[id] = read_eval_log_sample(log, id=id, exclude_fields={"events"})
    return found


def _task_of(metric: str) -> str:
    """The eval in which a metric's words were said."""
    is_talk = metric in USER_MEASURES or metric.startswith((JUDGE_PREFIX, TALK_PREFIX))
    return "support" if is_talk else "reply"


def _heard(champion: EvalSample, candidate: EvalSample) -> Heard:
    if isinstance(champion.input, str):  # a conversation: what the person says depends on the side
        return Heard((), _spoken(champion), _spoken(candidate))
    return Heard(said_before(champion), _answer(champion), _answer(candidate))


def _spoken(sample: EvalSample) -> tuple[Message, ...]:
    return tuple(
        Message(role="user" if m.role == "user" else "assistant", content=m.text)
        for m in sample.messages
        if m.role in ("user", "assistant")
    )


def _answer(sample: EvalSample) -> tuple[Message, ...]:
    return (Message(role="assistant", content=sample.output.completion),)
