"""Where a judge's ratings of rated texts come from: a model, the embedded judge, stored ratings.

Whatever the source, an item without a rating is a failure with a reason; it is in no mean.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, get_args

from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import get_model

from benchmarks.calibration import calibration, scale
from benchmarks.errors import DataError
from benchmarks.ratings import RatedSet
from judges.absolute import JudgeSettings, identity, judge_hash
from judges.embedded import EmbeddedJudge
from judges.panel import Method, NotConverged, aggregate
from judges.rubric import load_rubric
from selfevo.harness import run_judge

EMBEDDED = "embedded"
STORED = "stored:"
PANEL = "panel:"
"""`panel:gpt,claude,gemini:median`: stored judges as one, by a method."""


LIMITS_OF_EMBEDDED = (
    "It reads words, not meaning: a good reply that shares no word with the person earns nothing.",
    "It cannot see a misread emotion, contempt in polite words, or whether advice was good.",
    "Where people gave one rating, its `personalization` (0 to 1) stands for it, as 1 + 4 times.",
)


class Answers(NamedTuple):
    """One judge's ratings of a set."""

    judge: str
    hash: str
    rubric: str | None
    ratings: dict[str, dict[str, float]]
    """Dimension -> item -> rating, the first where it was judged several times: that is the judge
    which gates."""
    repeats: dict[str, list[float]]
    """Item -> its main rating each time it was judged; empty where it was judged once."""
    failures: dict[str, int]
    """Items without a rating the first time, by reason."""
    asked: tuple[str, ...]
    """Items that the judge had to rate."""
    limits: tuple[str, ...] = ()


def answers_of(
    judge: str,
    data: str,
    rated: RatedSet,
    *,
    rubric: str,
    limit: int | None,
    repeats: int,
    log_dir: Path,
    users: Path | None = None,
) -> Answers:
    """Let a judge rate a set, or look up what it said of it.

    Raises:
        DataError: there is no such judge, or its eval failed.
    """
    if limit is not None and judge.startswith((STORED, PANEL)):
        raise DataError(f"--limit {limit}", "is of no use for stored ratings", "leave it out")
    if judge == EMBEDDED:
        return by_embedded(rated, limit)
    if judge.startswith(STORED):
        return by_store(judge.removeprefix(STORED), rated)
    if judge.startswith(PANEL):
        return by_panel(judge.removeprefix(PANEL), rated)
    languages = {item.language for item in rated.items}
    if len(languages) > 1:
        raise DataError(data, "mixes languages, and a judge is asked in one", "split it")
    asked = load_rubric(rubric, *languages)
    if scale(asked) != rated.levels:
        raise DataError(
            f"rubric '{asked.name}'",
            f"has levels {scale(asked)}, and people rated on {rated.levels}",
            "use a rubric on their scale",
        )
    task = calibration(
        data=data, rubric=rubric, limit=limit, repeats=repeats, users=str(users) if users else None
    )
    log = run_judge(task, judge, log_dir)
    return _from_log(log, judge, judge_hash(identity(get_model(judge)), asked, JudgeSettings()))


def by_embedded(rated: RatedSet, limit: int | None = None) -> Answers:
    """The embedded judge on every item that has a text."""
    embedded = EmbeddedJudge()
    items = [item for item in rated.items if item.messages][:limit]
    ratings: dict[str, dict[str, float]] = {}
    for item in items:
        turns = [(message.role, message.content) for message in item.messages]
        found = embedded.score(turns, language=item.language).value
        for dimension, value in found.items():
            ratings.setdefault(dimension, {})[item.id] = value
        if "personalization" in found:  # a share, on the scale that people use
            ratings.setdefault("score", {})[item.id] = 1 + 4 * found["personalization"]
    return Answers(
        judge=EMBEDDED,
        hash=embedded.hash,
        rubric=None,
        ratings=ratings,
        repeats={},
        failures={},
        asked=tuple(item.id for item in items),
        limits=LIMITS_OF_EMBEDDED,
    )


def by_store(name: str, rated: RatedSet) -> Answers:
    """A judge whose ratings were published with the set.

    Raises:
        DataError: the set has no such judge.
    """
    if name not in rated.stored:
        known = ", ".join(rated.stored) or "none"
        raise DataError(f"{STORED}{name}", f"{rated.name} has no such judge", f"it has {known}")
    scores = rated.stored[name]
    return Answers(
        judge=f"{STORED}{name}",
        hash=_hash(rated, name),
        rubric=None,
        ratings={dimension: dict(values) for dimension, values in scores.items()},
        repeats={},
        failures=_unrated(rated, scores),
        asked=tuple(item.id for item in rated.items),
        limits=(
            "its prompt and build are the publication's, not ours: this card cannot be remade",
        ),
    )


def by_panel(spec: str, rated: RatedSet) -> Answers:
    """Several stored judges as one.

    Raises:
        DataError: a judge is not in the set, or there is no such method.
    """
    names, _, method = spec.partition(":")
    members = [name.strip() for name in names.split(",")]
    for name in members:
        by_store(name, rated)  # refuses one that is not there
    if len(set(members)) < 2:
        raise DataError(f"{PANEL}{spec}", "is no panel", "name two different judges or more")
    how = {name: name for name in get_args(Method)}.get(method)
    if how is None:
        raise DataError(
            f"{PANEL}{spec}",
            f"'{method}' is no method of a panel",
            f"end it with one of {', '.join(f':{name}' for name in get_args(Method))}",
        )
    ratings: dict[str, dict[str, float]] = {}
    for dimension in rated.dimensions:
        stored = rated.stored_of(dimension)
        opinions = {name: {i.id: stored[name].get(i.id) for i in rated.items} for name in members}
        try:
            joined = aggregate(opinions, how, levels=rated.levels)
        except (ValueError, NotConverged) as error:  # too few judges for the method
            raise DataError(f"{PANEL}{spec}", str(error), "use another method") from error
        ratings[dimension] = {
            item: verdict.value
            for item, verdict in joined.items.items()
            if verdict.value is not None
        }
    return Answers(
        judge=f"{PANEL}{spec}",
        hash=_hash(rated, spec),
        rubric=None,
        ratings=ratings,
        repeats={},
        failures=_unrated(rated, ratings),
        asked=tuple(item.id for item in rated.items),
        limits=("a panel is not better for being one: compare this card with its members'",),
    )


def _hash(rated: RatedSet, name: str) -> str:
    """Of a stored judge: the set and its name there."""
    return hashlib.sha256(f"{rated.hash}\0{name}".encode()).hexdigest()


def _unrated(rated: RatedSet, ratings: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
    missing = sum(not any(item.id in r for r in ratings.values()) for item in rated.items)
    return {"not rated": missing} if missing else {}


def _from_log(log: EvalLog, judge: str, hash: str) -> Answers:
    by_item: dict[str, list[EvalSample]] = {}
    for sample in sorted(log.samples or [], key=lambda sample: sample.epoch):
        by_item.setdefault(str(sample.id), []).append(sample)
    ratings: dict[str, dict[str, float]] = {}
    repeats: dict[str, list[float]] = {}
    failures: Counter[str] = Counter()
    for item, samples in by_item.items():
        first = _values(samples[0])
        if first is None:
            failures[_failure(samples[0])] += 1
        for dimension, value in (first or {}).items():
            if not math.isnan(value):  # the question applies here
                ratings.setdefault(dimension, {})[item] = value
        if len(samples) > 1:
            rows = [row for sample in samples if (row := _values(sample)) is not None]
            # the score, or the first criterion of a rubric that has none
            said = [row.get("score", next(iter(row.values()))) for row in rows]
            repeats[item] = [value for value in said if not math.isnan(value)]
    return Answers(
        judge=judge,
        hash=hash,
        rubric=str((log.eval.task_args or {}).get("rubric")),
        ratings=ratings,
        repeats=repeats,
        failures=dict(failures),
        asked=tuple(by_item),
    )


def _values(sample: EvalSample) -> dict[str, float] | None:
    score = (sample.scores or {}).get("rates")
    if score is None or not isinstance(score.value, Mapping):
        return None
    return {name: float(str(value)) for name, value in score.value.items()}


def _failure(sample: EvalSample) -> str:
    score = (sample.scores or {}).get("rates")
    return str((score.metadata or {}).get("failure", "unscored")) if score else "error"
