"""Benchmark: which of two checkpoints talked better with the same people? Asked of a judge.

`inspect eval benchmarks/pairwise.py --model none/none -T a=A.eval -T b=B.eval --model-role
judge=openai/...`, or `selfevo compare A.eval B.eval --judge openai/...`.

The two logs are of `benchmarks/support.py` with the same people, seed and settings. The judge sees
each pair in both orders and knows neither checkpoint. The headline is the win rate of `a`: 1 for a
win, 0.5 for a tie, 0 for a loss, where orders that disagree are a tie. A conversation that broke on
either side has no pair, and a failed judge leaves the pair unscored.
"""

from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, EvalSample, read_eval_log
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from benchmarks.conversation import conversation_of
from benchmarks.errors import DataError
from benchmarks.judged import material_of, person_card, the_judge
from benchmarks.logs import BROKEN, method_name, read_summaries
from benchmarks.persona import Persona, load_personas
from benchmarks.suite import KEY as SUITE
from judges.automatic import n_words
from judges.material import Material
from judges.pairwise import prefer
from judges.rubric import Rubric, load_rubric
from judges.verdict import JudgeFailed

VERSION: Final = "1-A"
POINTS: Final = {"A": 1.0, "tie": 0.5, "B": 0.0}
MEASURES: Final = ("win", "margin", "consistent", "slot_driven")
SAME_ARGS: Final = (
    "language",
    "split",
    "seed",
    "turns",
    "min_turns",
    "user",
    "appraisal",
    "disturb_at",
    "max_tokens",
)
"""Arguments of the task in which two comparable logs agree."""


@task
def pairwise(a: str, b: str, rubric: str = "personalization", users: str | None = None) -> Task:
    """Which of two checkpoints is preferred.

    Args:
        a: Log of the one checkpoint.
        b: Log of the other.
        rubric: Name of a shipped rubric, or a YAML file: in what they are compared.
        users: File of the people, where it is not the one that the logs name.
    """
    question = load_rubric(rubric)
    refuse_no_comparison(question)
    ours, theirs = (read_support_log(Path(path)) for path in (a, b))
    refuse_other_settings(ours, theirs)
    named = users or (ours.eval.task_args or {}).get("users")
    cards = {p.id: p for p in load_personas(named)}
    pairs = paired(ours, theirs)
    n_all = len({(str(s.id), s.epoch) for log in (ours, theirs) for s in log.samples or []})
    return Task(
        dataset=MemoryDataset([_sample(pair, cards) for pair in pairs], name="pairwise"),
        solver=nothing_to_do(),
        scorer=preferred(rubric),
        version=VERSION,
        headline_metric="preferred.win",
        metadata={
            "a": method_name(ours),
            "b": method_name(theirs),
            # conversations without a pair: broken on a side, or there on one side only
            "without_pair": n_all - len(pairs),
            "rubric": rubric,
            SUITE: (ours.eval.metadata or {}).get(SUITE),
        },
    )


@solver
def nothing_to_do() -> Solver:
    """The conversations are there already."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        return state

    return solve


@scorer(metrics={name: [mean(), stderr(cluster="persona")] for name in MEASURES})
def preferred(rubric: str) -> Scorer:
    """Which conversation the role `judge` prefers, over both orders."""

    async def score(state: TaskState, target: Target) -> Score:
        asked = load_rubric(rubric, state.metadata["language"])
        ours, theirs = (Material.model_validate(state.metadata[side]) for side in ("a", "b"))
        try:
            preference = await prefer(the_judge(), asked, ours, theirs)
        except JudgeFailed as failure:
            return Score.unscored(reason=f"judge {failure.kind.value}", explanation=str(failure))
        return Score(
            value={
                "win": POINTS[preference.winner],
                "margin": preference.margin,
                "consistent": float(preference.is_consistent),
                "slot_driven": float(preference.is_slot_driven),
            },
            answer=preference.winner,
            explanation=f"{preference.forward.reason}\n{preference.backward.reason}",
            metadata={
                **preference.model_dump(mode="json"),
                # what the summaries of a log keep, which are cut at a thousand characters
                "winners": [preference.forward.winner, preference.backward.winner],
            },
        )

    return score


class _Pair(NamedTuple):
    """The same person with two supporters."""

    a: EvalSample
    b: EvalSample


def read_support_log(path: Path) -> EvalLog:
    """A finished log of conversations.

    Raises:
        DataError: no such log, or the eval did not succeed.
    """
    read_summaries(path)  # refuses what is no finished log, or one with samples taken out
    try:
        return read_eval_log(str(path))
    except BROKEN as error:
        raise DataError(str(path), "is damaged", "run it again") from error


def refuse_no_comparison(rubric: Rubric) -> None:
    """Which of two is better can be asked where the criteria add up to better.

    Raises:
        DataError: they do not.
    """
    if rubric.kind == "preferences":
        what = "asks about single preferences"
    elif not rubric.adds_up:
        what = "has criteria that do not add up: of some, more is worse"
    else:
        return
    raise DataError(f"rubric '{rubric.name}'", what, "compare by another rubric")


def refuse_other_settings(ours: EvalLog, theirs: EvalLog) -> None:
    """Two checkpoints are compared on the same people, under the same settings.

    Raises:
        DataError: they were not.
    """
    one, other = (log.eval.task_args or {} for log in (ours, theirs))
    for name in SAME_ARGS:
        if one.get(name) != other.get(name):
            raise DataError(
                f"{Path(ours.location).name} and {Path(theirs.location).name}",
                f"were run with {name}={one.get(name)} and {name}={other.get(name)}",
                "run both with the same arguments",
            )


def paired(ours: EvalLog, theirs: EvalLog) -> list[_Pair]:
    """The conversations that both logs have of a person and epoch, in the order of ours.

    Raises:
        DataError: none, or another person under the same id.
    """
    others = {(str(s.id), s.epoch): s for s in theirs.samples or [] if _is_whole(s)}
    pairs = [
        _Pair(sample, others[str(sample.id), sample.epoch])
        for sample in ours.samples or []
        if _is_whole(sample) and (str(sample.id), sample.epoch) in others
    ]
    if not pairs:
        raise DataError(
            f"{Path(ours.location).name} and {Path(theirs.location).name}",
            "have no person in common",
            "run both with the same people",
        )
    for pair in pairs:
        if (pair.a.input, pair.a.metadata) != (pair.b.input, pair.b.metadata):
            raise DataError(
                f"{Path(ours.location).name} and {Path(theirs.location).name}",
                f"have other people under the same ids, such as '{pair.a.id}'",
                "run both with the same file of people",
            )
    return pairs


def _is_whole(sample: EvalSample) -> bool:
    talk = conversation_of(sample.store)
    return talk is not None and talk.ending.is_scored


def _sample(pair: _Pair, cards: dict[str, Persona]) -> Sample:
    persona = cards.get(str(pair.a.metadata["persona"]))
    if persona is None:
        raise DataError(
            f"card '{pair.a.metadata['persona']}'", "is not in the file of people", "name it: users"
        )
    metadata: dict[str, Any] = {"persona": persona.id, "language": persona.language}
    for side, sample in (("a", pair.a), ("b", pair.b)):
        material = material_of(sample.messages, persona.language, person_card(persona))
        metadata[side] = material.model_dump(mode="json")
        metadata[f"words_{side}"] = fmean(n_words(text) for text in material.replies())
    return Sample(id=f"{pair.a.id}-{pair.a.epoch}", input=persona.opening or "", metadata=metadata)
