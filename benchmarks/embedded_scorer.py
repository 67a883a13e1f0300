"""The embedded judge as a scorer: what it says of a conversation, without any model.

In the task: `inspect eval benchmarks/support.py ... -T embedded=true`; on a stored log: `inspect
score LOG --scorer benchmarks/embedded_scorer.py@embedded`.

Two values: `personalization` (0 to 1: how far the replies take up, in words of their own, what this
person said) and `unhelpful` (1 where any item of `judges/unhelpful.py` was found). The judge knows
the person's card where there is one: what they cannot stand, and which words a supporter could only
have recited. What it cannot measure is no value: a sample without `personalization` is unscored
with the reason. It reads words, not meaning; its card says how far it agrees with people.
"""

from typing import Final

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from benchmarks.dialogues import Language
from benchmarks.judged import broken_conversation
from benchmarks.persona import Persona, load_personas
from judges.embedded import EmbeddedJudge, EmbeddedScores
from judges.unhelpful import Item

VALUES: Final = ("personalization", "unhelpful")
DECIMALS: Final = 4


def embedded_hash() -> str:
    """Content hash of the embedded judge: its thresholds, phrases and version."""
    return EmbeddedJudge().hash


@scorer(metrics={name: [mean(), stderr(cluster="persona")] for name in VALUES})
def embedded(users: str | None = None) -> Scorer:
    """The embedded judge's `personalization` and `unhelpful` of a conversation.

    Args:
        users: File of the people, where they are not the shipped ones.
    """
    cards = {persona.id: persona for persona in load_personas(users)}
    judge = EmbeddedJudge()
    judge_hash = judge.hash

    async def score(state: TaskState, target: Target) -> Score:
        broken = broken_conversation(state)
        if broken:
            return Score.unscored(reason=broken)
        language: Language = state.metadata.get("language", "en")
        persona = cards.get(str(state.metadata.get("persona")))
        found = judge.score(
            [(m.role, m.text) for m in state.messages if m.role in ("user", "assistant")],
            language=language,
            dislikes=None if persona is None else [wish.act for wish in persona.hurts],
            card=None if persona is None else known_of(persona),
        )
        metadata = {"judge_hashes": [judge_hash], "items": items_of(found)}
        if "personalization" not in found.value:
            return Score.unscored(reason=found.unscored["personalization"], metadata=metadata)
        value = {
            "personalization": round(found.value["personalization"], DECIMALS),
            "unhelpful": float(bool(items_of(found))),
        }
        return Score(value=value, explanation=told(found), metadata=metadata)

    return score


def known_of(persona: Persona) -> str:
    """The words of a card that a supporter could recite."""
    known = (*persona.told_texts(), persona.occupation, persona.interest)
    return "\n".join(text for text in known if text)


def items_of(found: EmbeddedScores) -> list[str]:
    """The items of unhelpfulness that were found."""
    return [item.value for item in Item if found.value.get(item)]


def told(found: EmbeddedScores) -> str:
    """The items with the first sentence that shows each, for the viewer."""
    lines = [f"personalization {found.value['personalization']:.2f}"]
    lines += [f"{item}: «{found.evidence[item][0]}»" for item in items_of(found)]
    return "\n".join(lines)
