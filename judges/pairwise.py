"""The pairwise judge: which of two conversations with the same person is better, in both orders.

A judge that prefers a slot and not a supporter contradicts itself when the two change places; that
is a tie, and counted. Both raw calls are kept. One failed call is no preference at all: half of a
comparison is what the order bias is made of.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Literal, NamedTuple

from inspect_ai.model import (
    ChatMessage,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelOutput,
    ResponseSchema,
)
from inspect_ai.util import JSONSchema
from pydantic import BaseModel, ConfigDict

from judges.absolute import answered, identity, refuse_unfinished
from judges.material import SPECIMEN, Material, fenced, introduced
from judges.prompt_text import filled, load_prompt
from judges.rubric import Rubric
from judges.verdict import (
    MAX_EVIDENCE,
    MAX_REASON,
    FailureKind,
    JudgeFailed,
    as_object,
    complaint,
    is_quoted,
    says_something,
)

Winner = Literal["A", "B", "tie"]

MAX_TOKENS: Final = 800
MARGINS: Final = (0, 1, 2, 3)
_TEXTS: Final = {"evidence_a": MAX_EVIDENCE, "evidence_b": MAX_EVIDENCE, "reason": MAX_REASON}
_FIELDS: Final = frozenset((*_TEXTS, "winner", "margin"))


class Call(BaseModel):
    """One raw answer: the slots are those of the call, whoever sat in them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    winner: Winner
    margin: Literal[0, 1, 2, 3]
    evidence_a: str
    evidence_b: str
    reason: str

    @property
    def lead(self) -> int:
        """The margin, positive where the first slot won."""
        return {"A": self.margin, "B": -self.margin, "tie": 0}[self.winner]


class Preference(BaseModel):
    """What a judge prefers, over both orders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    judge: str
    """Hash of model, prompt and rubric."""
    forward: Call
    """Ours in slot A, theirs in slot B."""
    backward: Call
    """The other way round."""

    @property
    def winner(self) -> Winner:
        """A: ours, B: theirs; a tie where the orders disagree."""
        ours, theirs = self.forward.winner == "A", self.forward.winner == "B"
        if ours and self.backward.winner == "B":
            return "A"
        return "B" if theirs and self.backward.winner == "A" else "tie"

    @property
    def is_consistent(self) -> bool:
        """Whether both orders say the same."""
        mirrored = {"A": "B", "B": "A", "tie": "tie"}[self.backward.winner]
        return self.forward.winner == mirrored

    @property
    def is_slot_driven(self) -> bool:
        """Whether the same slot won both times, whoever sat in it."""
        return self.forward.winner == self.backward.winner != "tie"

    @property
    def margin(self) -> float:
        """Mean lead of ours, from -3 to 3; 0 where the orders contradict each other."""
        return 0.0 if self.winner == "tie" else (self.forward.lead - self.backward.lead) / 2


class _Sides(NamedTuple):
    """Who sits in which slot of a call."""

    a: Material
    b: Material


async def prefer(model: Model, rubric: Rubric, ours: Material, theirs: Material) -> Preference:
    """Ask a model twice which of two conversations with the same person is better.

    Raises:
        JudgeFailed: one of the two calls gave no usable answer, after one repair.
    """
    for side in (ours, theirs):
        if not says_something(side.replies(last_only=rubric.about == "reply")):
            raise JudgeFailed(FailureKind.EMPTY, "a supporter said nothing: nothing to compare")
    return Preference(
        judge=pairwise_hash(identity(model), rubric),
        forward=await _call(model, rubric, _Sides(ours, theirs)),
        backward=await _call(model, rubric, _Sides(theirs, ours)),
    )


def pairwise_hash(model: str, rubric: Rubric) -> str:
    """What must be equal for two preferences to come from the same judge."""
    specimen = SPECIMEN.model_copy(update={"language": rubric.language})
    again = complaint(JudgeFailed(FailureKind.EMPTY, "..."), rubric.language)
    parts = (model, rubric.hash, _prompt(rubric, _Sides(specimen, specimen)), again)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def read_call(text: str, replies_a: Sequence[str], replies_b: Sequence[str]) -> Call:
    """Read one answer as strictly as a verdict.

    Raises:
        JudgeFailed: it is not exactly what was asked for.
    """
    answer = as_object(text)
    missing = sorted(_FIELDS - answer.keys())
    if missing:
        raise JudgeFailed(FailureKind.MISSING, f"'{missing[0]}' is missing")
    extra = sorted(answer.keys() - _FIELDS)
    if extra:
        raise JudgeFailed(FailureKind.UNKNOWN, f"'{extra[0][:40]}' was not asked for")
    for field, longest in _TEXTS.items():
        if not isinstance(answer[field], str) or len(answer[field]) > longest:
            raise JudgeFailed(
                FailureKind.WRONG_TYPE, f"'{field}' is no text of at most {longest} characters"
            )
    _check_decision(answer)
    for field, replies in (("evidence_a", replies_a), ("evidence_b", replies_b)):
        if not is_quoted(answer[field], replies):
            raise JudgeFailed(
                FailureKind.FALSE_EVIDENCE, f"'{field}': that supporter did not say it"
            )
    return Call.model_validate(answer)


def _check_decision(answer: dict[str, Any]) -> None:
    winner, margin = answer["winner"], answer["margin"]
    if winner not in ("A", "B", "tie"):
        raise JudgeFailed(FailureKind.OFF_SCALE, "'winner' is not A, B or tie")
    if isinstance(margin, bool) or not isinstance(margin, int):
        raise JudgeFailed(FailureKind.WRONG_TYPE, "'margin' is no whole number")
    if margin not in MARGINS:
        raise JudgeFailed(FailureKind.OFF_SCALE, "'margin' is not 0, 1, 2 or 3")
    if (winner == "tie") != (margin == 0):
        raise JudgeFailed(
            FailureKind.OFF_SCALE, f"winner {winner} with margin {margin} contradicts itself"
        )


async def _call(model: Model, rubric: Rubric, sides: _Sides) -> Call:
    messages: list[ChatMessage] = [ChatMessageUser(content=_prompt(rubric, sides))]
    config = GenerateConfig(temperature=0, max_tokens=MAX_TOKENS, response_schema=_SCHEMA)
    output = await answered(model, messages, config)
    try:
        return _read(output, rubric, sides)
    except JudgeFailed as failure:
        again = complaint(failure, rubric.language)
        messages += [output.message, ChatMessageUser(content=again)]
    return _read(await answered(model, messages, config), rubric, sides)


def _read(output: ModelOutput, rubric: Rubric, sides: _Sides) -> Call:
    refuse_unfinished(output)
    last_only = rubric.about == "reply"
    a, b = (side.replies(last_only=last_only) for side in sides)
    return read_call(output.completion, a, b)


def _prompt(rubric: Rubric, sides: _Sides) -> str:
    best = "\n".join(
        f"- {c.question.strip()} ({c.levels[_best(rubric)].anchor.strip()})"
        for c in rubric.criteria
    )
    values = {
        "instructions": rubric.instructions.strip(),
        "card": introduced(sides.a.card, rubric.language),
        "conversation_a": fenced("conversation-a", sides.a.shown()),
        "conversation_b": fenced("conversation-b", sides.b.shown()),
        "criteria": best,
    }
    return filled(load_prompt("judges", "pairwise", rubric.language), values)


def _best(rubric: Rubric) -> int:
    """Place of the best level: the anchor that a supporter should reach."""
    return -1 if rubric.higher_is == "better" else 0


def _schema() -> ResponseSchema:
    text = JSONSchema(type="string")
    properties = {
        **dict.fromkeys(_TEXTS, text),
        "winner": JSONSchema(type="string", enum=["A", "B", "tie"]),
        "margin": JSONSchema(type="integer", enum=list(MARGINS)),
    }
    return ResponseSchema(
        name="preference",
        strict=True,
        json_schema=JSONSchema(
            type="object",
            properties=properties,
            required=list(properties),
            additionalProperties=False,
        ),
    )


_SCHEMA: Final = _schema()
