"""Benchmark: a judge on texts that people rated. It is the judge that is measured here.

`inspect eval benchmarks/calibration.py --model none/none -T data=lend-an-ear:PATH --model-role
judge=openai/...`, or `selfevo calibrate openai/... --data lend-an-ear:PATH`, which makes the card.

The judge gets what it gets in a gate: the person's card under a rubric that is about the person
(the items must then name whose it is, as those of `selfevo annotate` do), and none otherwise. A
failed judgement is unscored with its reason; it counts against the judge.
"""

import math
from collections.abc import Sequence
from typing import Final

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from benchmarks.errors import DataError, require_positive
from benchmarks.judged import Call, person_card, the_judge
from benchmarks.pairwise import nothing_to_do
from benchmarks.persona import load_personas
from benchmarks.ratings import RatedItem, load_rated
from judges.absolute import JudgeSettings, judge, value_names
from judges.material import Material, PersonCard, Turn
from judges.rubric import Rubric, load_rubric
from judges.verdict import FailureKind, JudgeFailed

VERSION: Final = "1-A"


@task
def calibration(
    data: str,
    rubric: str = "empathic_communication",
    limit: int | None = None,
    repeats: int = 1,
    call: Call = "rubric",
    logprobs: bool = True,
    users: str | None = None,
) -> Task:
    """A judge on rated texts.

    Args:
        data: `lend-an-ear:FOLDER`, `esconv:FOLDER`, `failed-esconv:FILE`, or a CSV file.
        rubric: Name of a shipped rubric, or a YAML file.
        limit: Only so many items, the first ones.
        repeats: Times that each is judged.
        call: One call a `rubric`, or one a `criterion`.
        logprobs: Ask for the probabilities of the levels.
        users: File of the people, where they are not the shipped ones.
    """
    require_positive(limit=limit, repeats=repeats)
    asked = load_rubric(rubric)
    rated = load_rated(data, levels=scale(asked))
    items = [item for item in rated.items if item.messages][:limit]
    if not items:
        raise DataError(data, "has no texts to judge", "give a set with texts")
    settings = JudgeSettings(call=call, logprobs=logprobs)
    cards = _cards(items, users) if asked.needs_persona else {}
    return Task(
        dataset=MemoryDataset(
            [_sample(item, cards.get(item.persona)) for item in items], name=rated.name
        ),
        solver=nothing_to_do(),
        scorer=rates(rubric, settings),
        epochs=Epochs(repeats, "mean"),
        version=VERSION,
        headline_metric=f"rates.{'score' if asked.adds_up else asked.criteria[0].name}",
    )


@scorer(metrics=[{"*": [mean(), stderr()]}])
def rates(rubric: str, settings: JudgeSettings, reply_only: bool = False) -> Scorer:
    """The verdict of the role `judge`, on the whole conversation or on its last reply alone."""

    async def score(state: TaskState, target: Target) -> Score:
        material = Material.model_validate(state.metadata["material"])
        asked = load_rubric(rubric, material.language)
        if reply_only:
            asked = asked.model_copy(update={"about": "reply"})
        try:
            verdict = await judge(the_judge(), asked, material, settings)
            values = verdict.values(asked)
            if not values:
                raise JudgeFailed(FailureKind.MISSING, "no question applies here")
        except JudgeFailed as failure:
            return Score.unscored(
                reason=f"judge {failure.kind.value}",
                explanation=str(failure),
                metadata={"failure": failure.kind.value},
            )
        return Score(
            value={name: round(values.get(name, math.nan), 4) for name in value_names(asked)},
            metadata=verdict.model_dump(mode="json"),
        )

    return score


def scale(rubric: Rubric) -> tuple[int, ...]:
    """All levels between the lowest and the highest of a rubric."""
    values = [value for criterion in rubric.criteria for value in criterion.values]
    return tuple(range(min(values), max(values) + 1))


def _cards(items: Sequence[RatedItem], users: str | None) -> dict[str | None, PersonCard]:
    """The cards of the people that the items are about.

    Raises:
        DataError: an item does not say whose it is, or nobody knows them.
    """
    people = {persona.id: persona for persona in load_personas(users)}
    for item in items:
        if item.persona not in people:
            who = f"about '{item.persona}', whom no card knows" if item.persona else "about nobody"
            raise DataError(
                f"item '{item.id}'",
                f"is {who}, and the rubric is about the person",
                "use labels of selfevo annotate, and name the people's file, or another rubric",
            )
    return {item.persona: person_card(people[str(item.persona)]) for item in items}


def item_material(item: RatedItem, card: PersonCard | None = None) -> Material:
    """A rated text as a judge reads it."""
    return Material(
        language=item.language,
        card=card,
        turns=tuple(
            Turn(speaker="person" if m.role == "user" else "supporter", text=m.content)
            for m in item.messages
        ),
    )


def _sample(item: RatedItem, card: PersonCard | None) -> Sample:
    material = item_material(item, card)
    return Sample(
        id=item.id,
        input=material.shown(),
        metadata={
            "conversation": item.conversation,
            "material": material.model_dump(mode="json"),
        },
    )
