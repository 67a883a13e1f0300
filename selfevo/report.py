"""The report of a run: one HTML page that a person would rather look at than at the JSON.

It says who is champion and why, shows the rounds with their intervals, what became of the pairs,
how training went, examples with what differs marked, who was helped and who was not, and what it
cost. It needs no network and works from a file. A run that is not finished gets a page too, which
says what is missing.

The page quotes the run's dialogues. Those of ESConv are CC BY-NC: a page of such a run is for the
desk, not for a repository.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from judges.card import CardError, JudgeCard, read_card
from results.page import render
from results.records import RunRecord
from selfevo.config import dump_recipe
from selfevo.errors import RunError
from selfevo.gate_config import JUDGE_PREFIX
from selfevo.report_pairs import Example, Funnel, dropped_examples, funnel, kept_examples
from selfevo.report_people import Contrast, Side, contrast
from selfevo.report_rounds import MEANINGS, TONES, RoundView, mean_of, round_views
from selfevo.report_run import RunFiles, Training, read_run_folder

CURVES: Final = {
    "loss": "Loss of DPO",
    "rewards/margins": "Reward margin",
    "rewards/accuracies": "Reward accuracy",
}
MAX_POINTS: Final = 200
"""Of a curve; a longer one is thinned evenly."""


class Card(NamedTuple):
    """A judge's card, and what is wrong with it."""

    metric: str
    card: JudgeCard | None
    trouble: str


class StepView(NamedTuple):
    """What one step took."""

    name: str
    seconds: float | None
    input_tokens: int | None
    output_tokens: int | None


class RunReport(NamedTuple):
    """Everything that the page shows."""

    files: RunFiles
    primary: str
    champion: str | None
    m0_mean: float | None
    rounds: tuple[RoundView, ...]
    funnels: tuple[Funnel, ...]
    examples: tuple[Example, ...]
    contrasts: tuple[Contrast, ...]
    """The last one first."""
    cards: tuple[Card, ...]
    steps: tuple[StepView, ...]
    recipe: str


def report(run: Path, out: Path | None = None) -> Path:
    """Write the page of a run; returns where it lies (default: `report.html` in the run).

    Raises:
        RunError: there is no run, a file of it cannot be read, or the page cannot be written.
    """
    path = out or run / "report.html"
    page = page_of(read_report(run))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); choose another --out"
        ) from None
    return path


def page_of(shown: RunReport) -> str:
    """The page."""
    return render(
        "selfevo/report.html.j2",
        r=shown,
        tones=TONES,
        meanings=MEANINGS,
        sft_curve=_points(shown.files.m0_training, "loss"),
        dpo_curves={title: _curves(shown.files, key) for key, title in CURVES.items()},
    )


def read_report(run: Path) -> RunReport:
    """Gather what the page shows.

    Raises:
        RunError: there is no run, or a file of it cannot be read.
    """
    files = read_run_folder(run)
    primary = files.config.gate.primary
    return RunReport(
        files=files,
        primary=primary,
        champion=files.champion if files.m0 else None,
        m0_mean=mean_of(files.m0, primary),
        rounds=tuple(round_views(files)),
        funnels=tuple(found for files_ in files.rounds if (found := funnel(files_))),
        examples=(
            *(example for files_ in files.rounds for example in kept_examples(files_)),
            *dropped_examples(files.rounds),
        ),
        contrasts=tuple(reversed(list(_contrasts(files)))),
        cards=tuple(_cards(files)),
        steps=tuple(_steps(files)),
        recipe=dump_recipe(files.config),
    )


def _contrasts(files: RunFiles) -> Iterator[Contrast]:
    """Each candidate against its champion; then what the whole run brought, if more than that."""
    if files.m0 is None:
        return
    first = champion = Side("M0", files.m0, files.root / "m0/evaluation")
    n_promoted = 0
    gate = files.config.gate
    for found in files.rounds:
        if found.record is None:
            continue
        candidate = Side(found.name, found.record, found.folder / "evaluation")
        made = contrast(champion, candidate, gate.primary, gate.alpha)
        if made:
            yield made
        if found.decision and found.decision.promoted:
            champion, n_promoted = candidate, n_promoted + 1
    if n_promoted > 1 and (made := contrast(first, champion, gate.primary, gate.alpha)):
        yield made


def _cards(files: RunFiles) -> Iterator[Card]:
    config = files.config.judge
    used = {metric: judge for record in _records(files) for metric, judge in record.judges.items()}
    for rubric in config.rubrics if config else ():
        metric, path = f"{JUDGE_PREFIX}{rubric}", config.cards.get(rubric) if config else None
        if path is None:
            yield Card(metric, None, "no card: this judge was not held against people")
            continue
        try:
            card = read_card(path)
        except CardError as error:
            yield Card(metric, None, str(error))
            continue
        is_other = metric in used and used[metric] != card.judge_hash
        yield Card(metric, card, "this card is of another judge than the run's" if is_other else "")


def _records(files: RunFiles) -> list[RunRecord]:
    records = (files.m0, *(found.record for found in files.rounds))
    return [record for record in records if record is not None]


def _steps(files: RunFiles) -> Iterator[StepView]:
    for step in files.times:
        used = files.usage.get(step.step)
        yield StepView(
            step.step,
            step.seconds,
            used.input_tokens if used else None,
            used.output_tokens if used else None,
        )


def _curves(files: RunFiles, key: str) -> list[dict[str, object]]:
    curves = ((found.name, _points(found.training, key)) for found in files.rounds)
    return [{"name": name, "points": points} for name, points in curves if points]


def _points(training: Training | None, key: str) -> list[dict[str, float]]:
    entries = [entry for entry in training.curve if key in entry] if training else []
    every = -(-len(entries) // MAX_POINTS) or 1
    return [{"x": e.get("step", float(i)), "y": e[key]} for i, e in enumerate(entries)][::every]
