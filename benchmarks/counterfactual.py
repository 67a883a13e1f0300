"""Benchmark: the same story, two people who want opposite things. Do the replies differ rightly?

`inspect eval benchmarks/counterfactual.py --model selfevo/default -T split=gate`

Two people tell the same facts in the same words; only what they let slip about their need differs
(`data/cues.yaml`), and with it what would help them. The model answers both. Each reply is worth,
for either person, the share of its acts that meets the need minus the share that meets only the
other's; `directed` is what the two replies gain by going to the right person instead of the wrong
one (-2 to 2), 0 for a model that says the same to both.
"""

import itertools
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

import yaml
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, GenerateConfig, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver

from benchmarks.appraisal import MEETS
from benchmarks.contexts import Message
from benchmarks.conversation import CUT_OFF
from benchmarks.dialogues import Language, SplitName
from benchmarks.persona import Need, Persona, load_personas
from benchmarks.support import choose
from judges.acts import Act, acts_of
from judges.automatic import copy_rate

VERSION: Final = "1-A"
OPPOSED: Final[tuple[tuple[Need, Need], ...]] = (
    ("listen", "advise"),
    ("validate", "distract"),
    ("understand", "encourage"),
    ("listen", "distract"),
    ("validate", "advise"),
)
"""Needs that no act meets both of; a person gets the pair that their place in the file falls on."""
FACTS: Final = 2
"""Facts told before the hint."""
NEUTRAL: Final[dict[Language, tuple[str, str]]] = {
    "en": ("I'm listening.", "Go on."),
    "zh": ("我在听。", "你接着说。"),
}
"""What the supporter said between: the same to both."""
MEASURES: Final = ("directed", "right_direction", "sameness")
DECIMALS: Final = 3


@task
def counterfactual(
    users: str | None = None,
    language: Language = "en",
    split: SplitName | None = "gate",
    limit_users: int | None = None,
    max_tokens: int = 120,
    task_prompt: str | None = None,
) -> Task:
    """One sample a story: two replies, to two people who want opposite things.

    Args:
        users: File of personas; without it, the shipped people.
        language: `en` or `zh`.
        split: `train`, `gate` or `final`; none: everyone in the file.
        limit_users: Only so many stories, the first in the file.
        max_tokens: Length limit of a reply.
        task_prompt: System message, when the checkpoint was trained with one.
    """
    people = choose(load_personas(users, language=language, split=split), limit_users)
    return Task(
        dataset=MemoryDataset([_sample(person) for person in people], name="counterfactual"),
        solver=answer_both(task_prompt),
        scorer=adapts(),
        config=GenerateConfig(temperature=0, max_tokens=max_tokens),
        version=VERSION,
        headline_metric="adapts.directed",
    )


@solver
def answer_both(task_prompt: str | None = None) -> Solver:
    """Answer either person; both replies are in the store under `replies`."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        system: list[ChatMessage] = [ChatMessageSystem(content=task_prompt)] if task_prompt else []
        replies = []
        for variant in state.metadata["variants"]:
            told = [Message.model_validate(m).chat_message() for m in variant["messages"]]
            state.messages = [*system, *told]
            state.output = await get_model().generate(state.messages)
            state.messages.append(state.output.message)
            replies.append(state.output.completion.strip())
        state.store.set("replies", replies)
        return state

    return solve


@scorer(metrics={name: [mean(), stderr(cluster="persona")] for name in MEASURES})
def adapts() -> Scorer:
    """What the two replies gain by going to the right person; unscored when one is empty."""

    async def score(state: TaskState, target: Target) -> Score:
        replies = state.store.get("replies")
        if replies is None:
            return Score.unscored(reason=CUT_OFF)
        first, second = replies
        if not first or not second:
            return Score.unscored(reason="an empty reply")
        language: Language = state.metadata["language"]
        a, b = state.metadata["variants"]
        told = [[m["content"] for m in v["messages"] if m["role"] == "user"] for v in (a, b)]
        acts = [
            acts_of(reply, said, language=language)
            for reply, said in zip((first, second), told, strict=True)
        ]
        directed = worth(acts[0], a["need"], b["need"]) - worth(acts[1], a["need"], b["need"])
        value = {
            "directed": directed,
            "right_direction": float(directed > 0),
            "sameness": copy_rate(second, [first], language=language) or 0.0,
        }
        return Score(
            value={name: round(value[name], DECIMALS) for name in MEASURES},
            answer=f"to the one who would {a['need']}: {first}\n\n"
            f"to the one who would {b['need']}: {second}",
            explanation=f"acts: {', '.join(acts[0])} | {', '.join(acts[1])}",
        )

    return score


def worth(acts: Sequence[Act], need: Need, other: Need) -> float:
    """Share of the acts that meets the need, minus the share that meets only the other's."""
    mine, theirs = MEETS[need], MEETS[other]
    hits = sum((act in mine) - (act in theirs) for act in acts)
    return hits / len(acts)


def _sample(person: Persona) -> Sample:
    pair = _needs(person)
    variants = [_variant(person, need) for need in pair]
    return Sample(
        id=person.id,
        input=variants[0]["messages"][-1]["content"],
        metadata={
            "persona": person.id,
            "language": person.language,
            "emotion": person.emotion,
            "problem": person.problem,
            "needs": " / ".join(pair),
            "variants": variants,
        },
    )


def _variant(person: Persona, need: Need) -> dict[str, Any]:
    """The dialogue with somebody of this need: opening, facts, and a hint at the end."""
    hints = _cues()[person.language][need]
    hint = hints[_place(person, len(hints))]
    told = [person.opening or person.situation, *(f.text for f in person.disclosure[:FACTS])]
    told[-1] = f"{told[-1]} {hint}" if person.language == "en" else f"{told[-1]}{hint}"
    between = itertools.cycle(NEUTRAL[person.language])
    messages = [Message(role="user", content=told[0])]
    for text in told[1:]:
        messages += [
            Message(role="assistant", content=next(between)),
            Message(role="user", content=text),
        ]
    return {"need": need, "messages": [m.model_dump() for m in messages]}


def _needs(person: Persona) -> tuple[Need, Need]:
    return OPPOSED[_place(person, len(OPPOSED))]


def _place(person: Persona, n: int) -> int:
    """A number below n that depends on the person alone, not on who else is in the file."""
    return sum(person.id.encode()) % n


@cache
def _cues() -> dict[str, dict[str, list[str]]]:
    file = resources.files("benchmarks").joinpath("data", "cues.yaml")
    cues: dict[str, dict[str, list[str]]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return cues
