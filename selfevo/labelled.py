"""Few labels of people, many of a judge: the difference of two checkpoints, person by person.

The labels come from `selfevo annotate A B`, the judge's numbers stand in the logs (`-T rubrics=...`
under the same rubric). Prediction-powered inference (`results/prediction_powered.py`) joins them:
the judge lends precision, and its bias is measured on the labelled people and taken out. Both
checkpoints must be labelled, since a judge may be biased towards one of them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import read_eval_log

from benchmarks.errors import DataError
from judges.absolute import scored
from judges.rubric import Rubric, load_rubric
from judges.verdict import Finding
from results.prediction_powered import Estimate, difference_estimate
from selfevo.annotate_items import read_items
from selfevo.annotate_labels import Label, read_labels

KEYS = {"personalization": ("score", "true"), "unhelpfulness": ("any", "any")}
"""What counts of people's labels and of the judge's values, where it is not `score` in both."""

Values = dict[str, list[float]]


class Labelled(NamedTuple):
    """A difference, and what it rests on."""

    rubric: str
    a_minus_b: Estimate
    n_incomplete: int
    """Labels that leave a question open; they are in no mean."""


def labelled_difference(
    a: Path,
    b: Path,
    labels: Sequence[Path],
    users: Path | None = None,
    *,
    alpha: float = 0.05,
) -> Labelled:
    """How much better A is than B, from people's labels and the judge's values.

    Args:
        a: Log of the one checkpoint, with the judge's scores.
        b: Log of the other.
        labels: Files of `selfevo annotate`, of one rater each.
        users: File of the people, where it is not the one that the logs name.
        alpha: Two-sided error of the interval.

    Raises:
        DataError: no labels, of several rubrics, or of a changed one; no judge in a log; or too few
            people labelled on a side.
    """
    lines = [label for path in labels for label in read_labels(path)]
    # a rater's later word on a conversation replaces the earlier one
    given = list({(label.rater, label.item): label for label in lines}.values())
    rubric = _rubric(given, labels)
    of_people, of_judge = KEYS.get(rubric.name, ("score", "score"))
    values, n_incomplete = _by_item(given, rubric, of_people)
    people = [_people(path, rubric, values, users) for path in (a, b)]
    judge = [_judge(path, rubric.name, of_judge) for path in (a, b)]
    try:
        # the library's difference is second minus first
        found = difference_estimate(people[1], judge[1], people[0], judge[0], alpha=alpha)
    except ValueError as error:
        raise DataError("labels", str(error), "rate more with selfevo annotate") from error
    return Labelled(rubric.name, found, n_incomplete)


def _rubric(given: Sequence[Label], files: Sequence[Path]) -> Rubric:
    names = {(label.rubric, label.rubric_hash, label.language) for label in given}
    where = ", ".join(str(path) for path in files)
    if len(names) != 1:
        what = "hold no labels" if not names else "are of several rubrics or languages"
        raise DataError(where, what, "give files of one selfevo annotate")
    [(name, hash, language)] = names
    rubric = load_rubric(name, language)
    if rubric.hash != hash:
        raise DataError(where, f"were made with another '{name}'", "rate again with this one")
    return rubric


def _by_item(given: Iterable[Label], rubric: Rubric, key: str) -> tuple[Values, int]:
    """The labels' values by conversation, one a rater; and how many labels are incomplete."""
    values: Values = defaultdict(list)
    n_incomplete = 0
    for label in given:
        if "cannot tell" in label.missing.values():
            n_incomplete += 1
            continue
        findings = {
            name: Finding(level=value, evidence="", reason="")
            for name, value in label.values.items()
        }
        found = scored(findings, rubric)
        if key in found:
            values[label.item].append(found[key])
    return values, n_incomplete


def _people(
    path: Path, rubric: Rubric, values: Mapping[str, Sequence[float]], users: Path | None
) -> dict[str, float]:
    """The labels of one log by person: mean over raters, then over epochs."""
    by_person: Values = defaultdict(list)
    for item in read_items([path], rubric.name, users).items:
        if item.id in values:
            by_person[item.sample].append(_mean(values[item.id]))
    return {person: _mean(found) for person, found in by_person.items()}


def _judge(path: Path, scorer: str, key: str) -> dict[str, float]:
    by_person: Values = defaultdict(list)
    for sample in read_eval_log(str(path)).samples or []:
        score = (sample.scores or {}).get(scorer)
        if score is not None and isinstance(score.value, Mapping):
            by_person[str(sample.id)].append(float(str(score.value[key])))
    if not by_person:
        raise DataError(
            str(path), f"holds no score of the judge '{scorer}'", f"run it with -T rubrics={scorer}"
        )
    return {person: _mean(found) for person, found in by_person.items()}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
