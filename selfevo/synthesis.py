"""Synthesis of preference candidates as an Inspect task: draft -> reflect -> refine.

Every candidate is a sample of the log, with each model call in its transcript (`inspect view`).
Other models may reflect or refine (roles `reflector`, `refiner`); without such a role the model
under training does it itself, as in the paper. A stage that fails makes the sample unscored, with
the reason; it never makes a pair.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    GenerateConfig,
    Model,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import span

from benchmarks.contexts import Context
from benchmarks.heldout import other_people, read_contexts, sample_metadata
from benchmarks.reflect import (
    Reflection,
    ReflectionFailed,
    reflect_by_generation,
    reflect_by_labels,
)
from judges.automatic import copy_rate, n_words
from judges.specificity import require_loglikelihood
from selfevo.config import SynthesisConfig
from selfevo.principles import load_principles
from selfevo.refine import (
    Refinement,
    RefinementFailed,
    Reply,
    about_others,
    as_reply,
    refine_by_generation,
    refine_by_selection,
)
from selfevo.seeds import derived_seed

VERSION = "1-A"
REFLECTION_TOKENS = 400
MEASURES = ("gain_bits", "copy_rate", "length")


@task
def synthesis(
    contexts: str, settings: dict[str, Any], seed: int = 7, task_prompt: str | None = None
) -> Task:
    """Draft, reflect and refine for each context.

    Args:
        contexts: JSON Lines file of contexts (training dialogues only).
        settings: A `SynthesisConfig`, as plain values.
        seed: Of the draws.
        task_prompt: System message of the drafts.
    """
    config = SynthesisConfig.model_validate(settings)
    drawn = read_contexts(Path(contexts))
    return Task(
        dataset=MemoryDataset([_sample(c, drawn, config) for c in drawn], name="synthesis"),
        solver=[draft(config, task_prompt), reflect(config), refine(config, seed)],
        scorer=refinement_gain(),
        version=VERSION,
        headline_metric="refinement_gain.gain_bits",
    )


@solver
def draft(config: SynthesisConfig, task_prompt: str | None) -> Solver:
    """The plain first answer: what the model would say anyway."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        system = [ChatMessageSystem(content=task_prompt)] if task_prompt else []
        model = get_model(role="drafter", default=get_model())
        async with span("draft"):
            output = await model.generate(
                [*system, *state.messages],
                config=GenerateConfig(temperature=0, max_tokens=config.max_tokens),
            )
        state.store.set("draft", as_reply(output.message, output.stop_reason).model_dump())
        return state

    return solve


@solver
def reflect(config: SynthesisConfig) -> Solver:
    """Who is this person? Skipped by the ablations that do not ask."""
    principles = load_principles(config.principles)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if not config.reflect or config.chosen == "human":
            return state
        model = get_model(role="reflector", default=get_model())
        try:
            async with span("reflect"):
                if config.reflection == "label":
                    found = await reflect_by_labels(
                        require_loglikelihood(model), _words(state.messages)
                    )
                else:
                    found = await reflect_by_generation(
                        model,
                        state.messages,
                        principles.reflecting,
                        GenerateConfig(temperature=0, max_tokens=REFLECTION_TOKENS),
                    )
            state.store.set("reflection", found.model_dump())
        except ReflectionFailed as failure:
            state.store.set("failure", str(failure))
        return state

    return solve


@solver
def refine(config: SynthesisConfig, seed: int) -> Solver:
    """The better answer, and how it was found; leaves a `Refinement` in the sample's store."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if state.store.get("failure"):
            return state
        first = Reply.model_validate(state.store.get("draft"))
        stored = state.store.get("reflection")
        reflection = Reflection.model_validate(stored) if stored else None
        try:
            async with span("refine"):
                refinement = await _refine(
                    state, config, first, reflection, derived_seed(seed, state.sample_id)
                )
        except RefinementFailed as failure:
            state.store.set("failure", str(failure))
            return state
        state.store.set("refinement", refinement.model_dump())
        state.messages.append(ChatMessageAssistant(content=refinement.refined.text))
        state.output = ModelOutput.from_content(str(get_model()), refinement.refined.text)
        return state

    return solve


async def _refine(
    state: TaskState,
    config: SynthesisConfig,
    first: Reply,
    reflection: Reflection | None,
    seed: int,
) -> Refinement:
    if config.chosen == "human":
        human = Reply(text=state.metadata["human_reply"], stop_reason="stop")
        return Refinement(draft=first, reflection=None, refined=human, gain_bits=None)
    model = get_model(role="refiner", default=get_model())
    principles = load_principles(config.principles)
    about = _about(state, config, reflection)
    if config.refinement == "generate":
        sampling = GenerateConfig(
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=2 * config.max_tokens,
            seed=seed,
        )
        refined = await refine_by_generation(
            model, state.messages, first, about[0], principles, sampling
        )
        return Refinement(draft=first, reflection=reflection, refined=refined, gain_bits=None)
    scored_draft, candidates = await refine_by_selection(
        model,
        require_loglikelihood(model),
        state.messages,
        first,
        about,
        principles,
        config,
        language=state.metadata["language"],
        seed=seed,
    )
    best = candidates[0]
    return Refinement(
        draft=first,
        reflection=reflection,
        refined=Reply(text=best.text, stop_reason=best.stop_reason),
        gain_bits=round(best.bits - scored_draft.bits, 2),
        candidates=candidates,
    )


def _about(state: TaskState, config: SynthesisConfig, reflection: Reflection | None) -> list[str]:
    """The text that guides the refinement: about this person first, then about the others."""
    others = [(other["emotion"], other["words"]) for other in state.metadata["contrast"]]
    if reflection is None:  # the ablation: only what they said, without any inference
        return [" ".join(_words(state.messages)), *(" ".join(words) for _, words in others)]
    return [reflection.text(config.use), *about_others(reflection, others, config.use)]


@scorer(metrics={name: [mean(), stderr()] for name in MEASURES})
def refinement_gain() -> Scorer:
    """What the refinement gained over the draft; unscored, with the reason, when a stage failed."""

    async def score(state: TaskState, target: Target) -> Score:
        stored = state.store.get("refinement")
        if stored is None:
            return Score.unscored(reason=str(state.store.get("failure")))
        found = Refinement.model_validate(stored)
        history = [m.text for m in state.messages[:-1]]
        copied = copy_rate(found.refined.text, history, language=state.metadata["language"])
        return Score(
            value={
                "gain_bits": found.gain_bits if found.gain_bits is not None else float("nan"),
                "copy_rate": copied or 0.0,
                "length": n_words(found.refined.text),
            },
            answer=found.refined.text,
            explanation=f"Draft: {found.draft.text}\n\nReflection: "
            + (found.reflection.text() if found.reflection else "none"),
        )

    return score


def _words(messages: Sequence[ChatMessage]) -> list[str]:
    return [m.text for m in messages if m.role == "user"]


def _sample(context: Context, everyone: Sequence[Context], config: SynthesisConfig) -> Sample:
    others = other_people(everyone, context, config.contrast)
    return Sample(
        id=context.id,
        input=context.chat_messages(),
        metadata={
            **sample_metadata(context),
            "contrast": [{"emotion": o.emotion, "words": o.seeker_words()} for o in others],
        },
    )


def drafter_role(config: SynthesisConfig, initial: Model) -> dict[str, Model]:
    """Roles of a round: M0 drafts when the recipe asks for its drafts."""
    return {"drafter": initial} if config.rejected == "initial_draft" else {}
