"""Refinement: the model improves its own draft for the person it has reflected on.

`refine_by_generation` shows a capable model the draft, the reflection and the principles, and
validates its JSON answer (one repair, then `RefinementFailed`). `refine_by_selection` is for small
models: several replies are drawn with the reflection in the system message, and the one that the
reflection explains best is kept.

How well a reflection R explains a reply: `log2 p(reply | R) - mean_j log2 p(reply | R_j)`, with R_j
the same about other people, counted on words that were not copied from the dialogue (copying would
win otherwise).
"""

from collections.abc import Sequence
from importlib import resources
from typing import Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ResponseSchema,
)
from inspect_ai.util import collect, json_schema
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.dialogues import Language
from benchmarks.likelihood import said, score_all
from benchmarks.reflect import (
    EMOTIONS,
    NEEDS,
    PERSONALITIES,
    Inference,
    Reflection,
    extract_situation,
)
from judges.automatic import copied_spans, n_words, unhelpful_reasons
from judges.specificity import SupportsLoglikelihood, specificity_bits
from selfevo.config import SynthesisConfig
from selfevo.principles import Principles

DECIMALS = 2
"""Of stored bits: below that, float rounding of a batch shows."""


class Reply(BaseModel):
    """A written reply and why it ended."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    stop_reason: str


class ScoredReply(Reply):
    """A candidate of the selection."""

    bits: float
    """How well the reflection explains it."""
    faults: tuple[str, ...]
    """What the detectors say against it."""


class Refinement(BaseModel):
    """How one preference candidate came to be: everything a reader wants to see."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    draft: Reply
    reflection: Reflection | None
    """None when the ablation refines without one."""
    refined: Reply
    gain_bits: float | None
    """Bits by which the reflection explains the refinement better than the draft, if measured."""
    candidates: tuple[ScoredReply, ...] = ()


class RefinementFailed(ValueError):
    """The model gave no valid refinement, not even after one repair."""


class _Response(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    response: str = Field(min_length=1, pattern=r"\S")


_SCHEMA: Final = ResponseSchema(name="refinement", json_schema=json_schema(_Response))


async def refine_by_generation(
    model: Model,
    dialogue: Sequence[ChatMessage],
    draft: Reply,
    about: str,
    principles: Principles,
    config: GenerateConfig,
) -> Reply:
    """Ask for `{"response": ...}`, validate, repair once.

    Raises:
        RefinementFailed: with the validator's complaint about the second answer.
    """
    prompt = refinement_prompt(principles.refining, about, draft.text)
    talk = "\n".join(f"{'Person' if m.role == 'user' else 'Supporter'}: {m.text}" for m in dialogue)
    asked: list[ChatMessage] = [ChatMessageSystem(content=prompt), ChatMessageUser(content=talk)]
    config = config.merge(GenerateConfig(response_schema=_SCHEMA))
    output = await model.generate(asked, config=config)
    try:
        text = parse_response(output.completion)
    except RefinementFailed as complaint:
        asked += [
            output.message,
            ChatMessageUser(content=f"{complaint}. Answer with the JSON object only."),
        ]
        output = await model.generate(asked, config=config)
        text = parse_response(output.completion)
    return Reply(text=text, stop_reason=output.stop_reason)


def refinement_prompt(principles: str, about: str, draft: str) -> str:
    """The system message of a refinement; placeholders are filled once, no text pulls in more."""
    template = resources.files("selfevo").joinpath("prompts", "refine.md").read_text("utf-8")
    values = {"{principles}": principles, "{reflection}": about, "{draft}": draft}
    parts = [template]
    for name, value in values.items():
        before, after = parts.pop().split(name)
        parts += [before, value, after]
    return "".join(parts).strip()


def parse_response(text: str) -> str:
    """The reply in a model's JSON answer.

    Raises:
        RefinementFailed: no JSON object, or one without a non-empty `response`.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise RefinementFailed("the refinement is not a JSON object")
    try:
        return _Response.model_validate_json(text[start : end + 1]).response.strip()
    except ValidationError:
        raise RefinementFailed('the refinement is not {"response": "..."}') from None


async def refine_by_selection(
    model: Model,
    scores: SupportsLoglikelihood,
    dialogue: Sequence[ChatMessage],
    draft: Reply,
    reflections: Sequence[str],
    principles: Principles,
    config: SynthesisConfig,
    *,
    language: Language,
    seed: int,
) -> tuple[ScoredReply, tuple[ScoredReply, ...]]:
    """Draw candidates with the reflection in view; the scored draft and the candidates, best first.

    Args:
        model: Writes the candidates.
        scores: Weighs them.
        dialogue: The conversation up to the person's last words.
        draft: The plain first answer.
        reflections: The text about this person, then about others.
        principles: Their brief form stands in the system message.
        config: Number of candidates and sampling.
        language: For the detectors.
        seed: Of the draw.
    """
    guide = conditioning(principles.brief, reflections[0])
    output = await model.generate(
        [guide, *dialogue],
        config=GenerateConfig(
            num_choices=config.candidates,
            temperature=config.temperature,
            top_p=config.top_p,
            max_tokens=config.max_tokens,
            seed=seed,
        ),
    )
    replies = [draft] + [
        Reply(text=choice.message.text.strip(), stop_reason=choice.stop_reason)
        for choice in output.choices
    ]
    history = [m.text for m in dialogue]
    scored = await collect(
        *[_score(scores, reply, reflections, history, language) for reply in replies]
    )
    low, high = config.length_ratio
    n_draft = n_words(draft.text)

    def rank(candidate: ScoredReply) -> tuple[bool, bool, float]:
        fits = low * n_draft <= n_words(candidate.text) <= high * n_draft
        return (bool(candidate.faults), not fits, -candidate.bits)

    return scored[0], tuple(sorted(scored[1:], key=rank))


def conditioning(brief: str, about: str) -> ChatMessageSystem:
    """The system message under which a small model writes its candidates."""
    return ChatMessageSystem(content=f"{brief}\nThe person says about themselves: {about}")


def about_others(
    own: Reflection, others: Sequence[tuple[str | None, Sequence[str]]], parts: Sequence[str]
) -> list[str]:
    """What the reflection would say about other people, each known by (emotion label, words).

    Every part differs from the person's own, so that each part can explain a reply.
    """
    texts = []
    for shift, (emotion, words) in enumerate(others, start=1):
        label = emotion if emotion and emotion != own.emotion.value else None
        other = Reflection(
            personality=_shifted(own.personality, PERSONALITIES, shift),
            emotion=Inference(value=label, evidence="label")
            if label
            else _shifted(own.emotion, EMOTIONS, shift),
            need=_shifted(own.need, NEEDS, shift),
            situation=Inference(value=extract_situation(words), evidence="words"),
        )
        texts.append(other.text(parts))
    return texts


def _shifted(inference: Inference, labels: Sequence[str], shift: int) -> Inference:
    position = labels.index(inference.value) if inference.value in labels else 0
    return Inference(value=labels[(position + shift) % len(labels)], evidence="another person")


async def _score(
    model: SupportsLoglikelihood,
    reply: Reply,
    reflections: Sequence[str],
    history: Sequence[str],
    language: Language,
) -> ScoredReply:
    bits = 0.0
    if reply.text:
        own, *others = await score_all(model, [said(text) for text in reflections], reply.text)
        bits = specificity_bits(own, others, copied_spans(reply.text, history, language=language))
    faults = unhelpful_reasons(
        reply.text, history, language=language, stop_reason=reply.stop_reason
    )
    return ScoredReply(
        text=reply.text,
        stop_reason=reply.stop_reason,
        bits=round(bits, DECIMALS),
        faults=tuple(str(fault) for fault in faults),
    )


def as_reply(message: ChatMessageAssistant, stop_reason: str) -> Reply:
    """An assistant message as a `Reply`."""
    return Reply(text=message.text.strip(), stop_reason=stop_reason)
