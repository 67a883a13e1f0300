"""The absolute judge: one model, one rubric, one conversation; a verdict or a failure.

One call a rubric, or one a criterion (`call="criterion"`: slower, and no criterion can lean on
another). The answer is asked for as JSON by schema where the provider knows schemas, and validated
in any case (`verdict.py`). A bad answer is shown to the judge once, with what is wrong with it;
then it has failed.

Left out: sampling the judge several times (let epochs or a panel do that), and any parsing of
prose.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
)
from inspect_ai.util import JSONSchema, LimitExceededError
from pydantic import BaseModel, ConfigDict

from judges.material import SPECIMEN, Material, fenced, introduced
from judges.prompt_text import filled, load_prompt
from judges.rubric import Criterion, Rubric
from judges.verdict import (
    Asked,
    FailureKind,
    Finding,
    JudgeFailed,
    complaint,
    expected_levels,
    read_answer,
    says_something,
)
from judges.words import Language

MAX_TOKENS: Final = 1500
_SHARES: Final = (("met", 1), ("ignored", 0), ("violated", -1))
"""Of a person's preferences, by level."""
TOP_LOGPROBS: Final = 10

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "conversation": "The whole conversation is judged.",
        "reply": "Only the supporter's last message is judged.",
        "level": "level",
        "empty": ', or "" where the level needs none',
        "number": "one of the numbers listed",
        "null": ", or null where a question does not apply",
        "not_applicable": "null (does not apply)",
    },
    "zh": {
        "conversation": "评判整段对话。",
        "reply": "只评判支持者的最后一条消息。",
        "level": "等级",
        "empty": '；等级不需要依据时写""',
        "number": "所列数字之一",
        "null": "；不适用时写null",
        "not_applicable": "null（不适用）",
    },
}


class JudgeSettings(BaseModel):
    """How a judge is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    call: Literal["rubric", "criterion"] = "rubric"
    """All criteria in one call, or each in its own."""
    logprobs: bool = True
    """Ask for the probabilities of the level tokens; providers without them ignore it."""
    repairs: Literal[0, 1] = 1
    max_tokens: int = MAX_TOKENS


class Verdict(BaseModel):
    """What a judge says of one conversation under one rubric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: str
    """Hash of model, prompt, rubric and settings."""
    rubric: str
    findings: dict[str, Finding]
    n_repairs: int

    def values(self, rubric: Rubric) -> dict[str, float]:
        """The numbers of the verdict: each criterion's, and what the rubric makes of them."""
        return scored(self.findings, rubric)


def identity(model: Model) -> str:
    """What a model is: its name, or the content hash of a local checkpoint."""
    checkpoint = getattr(model.api, "checkpoint", None)
    return f"checkpoint {checkpoint}" if checkpoint else str(model)


def judge_hash(model: str, rubric: Rubric, settings: JudgeSettings) -> str:
    """What must be equal for two verdicts to come from the same judge.

    Args:
        model: Its `identity`.
        rubric: What it is asked; one about a person comes with the person's card.
        settings: How.
    """
    specimen = SPECIMEN.model_copy(update={"language": rubric.language})
    if not rubric.needs_persona:
        specimen = specimen.model_copy(update={"card": None})
    request = prompt(rubric, specimen, questions(rubric, specimen))
    again = complaint(JudgeFailed(FailureKind.EMPTY, "..."), rubric.language)
    parts = (model, rubric.hash, request, again, settings.model_dump_json())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


async def judge(
    model: Model, rubric: Rubric, material: Material, settings: JudgeSettings | None = None
) -> Verdict:
    """Ask a model to judge a conversation.

    Raises:
        JudgeFailed: no usable answer, after one repair; or nothing to judge.
    """
    settings = settings or JudgeSettings()
    if not says_something(material.replies(last_only=rubric.about == "reply")):
        raise JudgeFailed(FailureKind.EMPTY, "the supporter said nothing: nothing to judge")
    asked = questions(rubric, material)
    batches = [[question] for question in asked] if settings.call == "criterion" else [asked]
    findings: dict[str, Finding] = {}
    n_repairs = 0
    for batch in batches:
        found, repaired = await _ask(model, rubric, material, batch, settings)
        findings |= found
        n_repairs += repaired
    name = judge_hash(identity(model), rubric, settings)
    return Verdict(judge=name, rubric=rubric.hash, findings=findings, n_repairs=n_repairs)


def questions(rubric: Rubric, material: Material) -> list[Asked]:
    """What is asked of this conversation: the criteria, or one question a preference on the card.

    Raises:
        JudgeFailed: the rubric is about preferences, and none is known.
    """
    if rubric.kind != "preferences":
        return [Asked(c.name, c, c.question) for c in rubric.criteria]
    wishes = material.card.wishes if material.card else ()
    if not wishes:
        raise JudgeFailed(FailureKind.MISSING, "no preference of the person is known")
    [template] = rubric.criteria
    return [
        Asked(
            wish.name,
            template,
            filled(template.question, {"preference": _wish(wish.text, wish.is_wanted, rubric)}),
        )
        for wish in wishes
    ]


def prompt(rubric: Rubric, material: Material, asked: Sequence[Asked]) -> str:
    """The whole request to the judge."""
    words = _WORDS[rubric.language]
    has_null = any(question.criterion.not_applicable for question in asked)
    has_free = any(not _always_quoted(question.criterion) for question in asked)
    fields = '{"evidence": "...", "reason": "...", "level": ...}'
    values = {
        "instructions": rubric.instructions.strip(),
        "card": introduced(material.card, rubric.language),
        "conversation": fenced("conversation", material.shown()),
        "subject": words[rubric.about],
        "criteria": "\n\n".join(_shown(question, rubric.language) for question in asked),
        "answer": "{" + ", ".join(f'"{question.name}": {fields}' for question in asked) + "}",
        "empty_evidence": words["empty"] if has_free else "",
        "levels": words["number"] + (words["null"] if has_null else ""),
    }
    return filled(load_prompt("judges", "absolute", rubric.language), values)


def schema(asked: Sequence[Asked]) -> ResponseSchema:
    """The answer's JSON schema."""
    entries = {question.name: _entry_schema(question.criterion) for question in asked}
    return ResponseSchema(
        name="verdict",
        strict=True,
        json_schema=JSONSchema(
            type="object",
            properties=entries,
            required=list(entries),
            additionalProperties=False,
        ),
    )


def value_names(rubric: Rubric) -> tuple[str, ...]:
    """All that `scored` may find under a rubric; where a question does not apply, it finds less."""
    if rubric.kind == "preferences":
        return (*(name for name, _ in _SHARES), "score")
    summed = (*(("any",) if rubric.kind == "items" else ()), "score") if rubric.adds_up else ()
    return (*(criterion.name for criterion in rubric.criteria), *summed)


def scored(findings: dict[str, Finding], rubric: Rubric) -> dict[str, float]:
    """What a rubric makes of findings.

    Ordinal: each level, and `score`, their weighted mean. Items: each fault as 0 or 1, `any`, and
    `score`, the weighted share of faults. Preferences: the shares `met`, `ignored`, `violated` of
    those that apply, and `score`, met minus violated; nothing when none applies. A rubric whose
    criteria do not add up has no `score`.
    """
    if rubric.kind == "preferences":
        levels = [finding.value for finding in findings.values() if finding.value is not None]
        if not levels:
            return {}
        rounded = [round(level) for level in levels]
        shares = {name: rounded.count(value) / len(rounded) for name, value in _SHARES}
        return {**shares, "score": sum(levels) / len(levels)}
    values = {n: float(f.value) for n, f in findings.items() if f.value is not None}
    weights = {name: rubric.criterion(name).weight for name in values}
    total = sum(weights.values())
    if not total:
        return {}
    if not rubric.adds_up:
        return values
    score = sum(values[name] * weights[name] for name in values) / total
    score = min(max(score, min(values.values())), max(values.values()))  # rounding stays inside
    faults = {"any": max(values.values())} if rubric.kind == "items" else {}
    return {**values, **faults, "score": score}


async def _ask(
    model: Model,
    rubric: Rubric,
    material: Material,
    asked: Sequence[Asked],
    settings: JudgeSettings,
) -> tuple[dict[str, Finding], int]:
    """The findings of one call, and the repairs it took."""
    messages: list[ChatMessage] = [ChatMessageUser(content=prompt(rubric, material, asked))]
    config = GenerateConfig(
        temperature=0,
        max_tokens=settings.max_tokens,
        response_schema=schema(asked),
        logprobs=True if settings.logprobs else None,
        top_logprobs=TOP_LOGPROBS if settings.logprobs else None,
    )
    replies = material.replies(last_only=rubric.about == "reply")
    for attempt in range(settings.repairs + 1):
        output = await answered(model, messages, config)
        try:
            return _read(output, asked, replies, rubric), attempt
        except JudgeFailed as failure:
            if attempt == settings.repairs:
                raise
            again = complaint(failure, rubric.language)
            messages += [output.message, ChatMessageUser(content=again)]
    raise AssertionError("a judge is asked at least once")


async def answered(
    model: Model, messages: Sequence[ChatMessage], config: GenerateConfig
) -> ModelOutput:
    """The judge's output, whole.

    Raises:
        JudgeFailed: the provider failed.
    """
    try:
        output = await model.generate(list(messages), config=config)
    except LimitExceededError:
        raise
    except Exception as error:  # providers raise what they like; it is counted
        detail = " ".join(f"{type(error).__name__}: {error}".split())
        raise JudgeFailed(FailureKind.PROVIDER, detail[:300]) from error
    if not output.choices:
        raise JudgeFailed(FailureKind.EMPTY, "the provider gave no choice")
    return output


def refuse_unfinished(output: ModelOutput) -> None:
    """A verdict that was cut off or withheld is none, even where it happens to parse.

    Raises:
        JudgeFailed: it was.
    """
    if output.stop_reason == "content_filter":
        raise JudgeFailed(FailureKind.REFUSED, "stopped by the provider's content filter")
    if output.stop_reason in ("max_tokens", "model_length"):
        raise JudgeFailed(FailureKind.CUT_OFF, f"stopped at the limit ({output.stop_reason})")


def _read(
    output: ModelOutput, asked: Sequence[Asked], replies: Sequence[str], rubric: Rubric
) -> dict[str, Finding]:
    refuse_unfinished(output)
    findings = read_answer(output.completion, asked, replies)
    logprobs = output.choices[0].logprobs
    if logprobs is None or rubric.kind != "ordinal":  # a fault is there or not, with its evidence
        return findings
    by_name = {question.name: question for question in asked}
    means = expected_levels(logprobs.content, [by_name[name] for name in findings])
    return {
        name: finding.model_copy(update={"expected": means.get(name)})
        for name, finding in findings.items()
    }


def _wish(text: str, is_wanted: bool, rubric: Rubric) -> str:
    if rubric.language == "zh":
        return f"想要：{text}" if is_wanted else f"不想要：{text}"
    return f"wanted: {text}" if is_wanted else f"not wanted: {text}"


def _always_quoted(criterion: Criterion) -> bool:
    return criterion.needs_quote and criterion.quote_from is None


def _shown(question: Asked, language: Language) -> str:
    words = _WORDS[language]
    lines = [f'"{question.name}": {question.question.strip()}']
    for level in question.criterion.levels:
        lines.append(f"  {words['level']} {level.value} ({level.name}): {level.anchor.strip()}")
    if question.criterion.not_applicable:
        lines.append(f"  {words['not_applicable']}: {question.criterion.not_applicable.strip()}")
    return "\n".join(lines)


def _entry_schema(criterion: Criterion) -> JSONSchema:
    level = JSONSchema(type="integer", enum=[level.value for level in criterion.levels])
    if criterion.not_applicable:
        level = JSONSchema(anyOf=[level, JSONSchema(type="null")])
    text = JSONSchema(type="string")
    return JSONSchema(
        type="object",
        properties={"evidence": text, "reason": text, "level": level},
        required=["evidence", "reason", "level"],
        additionalProperties=False,
    )
