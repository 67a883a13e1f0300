"""Reflection: who is this person, how do they feel, what happened, what do they need?

Two strategies give the same record. `reflect_by_generation` asks a capable model for JSON and
validates it; one repair, then a `ReflectionFailed` with its reason, never a guess.
`reflect_by_labels` is for small models whose free text is useless: closed labels are ranked by
calibrated log-likelihood, and the situation is quoted from the person's own words.

Calibration: a label's score is `log p(label | this dialogue, question) - log p(label | empty
dialogue, question)`, so that labels which the model likes anyway do not win (domain-conditional
PMI; Holtzman et al., 2021).
"""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Final

from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ResponseSchema,
)
from inspect_ai.util import collect, json_schema
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from judges.specificity import SupportsLoglikelihood

EMOTIONS = (
    "anger",
    "anxiety",
    "depression",
    "disgust",
    "fear",
    "guilt",
    "jealousy",
    "nervousness",
    "sadness",
    "shame",
)
"""ESConv's emotion labels that stand at more than one dialogue; the starter set has the same."""

PERSONALITIES = (
    "reserved",
    "outgoing",
    "worried",
    "calm",
    "practical",
    "emotional",
    "guarded",
    "open",
)
"""A coarse profile: the poles of extraversion, stability, thinking style and trust."""

NEEDS = ("to be listened to", "comfort", "understanding", "advice", "encouragement", "distraction")
"""What a reply can give (the hidden needs of the design)."""

QUESTIONS = {
    "personality": "In one word, what kind of person am I?",
    "emotion": "In one word, what do I feel the most?",
    "need": "What do I need the most from you now?",
}
EMPTY_DIALOGUE = "..."
MAX_SITUATION_WORDS = 40
MIN_TOLD_WORDS = 3
"""Words of a turn that tells something; "ok, thanks" does not."""
_WORD = re.compile(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+")
"""What stands between spaces, or one Chinese character."""
EVIDENCE_TURNS = 3
"""The person's last turns, among which the evidence for a label is looked for."""


class Inference(BaseModel):
    """One thing inferred about the person, and the words it rests on."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    value: str = Field(min_length=1)
    evidence: str = Field(min_length=1)
    """A quotation of the person."""


class Reflection(BaseModel):
    """Who the person is as far as the dialogue shows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    personality: Inference
    emotion: Inference
    situation: Inference
    need: Inference

    def text(self, parts: Sequence[str] = ("profile", "emotion", "situation")) -> str:
        """First-person sentences; what is not in `parts` is left out (for ablations)."""
        lines = {
            "situation": self.situation.value,
            "emotion": f"I feel {self.emotion.value}.",
            "profile": f"I am a {self.personality.value} person and I need {self.need.value}.",
        }
        return " ".join(
            lines[part] for part in ("situation", "emotion", "profile") if part in parts
        )


_SCHEMA: Final = ResponseSchema(name="reflection", json_schema=json_schema(Reflection))


class ReflectionFailed(ValueError):
    """The model gave no valid reflection, not even after one repair."""


async def reflect_by_labels(
    model: SupportsLoglikelihood, seeker_words: Sequence[str]
) -> Reflection:
    """Rank closed labels by calibrated log-likelihood; quote the situation from the person."""
    told = _telling(seeker_words)
    personality, emotion, need = await collect(
        _best_label(model, told, QUESTIONS["personality"], PERSONALITIES),
        _best_label(model, told, QUESTIONS["emotion"], EMOTIONS),
        _best_label(model, told, QUESTIONS["need"], NEEDS),
    )
    situation = extract_situation(told)
    return Reflection(
        personality=personality,
        emotion=emotion,
        need=need,
        situation=Inference(value=situation, evidence=situation),
    )


async def recognise_emotion(model: SupportsLoglikelihood, seeker_words: Sequence[str]) -> Inference:
    """Only the emotion, by labels: what human dialogues are labelled with."""
    return await _best_label(model, _telling(seeker_words), QUESTIONS["emotion"], EMOTIONS)


async def reflect_by_generation(
    model: Model, messages: Sequence[ChatMessage], principles: str, config: GenerateConfig
) -> Reflection:
    """Ask for a JSON reflection, validate it, repair once.

    Raises:
        ReflectionFailed: with the validator's complaint about the second answer.
    """
    instruction = _prompt("reflect.md").replace("{principles}", principles)
    dialogue = "\n".join(f"{_side(m)}: {m.text}" for m in messages if m.role != "system")
    asked: list[ChatMessage] = [
        ChatMessageSystem(content=instruction),
        ChatMessageUser(content=dialogue),
    ]
    config = config.merge(GenerateConfig(response_schema=_SCHEMA))
    output = await model.generate(asked, config=config)
    try:
        return parse_reflection(output.completion)
    except ReflectionFailed as complaint:
        asked += [
            output.message,
            ChatMessageUser(content=f"{complaint}. Answer with the JSON object only."),
        ]
        return parse_reflection((await model.generate(asked, config=config)).completion)


def parse_reflection(text: str) -> Reflection:
    """Read a reflection from a model's answer: the JSON object in it, whole and valid.

    Raises:
        ReflectionFailed: no JSON object, or one with missing, empty or unknown fields.
    """
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        raise ReflectionFailed("the reflection is not a JSON object")
    try:
        return Reflection.model_validate_json(text[start : end + 1])
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise ReflectionFailed(f"the reflection is not valid JSON ({first['msg']})") from None
        where = ".".join(str(part) for part in first["loc"])
        raise ReflectionFailed(f"the reflection's field '{where}': {first['msg']}") from None


def extract_situation(seeker_words: Sequence[str]) -> str:
    """What happened, in the person's own words: their longest turn, cut after so many words."""
    longest = max(seeker_words, key=len)
    words = list(_WORD.finditer(longest))
    if len(words) <= MAX_SITUATION_WORDS:
        return longest
    return " ".join(longest[: words[MAX_SITUATION_WORDS - 1].end()].split())


def _telling(seeker_words: Sequence[str]) -> list[str]:
    """The turns that say something; all of them when none does."""
    telling = [words for words in seeker_words if len(_WORD.findall(words)) >= MIN_TOLD_WORDS]
    return telling or list(seeker_words)


async def label_scores(
    model: SupportsLoglikelihood, words: str, question: str, labels: Sequence[str]
) -> dict[str, float]:
    """Calibrated log-likelihood (nats) of each label as the answer to `question` after `words`."""
    own, empty = await collect(
        _label_logps(model, words, question, labels),
        _label_logps(model, EMPTY_DIALOGUE, question, labels),
    )
    return {label: a - b for label, a, b in zip(labels, own, empty, strict=True)}


async def _label_logps(
    model: SupportsLoglikelihood, words: str, question: str, labels: Sequence[str]
) -> list[float]:
    prefix = [ChatMessageUser(content=f"{words}\n\n{question}")]
    scored = await collect(*[model.loglikelihood(prefix, label.capitalize()) for label in labels])
    return [sum(tokens.logprobs) for tokens in scored]


async def _best_label(
    model: SupportsLoglikelihood, told: Sequence[str], question: str, labels: Sequence[str]
) -> Inference:
    scores = await label_scores(model, "\n".join(told), question, labels)
    best = max(labels, key=lambda label: scores[label])
    recent = told[-EVIDENCE_TURNS:]
    support = await collect(*[_label_logps(model, words, question, [best]) for words in recent])
    evidence = max(zip(support, recent, strict=True), key=lambda pair: pair[0][0])[1]
    return Inference(value=best, evidence=evidence)


def _side(message: ChatMessage) -> str:
    return "Person" if message.role == "user" else "Supporter"


def _prompt(name: str) -> str:
    return resources.files("benchmarks").joinpath("prompts", name).read_text(encoding="utf-8")
