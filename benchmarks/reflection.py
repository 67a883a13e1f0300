"""Benchmark: does the model recognise what the person feels?

`inspect eval benchmarks/reflection.py --model selfevo/default -T source=esconv -T path=...`

The model reflects on held-out dialogues; its inferred emotion is compared with the dialogue's
label. Chance and the majority label stand beside the accuracy, for ESConv's labels are skewed. Only
the emotion is scored: nothing else about the person is labelled in human dialogues.
"""

from collections import Counter
from typing import Literal

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    mean,
    metric,
    scorer,
    stderr,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from benchmarks.contexts import Context
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.heldout import heldout_contexts, sample_metadata
from benchmarks.reflect import (
    EMOTIONS,
    Inference,
    ReflectionFailed,
    recognise_emotion,
    reflect_by_generation,
)
from judges.specificity import require_loglikelihood

VERSION = "1-A"


@task
def reflection(
    contexts: str | None = None,
    strategy: Literal["label", "generate"] = "label",
    source: str = "starter",
    path: str | None = None,
    language: Language = "en",
    dialogues: int = 32,
    seed: int = 7,
) -> Task:
    """Emotion recognition on held-out dialogues.

    Args:
        contexts: JSON Lines file of contexts; without it, contexts of `source` are drawn.
        strategy: `label` ranks closed labels by log-likelihood, `generate` asks for JSON.
        source: `starter`, `esconv` or `messages`.
        path: Where the source's files are.
        language: `en` or `zh`.
        dialogues: Number of held-out people.
        seed: Of the draw.
    """
    drawn = heldout_contexts(
        contexts,
        source=source,
        path=path,
        language=language,
        dialogues=dialogues,
        per_dialogue=1,
        seed=seed,
    )
    labelled = [context for context in drawn if context.emotion in EMOTIONS]
    if not labelled:
        raise DataError(
            contexts or source,
            f"none of {len(drawn)} dialogues has an emotion label that is compared",
            f"label them with {', '.join(EMOTIONS)}, or do without this benchmark",
        )
    return Task(
        dataset=MemoryDataset([_sample(context) for context in labelled], name="reflection"),
        solver=reflect(strategy),
        scorer=emotion_recognised(),
        version=VERSION,
        headline_metric="emotion_recognised.mean",
    )


@solver
def reflect(strategy: Literal["label", "generate"]) -> Solver:
    """Store the emotion that the model sees, or why it sees none."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        words = [m.text for m in state.messages if m.role == "user"]
        try:
            if strategy == "label":
                found = await recognise_emotion(require_loglikelihood(get_model()), words)
            else:
                config = GenerateConfig(temperature=0, max_tokens=400)
                whole = await reflect_by_generation(get_model(), state.messages, "", config)
                found = whole.emotion
            state.store.set("emotion", found.model_dump())
        except ReflectionFailed as failure:
            state.store.set("failure", str(failure))
        return state

    return solve


@metric
def chance() -> Metric:
    """Accuracy of guessing any label."""

    def compute(scores: list[SampleScore]) -> float:
        return 1 / len(EMOTIONS)

    return compute


@metric
def majority() -> Metric:
    """Accuracy of always naming the most frequent label of these samples."""

    def compute(scores: list[SampleScore]) -> float:
        labels = Counter((score.sample_metadata or {}).get("emotion") for score in scores)
        return max(labels.values()) / len(scores) if scores else float("nan")

    return compute


@scorer(metrics=[mean(), stderr(), chance(), majority()])
def emotion_recognised() -> Scorer:
    """1 when the inferred emotion is the dialogue's label, else 0; no reflection, no score."""

    async def score(state: TaskState, target: Target) -> Score:
        stored = state.store.get("emotion")
        if stored is None:
            return Score.unscored(reason=str(state.store.get("failure")))
        found = Inference.model_validate(stored)
        hit = found.value.strip().lower() == target.text
        return Score(value=float(hit), answer=found.value, explanation=found.evidence)

    return score


def _sample(context: Context) -> Sample:
    return Sample(
        id=context.id,
        input=context.chat_messages(),
        target=context.emotion or "",
        metadata=sample_metadata(context),
    )
