"""Benchmark: does the model recognise who the person is, what they feel and what they need?

`inspect eval benchmarks/reflection.py --model selfevo/default -T source=esconv -T path=...`
`inspect eval benchmarks/reflection.py --model selfevo/default -T source=personas -T turns=4`

The model reflects on a dialogue. Of held-out human dialogues only the emotion is labelled, so only
the emotion is scored. Of simulated people (`source=personas`) the card is known: emotion, need,
personality and situation are compared with it. Chance and the majority label stand beside the
accuracies. A failed reflection is unscored, and counted in `reflection_failed`.

A simulated person tells every model the same: their opening, facts and a hint at the need, to a
supporter who only listens. So nothing is measured of how well a model draws a person out. Under
`strategy=label` the situation is quoted from the dialogue: there `situation` says nothing about the
model, and is what an inferred one has to beat.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal, get_args

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, GenerateConfig, get_model
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
from inspect_ai.viewer import (
    ScoreColorScale,
    TaskSamplesColumn,
    TaskSamplesSort,
    TaskSamplesView,
    ViewerConfig,
)

from benchmarks.card_match import (
    emotion_of,
    is_in_language,
    need_of,
    situation_gain,
    trait_of,
)
from benchmarks.contexts import Context, Message
from benchmarks.conversation import CUT_OFF
from benchmarks.counterfactual import NEUTRAL
from benchmarks.dialogues import Language, SplitName
from benchmarks.errors import DataError, require_positive
from benchmarks.heldout import heldout_contexts, sample_metadata
from benchmarks.persona import Need, Persona, load_personas
from benchmarks.reflect import (
    EMOTIONS,
    Inference,
    Reflection,
    ReflectionFailed,
    recognise_emotion,
    reflect_by_generation,
    reflect_by_labels,
)
from benchmarks.suite import content_hash, suite
from benchmarks.support import sample_of
from judges.specificity import require_loglikelihood

VERSION = "3-A"
PERSONAS: Final = "personas"
CONTROLS: Final = 3
"""Other people whose situations stand for what any text has in common with any situation."""
MEASURES: Final = ("need", "emotion", "personality", "situation")
DECIMALS: Final = 3
GENERATION: Final = GenerateConfig(temperature=0, max_tokens=400)

Strategy = Literal["label", "generate"]


@task
def reflection(
    contexts: str | None = None,
    strategy: Strategy = "label",
    source: str = "starter",
    path: str | None = None,
    language: Language = "en",
    dialogues: int = 32,
    seed: int = 7,
    users: str | None = None,
    split: SplitName | None = "gate",
    turns: int = 4,
) -> Task:
    """What a model infers about people who said a few things.

    Args:
        contexts: JSON Lines file of contexts; without it, contexts of `source` are drawn.
        strategy: `label` ranks closed labels by log-likelihood, `generate` asks for JSON.
        source: `starter`, `esconv` or `messages`; or `personas`, simulated people.
        path: Where the dialogues' files are.
        language: `en` or `zh`.
        dialogues: Number of held-out people of dialogues.
        seed: Of the draw of dialogues.
        users: Of personas: their file; without it, the shipped people.
        split: Of personas: `train`, `gate` or `final`; none: everyone in the file.
        turns: Of personas: messages that each person writes, as far as the card goes.
    """
    if source == PERSONAS:
        if contexts or path:
            given = f"contexts={contexts}" if contexts else f"path={path}"
            raise DataError(given, "is not read with source=personas", "name a file with users=")
        return _of_personas(users, language, split, turns=turns, strategy=strategy)
    require_positive(dialogues=dialogues)
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
        metadata=suite("reflection", VERSION, people=content_hash(labelled), settings=strategy),
        headline_metric="emotion_recognised",
    )


def _of_personas(
    users: str | None,
    language: Language,
    split: SplitName | None,
    *,
    turns: int,
    strategy: Strategy,
) -> Task:
    if turns < 1:
        raise DataError(f"turns={turns}", "tells nothing", "choose 1 or more")
    people = load_personas(users, language=language, split=split)
    if len(people) <= CONTROLS:
        raise DataError(
            users or "shipped personas",
            f"only {len(people)} people, each of whom is compared with {CONTROLS} others",
            "choose another split, or a larger file",
        )
    samples = [_persona_sample(people, place, turns) for place in range(len(people))]
    return Task(
        dataset=MemoryDataset(samples, name="reflection-personas"),
        solver=reflect_wholly(strategy),
        scorer=[person_recognised(), reflection_failed()],
        version=VERSION,
        # what a person needs is what they do not say; the emotion's labels are near each other
        headline_metric="person_recognised.need",
        viewer=_viewer(),
    )


@solver
def reflect(strategy: Strategy) -> Solver:
    """Store the emotion that the model sees, or why it sees none."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        try:
            if strategy == "label":
                found = await recognise_emotion(require_loglikelihood(get_model()), _said(state))
            else:
                whole = await reflect_by_generation(get_model(), state.messages, "", GENERATION)
                found = whole.emotion
            state.store.set("emotion", found.model_dump())
        except ReflectionFailed as failure:
            state.store.set("failure", str(failure))
        return state

    return solve


@solver
def reflect_wholly(strategy: Strategy) -> Solver:
    """Store all that the model infers about the person, or why it infers nothing."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        try:
            if strategy == "label":
                found = await reflect_by_labels(require_loglikelihood(get_model()), _said(state))
            else:
                found = await reflect_by_generation(get_model(), state.messages, "", GENERATION)
            state.store.set("reflection", found.model_dump())
        except ReflectionFailed as failure:
            state.store.set("failure", str(failure))
        return state

    return solve


def _said(state: TaskState) -> list[str]:
    return [message.text for message in state.messages if message.role == "user"]


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
            return Score.unscored(reason=str(state.store.get("failure") or CUT_OFF))
        found = Inference.model_validate(stored)
        hit = emotion_of(found.value) == target.text
        return Score(value=float(hit), answer=found.value, explanation=found.evidence)

    return score


@metric
def need_chance() -> Metric:
    """Accuracy of guessing any need."""

    def compute(scores: list[SampleScore]) -> float:
        return 1 / len(get_args(Need))

    return compute


@metric
def need_majority() -> Metric:
    """Accuracy of always naming the most frequent need of these samples."""

    def compute(scores: list[SampleScore]) -> float:
        needs = Counter((score.sample_metadata or {}).get("need") for score in scores)
        return max(needs.values()) / len(scores) if scores else float("nan")

    return compute


@metric
def trait_majority() -> Metric:
    """Accuracy of always naming the pole of the Big Five that most of these people have."""

    def compute(scores: list[SampleScore]) -> float:
        cards = [(score.sample_metadata or {}).get("big_five") or {} for score in scores]
        poles = Counter(known for card in cards for known in card.items() if known[1])
        return max(poles.values()) / len(scores) if poles else float("nan")

    return compute


@metric(scores="unreduced")
def failed_share() -> Metric:
    """Share of reflections that failed, over all epochs."""

    def compute(scores: list[SampleScore]) -> float:
        if not scores:
            return float("nan")
        return sum(score.score.as_float() for score in scores) / len(scores)

    return compute


@scorer(
    metrics={
        "need": [mean(), stderr(cluster="persona"), need_chance(), need_majority()],
        "emotion": [mean(), stderr(cluster="persona"), chance(), majority()],
        "personality": [mean(), stderr(cluster="persona"), trait_majority()],
        "situation": [mean(), stderr(cluster="persona")],
    }
)
def person_recognised() -> Scorer:
    """Need, emotion, personality (0 or 1) and situation (a gain) against the card.

    A key is NaN, and in no mean, where the card or the reflection says nothing that can be
    compared; the explanation says which. An emotion that no label names is wrong, as it is for
    `emotion_recognised`. Where poles are balanced, a guessed trait is right half of the time.
    """

    async def score(state: TaskState, target: Target) -> Score:
        stored = state.store.get("reflection")
        if stored is None:
            return Score.unscored(reason=str(state.store.get("failure") or CUT_OFF))
        found = Reflection.model_validate(stored)
        verdicts = _verdicts(found, state.metadata)
        return Score(
            value={
                name: float("nan") if value is None else round(value, DECIMALS)
                for name, (value, _) in verdicts.items()
            },
            answer=found.text(),
            explanation="\n".join(f"{name}: {why}" for name, (_, why) in verdicts.items()),
            metadata=found.model_dump(),
        )

    return score


@scorer(metrics=[failed_share()])
def reflection_failed() -> Scorer:
    """1 where there is no valid reflection, else 0.

    A score of its own: Inspect's metrics do not see the unscored samples of `person_recognised`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        is_there = state.store.get("reflection") is not None
        failure = None if is_there else state.store.get("failure") or CUT_OFF
        return Score(value=float(not is_there), explanation=failure)

    return score


Verdict = tuple[float | None, str]
"""How right an inference is, None where that is not known, and why."""


def _verdicts(found: Reflection, card: dict[str, Any]) -> dict[str, Verdict]:
    """What each part of a reflection is worth, by the sample's metadata."""
    return {
        "need": _need(found.need.value, card["need"]),
        "emotion": _emotion(found.emotion.value, card["emotion"]),
        "personality": _personality(found.personality.value, card["big_five"]),
        "situation": _situation(found.situation.value, card),
    }


def _need(text: str, need: str | None) -> Verdict:
    if need is None:
        return None, "the card does not say"
    named = need_of(text)
    if named is None:
        return None, f"none of the known needs is named in {text!r}"
    return float(named == need), f"{named}, the card says {need}"


def _emotion(text: str, emotion: str | None) -> Verdict:
    if emotion is None:
        return None, "the card does not say"
    named = emotion_of(text)
    return float(named == emotion), f"{named or repr(text)}, the card says {emotion}"


def _personality(text: str, big_five: dict[str, str | None] | None) -> Verdict:
    named = trait_of(text)
    if named is None:
        return None, f"none of the known traits is named in {text!r}"
    trait, pole = named
    known = (big_five or {}).get(trait)
    if known is None:
        return None, f"the card does not say how much {trait}"
    return float(pole == known), f"{pole} {trait}, the card says {known}"


def _situation(text: str, card: dict[str, Any]) -> Verdict:
    language: Language = card["language"]
    if not is_in_language(text, language=language):
        return None, "told in another language than the card, no words to compare"
    gain = situation_gain(text, card["situation"], card["other_situations"], language=language)
    if gain is None:
        return None, "the card's situation has no content word"
    return gain, f"overlap {gain:+.3f} more than with other people's"


def _persona_sample(people: Sequence[Persona], place: int, turns: int) -> Sample:
    """The sample of the person who stands there; the controls are the next ones in the file."""
    person = people[place]
    others = [*people[place + 1 :], *people[:place]][:CONTROLS]
    messages = _told(person, turns)
    sample = sample_of(person)
    return Sample(
        id=sample.id,
        input=messages,
        target=", ".join(label for label in (person.need, person.emotion) if label),
        metadata={
            **(sample.metadata or {}),
            "turns": sum(message.role == "user" for message in messages),
            "big_five": person.big_five.model_dump() if person.big_five else None,
            "situation": person.situation,
            "other_situations": [other.situation for other in others],
        },
    )


def _told(person: Persona, turns: int) -> list[ChatMessage]:
    """The dialogue with this person: opening and facts, a hint at the end, a neutral supporter.

    A card without an opening begins with its first fact; its situation, which is to be inferred,
    is never told.
    """
    told = [person.opening or "", *(fact.text for fact in person.disclosure)]
    told = [text for text in told if text][:turns]
    if person.lines:
        joint = " " if person.language == "en" else ""
        told[-1] = f"{told[-1]}{joint}{person.lines.hints[0]}"
    between = itertools.cycle(NEUTRAL[person.language])
    messages = [Message(role="user", content=told[0])]
    for text in told[1:]:
        messages += [
            Message(role="assistant", content=next(between)),
            Message(role="user", content=text),
        ]
    return [message.chat_message() for message in messages]


def _sample(context: Context) -> Sample:
    return Sample(
        id=context.id,
        input=context.chat_messages(),
        target=context.emotion or "",
        metadata=sample_metadata(context),
    )


def _viewer() -> ViewerConfig:
    columns = [
        TaskSamplesColumn(id="sampleStatus"),
        TaskSamplesColumn(id="sampleId"),
        TaskSamplesColumn(id="epoch", visible=False),
        TaskSamplesColumn(id="input"),
        TaskSamplesColumn(id="target"),
        TaskSamplesColumn(id="answer"),
        *(TaskSamplesColumn.score("person_recognised", name) for name in MEASURES),
        TaskSamplesColumn.score("reflection_failed", visible=False),
    ]
    return ViewerConfig(
        trust_content=False,
        task_samples_view=TaskSamplesView(
            name="Who was recognised",
            columns=columns,
            sort=[TaskSamplesSort.score("person_recognised", "need")],
            score_color_scales={
                **dict.fromkeys(("need", "emotion", "personality"), "good-high"),
                "situation": ScoreColorScale(palette="diverging", min=-1, max=1),
            },
        ),
    )
