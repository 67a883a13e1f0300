"""Benchmark: a judge on texts that people rated. It is the judge that is measured here.

`inspect eval benchmarks/calibration.py --model none/none -T data=lend-an-ear:PATH --model-role
judge=openai/...`, or `selfevo calibrate openai/... --data lend-an-ear:PATH`, which makes the card.

Each item is judged under a rubric without any card of the person, as the raters had none. A failed
judgement is unscored with its reason; it counts against the judge.
"""

from typing import Final

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from benchmarks.errors import DataError
from benchmarks.judged import ROLE, Call
from benchmarks.pairwise import nothing_to_do
from benchmarks.ratings import RatedItem, load_rated
from judges.absolute import JudgeSettings, judge
from judges.material import Material, Turn
from judges.rubric import load_rubric
from judges.verdict import JudgeFailed

VERSION: Final = "1-A"


@task
def calibration(
    data: str,
    rubric: str = "empathic_communication",
    limit: int | None = None,
    repeats: int = 1,
    call: Call = "rubric",
    logprobs: bool = True,
) -> Task:
    """A judge on rated texts.

    Args:
        data: `lend-an-ear:FOLDER`, `esconv:FOLDER`, `failed-esconv:FILE`, or a CSV file.
        rubric: Name of a shipped rubric, or a YAML file.
        limit: Only so many items, the first ones.
        repeats: Times that each is judged.
        call: One call a `rubric`, or one a `criterion`.
        logprobs: Ask for the probabilities of the levels.
    """
    asked = load_rubric(rubric)
    if asked.needs_persona:
        raise DataError(
            f"rubric '{rubric}'", "is about a person, and rated sets have no cards", "use another"
        )
    rated = load_rated(data)
    items = [item for item in rated.items if item.messages][:limit]
    if not items:
        raise DataError(data, "has no texts to judge", "give a set with texts")
    settings = JudgeSettings(call=call, logprobs=logprobs)
    return Task(
        dataset=MemoryDataset([_sample(item) for item in items], name=rated.name),
        solver=nothing_to_do(),
        scorer=rates(rubric, settings),
        epochs=Epochs(repeats, "mean"),
        version=VERSION,
        headline_metric=f"rates.{'score' if asked.adds_up else asked.criteria[0].name}",
    )


@scorer(metrics=[{"*": [mean(), stderr()]}])
def rates(rubric: str, settings: JudgeSettings) -> Scorer:
    """The verdict of the role `judge`."""

    async def score(state: TaskState, target: Target) -> Score:
        material = Material.model_validate(state.metadata["material"])
        asked = load_rubric(rubric, material.language)
        try:
            model = get_model(role=ROLE, required=True)
            verdict = await judge(model, asked, material, settings)
        except JudgeFailed as failure:
            return Score.unscored(
                reason=f"judge {failure.kind.value}",
                explanation=str(failure),
                metadata={"failure": failure.kind.value},
            )
        return Score(
            value={name: round(value, 4) for name, value in verdict.values(asked).items()},
            metadata=verdict.model_dump(mode="json"),
        )

    return score


def item_material(item: RatedItem) -> Material:
    """A rated text as a judge reads it."""
    return Material(
        language=item.language,
        turns=tuple(
            Turn(speaker="person" if m.role == "user" else "supporter", text=m.content)
            for m in item.messages
        ),
    )


def _sample(item: RatedItem) -> Sample:
    material = item_material(item)
    return Sample(
        id=item.id,
        input=material.shown(),
        metadata={
            "conversation": item.conversation,
            "material": material.model_dump(mode="json"),
        },
    )
