"""A small rubric, conversations, and judges that answer as told."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from inspect_ai.model import (
    ChatMessage,
    GenerateConfig,
    Model,
    ModelOutput,
    ModelUsage,
    StopReason,
    get_model,
)

from judges.material import Material, PersonCard, Turn, Wish
from judges.rubric import Criterion, Level, Rubric

REPLIES = ("What happened at the harbour?", "It sounds like the boat was a promise to you.")
QUOTE = "the boat was a promise"


def criterion(name: str, **changes: Any) -> Criterion:
    values: dict[str, Any] = {
        "name": name,
        "question": f"How much {name}?",
        "weight": 1.0,
        "levels": tuple(
            Level(value=value, name=f"{name} {value}", anchor=f"{value} of it")
            for value in (1, 2, 3, 4, 5)
        ),
    }
    return Criterion(**{**values, **changes})


def rubric(*criteria: Criterion, **changes: Any) -> Rubric:
    values: dict[str, Any] = {
        "name": "warmth",
        "version": "1",
        "language": "en",
        "kind": "ordinal",
        "higher_is": "better",
        "about": "conversation",
        "needs_persona": False,
        "instructions": "Look at warmth only.",
        "criteria": criteria or (criterion("warmth"), criterion("tact", weight=3.0)),
    }
    return Rubric(**{**values, **changes})


FAULTS = (
    Level(value=0, name="absent", anchor="not there"),
    Level(value=1, name="present", anchor="there"),
)
ITEMS = rubric(
    criterion("stock_reply", levels=FAULTS, quote_from=1),
    criterion("invalidation", levels=FAULTS, quote_from=1),
    name="faults",
    kind="items",
    higher_is="worse",
)
WISHES = rubric(
    criterion(
        "preference",
        question="Was it respected? {preference}",
        levels=(
            Level(value=-1, name="violated", anchor="against it"),
            Level(value=0, name="ignored", anchor="neither"),
            Level(value=1, name="met", anchor="done"),
        ),
        needs_quote=False,
        not_applicable="there was no occasion",
    ),
    name="wishes",
    kind="preferences",
    needs_persona=True,
)
CARD = PersonCard(
    person="en-901",
    profile="47 years old, night porter.",
    emotion="shame",
    situation="I lent my brother the deposit.",
    need="to be told that it is legitimate",
    wishes=(
        Wish(name="helps_1", text="naming the weight of the lie", is_wanted=True),
        Wish(name="hurts_1", text="budgets {card} and plans", is_wanted=False),
    ),
)


def talk(*replies: str, card: PersonCard | None = None, about: str = "the boat") -> Material:
    """Somebody speaks of something, and a supporter answers."""
    turns = []
    for number, reply in enumerate(replies or REPLIES):
        turns.append(Turn(speaker="person", text=f"I keep thinking of {about}, part {number}."))
        turns.append(Turn(speaker="supporter", text=reply))
    return Material(language="en", turns=tuple(turns), card=card)


def entry(level: object = 4, evidence: object = QUOTE, reason: object = "It names it.") -> Any:
    return {"evidence": evidence, "reason": reason, "level": level}


def answer(**levels: object) -> str:
    """A good answer, with these levels."""
    return json.dumps({name: entry(level) for name, level in levels.items()})


class FakeJudge(NamedTuple):
    model: Model
    asked: list[tuple[list[ChatMessage], GenerateConfig]]


def judge_saying(*answers: str | ModelOutput | Exception, name: str = "mockllm/judge") -> FakeJudge:
    """Gives its answers in turn, and the last one again and again."""
    asked: list[tuple[list[ChatMessage], GenerateConfig]] = []

    def reply(
        input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        asked.append((list(input), config))
        given = answers[min(len(asked), len(answers)) - 1]
        if isinstance(given, Exception):
            raise given
        return given if isinstance(given, ModelOutput) else output(given)

    return FakeJudge(get_model(name, custom_outputs=reply, memoize=False), asked)


def judge_by(say: Callable[[str], str]) -> FakeJudge:
    """Answers by a function of the first request; a complaint changes nothing."""
    asked: list[tuple[list[ChatMessage], GenerateConfig]] = []

    def reply(
        input: list[ChatMessage], tools: Any, tool_choice: Any, config: GenerateConfig
    ) -> ModelOutput:
        asked.append((list(input), config))
        return output(say(input[0].text))

    return FakeJudge(get_model("mockllm/judge", custom_outputs=reply, memoize=False), asked)


def output(text: str, stop_reason: StopReason = "stop") -> ModelOutput:
    made = ModelOutput.from_content("mockllm/judge", text, stop_reason)
    made.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return made


def texts(messages: Sequence[ChatMessage]) -> list[str]:
    return [message.text for message in messages]
