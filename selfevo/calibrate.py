"""`selfevo calibrate`: hold a judge against people, and write its card.

    selfevo calibrate embedded --data lend-an-ear:PATH
    selfevo calibrate stored:gpt --data lend-an-ear:PATH
    selfevo calibrate openai/gpt-4o-mini --data lend-an-ear:PATH --repeats 2
    selfevo calibrate MODEL --data labels.csv --rubric personalization

The card is a JSON file that a gate reads, and a page that people read. It says what was measured,
also where that is little.
"""

import datetime
import importlib.metadata
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from benchmarks.calibration import scale
from benchmarks.errors import DataError
from benchmarks.ratings import RatedSet, load_rated
from judges.agreement import (
    Agreement,
    Ceiling,
    Ratings,
    agreement,
    ceiling,
    consensus,
    judge_minus_human,
)
from judges.card import DimensionCard, JudgeCard, ProbeOutcome, dump_card, trust_of
from judges.length import LengthBias, length_bias
from judges.resampling import AgreementUndefined, Interval
from judges.rubric import load_rubric
from judges.stability import Stability, stability
from selfevo.judge_answers import EMBEDDED, PANEL, STORED, Answers, answers_of
from selfevo.judge_page import page_of, shown
from selfevo.judge_probes import position_of_model, probe_embedded, probe_model

SEED = 7
PROBED = 40
"""Contexts in which a model is probed; each costs eight calls, and two for the position."""
VERSIONS = ("selfevo", "inspect_ai", "scikit-learn", "scipy", "numpy")
DERIVED = {"ordinal": "score", "items": "any", "preferences": "score"}
"""What a rubric makes of its criteria; people's labels are joined in the same way."""


def calibrate(
    judge: str,
    data: str,
    *,
    rubric: str,
    out: Path,
    limit: int | None = None,
    repeats: int = 1,
    contexts: Path | None = None,
    users: Path | None = None,
) -> JudgeCard:
    """Measure a judge and write `NAME.json` and `NAME.md` into `out`.

    Args:
        judge: An Inspect model, `embedded`, `stored:NAME` or `panel:NAMES:METHOD`.
        data: What people rated (`benchmarks.ratings.load_rated`).
        rubric: What a model is asked.
        out: Folder of the cards.
        limit: Only the first so many items.
        repeats: Times that a model judges each item.
        contexts: ESConv, whose dialogues the probes answer; None: no probes.
        users: File of the people that the items are about, where they are not the shipped ones.

    Raises:
        DataError: the data or the judge cannot be used.
    """
    if contexts is not None and not contexts.exists():
        raise DataError(str(contexts), "is not there", "give a file or folder of ESConv")
    is_asked = judge != EMBEDDED and not judge.startswith((STORED, PANEL))
    rated = load_rated(data, levels=scale(load_rubric(rubric)) if is_asked else None)
    if not rated.raters:
        raise DataError(data, "nobody rated it", "give a set with ratings of people")
    answers = answers_of(
        judge,
        data,
        rated,
        rubric=rubric,
        limit=limit,
        repeats=repeats,
        log_dir=out / "logs",
        users=users,
    )
    command = _command(judge, data, rubric, limit, repeats, contexts)
    card = make_card(answers, rated, command=command)
    name = file_name(judge, rated.name, answers.rubric)
    _write(card, out, name)  # before the probes: what was paid for is kept
    if contexts is not None:
        card = card.model_copy(update=_probed(judge, contexts, out / "logs"))
        _write(card, out, name)
    print_card(card, out / f"{name}.md")
    return card


def _write(card: JudgeCard, out: Path, name: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(dump_card(card), encoding="utf-8")
    (out / f"{name}.md").write_text(page_of(card), encoding="utf-8")


def _probed(judge: str, contexts: Path, log_dir: Path) -> dict[str, object]:
    """How the judge takes replies that must lose, and slots; a stored judge cannot be asked."""
    if judge == EMBEDDED:
        return {"probes": probe_embedded(contexts)}
    if judge.startswith((STORED, PANEL)):
        return {}
    return {
        "probes": probe_model(judge, contexts, contexts=PROBED, log_dir=log_dir),
        "position": position_of_model(judge, contexts, contexts=PROBED, log_dir=log_dir),
    }


def make_card(answers: Answers, rated: RatedSet, *, command: str) -> JudgeCard:
    """Everything that the ratings say of the judge."""
    dimensions = [
        _dimension(name, people, answers, rated)
        for name, people in _people(rated, answers.rubric).items()
    ]
    clusters = rated.clusters()
    conversations = {clusters[item] for item in answers.asked}
    return JudgeCard(
        judge=_public(answers.judge),
        judge_hash=answers.hash,
        rubric=answers.rubric,
        data=rated.name,
        data_hash=rated.hash,
        measured=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        command=command,
        versions={name: importlib.metadata.version(name) for name in VERSIONS},
        n_items=len(answers.asked),
        n_conversations=len(conversations),
        failures=answers.failures,
        dimensions=tuple(dimensions),
        stability=_stability(answers, rated),
        limits=answers.limits,
    )


def _people(rated: RatedSet, rubric: str | None) -> dict[str, list[Ratings]]:
    """The ratings of people by dimension.

    Where they rated every criterion of the rubric, also what the rubric makes of them; of
    preferences, which are each person's own, only that.
    """
    by_dimension: dict[str, list[Ratings]] = {}
    for name in rated.dimensions:
        by_dimension[name] = list(rated.by_rater(name).values())
    if rubric is None:
        return by_dimension
    asked = load_rubric(rubric, rated.items[0].language)
    if asked.kind == "preferences":
        weights = dict.fromkeys(rated.dimensions, 1.0)
        by_dimension = {}
    elif asked.adds_up and {c.name for c in asked.criteria} <= set(rated.dimensions):
        weights = {criterion.name: criterion.weight for criterion in asked.criteria}
    else:
        return by_dimension
    joined: list[Ratings] = []
    for rater in rated.raters:
        joined.append(_joined(rated, rater, weights, asked.kind))
    return {**by_dimension, DERIVED[asked.kind]: joined}


def _joined(
    rated: RatedSet, rater: str, weights: Mapping[str, float], kind: str
) -> dict[str, float]:
    """What the rubric makes of one rater's labels, item by item.

    Items that the rater left incomplete are left out; a preference that does not apply is none.
    """
    own = {name: rated.by_rater(name)[rater] for name in weights}
    found = {}
    for item in rated.items:
        values = {name: ratings[item.id] for name, ratings in own.items() if item.id in ratings}
        if not values or (kind != "preferences" and len(values) < len(weights)):
            continue
        if kind == "items":
            found[item.id] = max(values.values())
            continue
        total = sum(weights[name] for name in values)
        found[item.id] = sum(weights[name] * value for name, value in values.items()) / total
    return found


def _dimension(
    name: str,
    people: Sequence[Ratings],
    answers: Answers,
    rated: RatedSet,
) -> DimensionCard:
    # people may have rated under a name that the judge has not: then its whole score stands for it
    judge = answers.ratings.get(name) or answers.ratings.get("score", {})
    levels = rated.levels
    raters = [ratings for ratings in people if ratings]
    human = consensus(raters)
    clusters = rated.clusters()
    found = _agreement(judge, human, levels, clusters)
    due = [item for item in answers.asked if item in human]
    missing = sum(item not in judge for item in due) / len(due) if due else 1.0
    trust = trust_of(found, failure_rate=missing, levels=levels)
    return DimensionCard(
        name=name,
        trust=trust.trust,
        reason=trust.reason,
        labels_needed=trust.labels_needed,
        agreement=found,
        ceiling=_ceiling(raters, levels, clusters),
        judge_minus_human=_against_one_more(judge, raters, levels, clusters),
        length=_length(judge, human, rated, clusters),
    )


def _agreement(
    judge: Ratings, human: Ratings, levels: Sequence[int], clusters: Mapping[str, str]
) -> Agreement | None:
    if not judge:
        return None
    try:
        return agreement(judge, human, levels=levels, clusters=clusters, seed=SEED)
    except AgreementUndefined:
        return None


def _ceiling(
    raters: Sequence[Ratings], levels: Sequence[int], clusters: Mapping[str, str]
) -> Ceiling | None:
    if len(raters) < 2:
        return None
    try:
        return ceiling(raters, levels=levels, clusters=clusters, seed=SEED)
    except AgreementUndefined:
        return None


def _against_one_more(
    judge: Ratings,
    raters: Sequence[Ratings],
    levels: Sequence[int],
    clusters: Mapping[str, str],
) -> Interval | None:
    if len(raters) < 3 or not judge:  # somebody to leave out, and two to agree without them
        return None
    try:
        return judge_minus_human(judge, raters, levels=levels, clusters=clusters, seed=SEED)
    except AgreementUndefined:
        return None


def _length(
    judge: Ratings, human: Ratings, rated: RatedSet, clusters: Mapping[str, str]
) -> LengthBias | None:
    try:
        return length_bias(judge, human, rated.lengths(), clusters=clusters, seed=SEED)
    except AgreementUndefined:
        return None


def _stability(answers: Answers, rated: RatedSet) -> Stability | None:
    try:
        return stability(answers.repeats, clusters=rated.clusters(), seed=SEED)
    except AgreementUndefined:
        return None


def print_card(card: JudgeCard, page: Path) -> None:
    """The card as a table, and where its page is."""
    table = Table(
        title=f"{card.judge} on {card.data}",
        caption=f"{card.n_items} items of {card.n_conversations} conversations, "
        f"{sum(card.failures.values())} without a verdict; people: what each reaches",
    )
    for name in ("dimension", "kappa", "people", "verdict"):
        justify: Literal["left", "right"] = "left" if name in ("dimension", "verdict") else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for dimension in card.dimensions:
        found, people = dimension.agreement, dimension.ceiling
        table.add_row(
            dimension.name,
            shown(found.kappa if found else None),
            f"{people.kappa.value:.2f}" if people and people.kappa else "-",
            str(dimension.trust),
        )
    console = Console()
    console.print(table)
    for probe in card.probes:
        console.print(_probe_line(probe), highlight=False)
    console.print(f"card: {page}", soft_wrap=True, highlight=False)


def _probe_line(probe: ProbeOutcome) -> str:
    outcome = "loses, as it must" if probe.loses else "IS NOT SHOWN TO LOSE"
    return f"probe {probe.name}: below a person's reply in {shown(probe.below)}: {outcome}"


def file_name(judge: str, data: str, rubric: str | None = None) -> str:
    """A card's file name: judge, data and rubric, without what file systems dislike."""
    named = [_public(judge), data, *([Path(rubric).stem.split(".")[0]] if rubric else [])]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", ".".join(named)).strip("-")


def _command(
    judge: str, data: str, rubric: str, limit: int | None, repeats: int, contexts: Path | None
) -> str:
    """How to make the card again; paths of this machine are left out."""
    kind, colon, _ = data.partition(":")
    parts = ["selfevo", "calibrate", _public(judge), "--data", f"{kind}:PATH" if colon else "CSV"]
    if not judge.startswith((EMBEDDED, STORED, PANEL)):
        parts += ["--rubric", rubric, "--repeats", str(repeats)]
    if limit is not None:
        parts += ["--limit", str(limit)]
    if contexts is not None:
        parts += ["--contexts", "PATH/TO/esconv"]
    return shlex.join(parts)


def _public(judge: str) -> str:
    """A model's name without the folder it lies in."""
    provider, *path = judge.split("/")
    return f"{provider}/.../{path[-1]}" if len(path) > 2 else judge
