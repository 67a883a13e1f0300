"""Benchmark: can a judge be fooled? Replies that must lose, beside a person's reply.

`inspect eval benchmarks/probing.py --model none/none -T path=PATH/TO/esconv --model-role
judge=openai/...`; `selfevo calibrate JUDGE --contexts PATH/TO/esconv` puts the result on the card.

In each context the judge reads the dialogue with the supporter's own next reply, and with each
probe in its place (`judges/probes.py`), in calls of their own and without knowing which is which;
only that reply is judged.
The person is known by what ESConv says of them. One probe changes the card instead of the reply:
`shuffled_persona` is the supporter's reply under another person's card.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample

from benchmarks.calibration import rates
from benchmarks.contexts import Context, contexts_of, sample_contexts
from benchmarks.dialogues import load_dialogues
from benchmarks.errors import DataError
from benchmarks.pairwise import nothing_to_do, preferred, refuse_no_comparison
from judges.absolute import JudgeSettings, value_names
from judges.material import Material, PersonCard, Turn
from judges.probes import Probe, probe_replies
from judges.rubric import load_rubric

VERSION: Final = "1-A"
HUMAN: Final = "human"
MIN_SEEKER_TURNS: Final = 3


class Variant(NamedTuple):
    """One reply in its context."""

    context: Context
    name: str
    """`human`, or the probe's."""
    material: Material


@task
def probing(path: str, rubric: str = "personalization", contexts: int = 40, seed: int = 7) -> Task:
    """Probe replies beside people's.

    Args:
        path: Folder or file of ESConv.
        rubric: Name of a shipped rubric, or a YAML file.
        contexts: How many, at most one a dialogue.
        seed: Of the draw.

    Raises:
        DataError: the rubric gives no score, so that no reply can have a lower one.
    """
    asked = load_rubric(rubric)
    if "score" not in value_names(asked):
        what = "has criteria that do not add up to a score"
        raise DataError(f"rubric '{asked.name}'", what, "probe by another rubric")
    variants = probe_variants(Path(path), n=contexts, seed=seed)
    return Task(
        dataset=MemoryDataset([_sample(variant) for variant in variants], name="probing"),
        solver=nothing_to_do(),
        scorer=rates(rubric, JudgeSettings(), reply_only=True),
        version=VERSION,
        headline_metric="rates.score",
    )


@task
def position(path: str, rubric: str = "personalization", contexts: int = 40, seed: int = 7) -> Task:
    """Does a slot win? A person's reply against itself: to prefer one is to prefer a slot.

    Args:
        path: Folder or file of ESConv.
        rubric: Name of a shipped rubric, or a YAML file: in what they are compared.
        contexts: How many, at most one a dialogue.
        seed: Of the draw.
    """
    refuse_no_comparison(load_rubric(rubric))
    variants = probe_variants(Path(path), n=contexts, seed=seed)
    pairs = [_pair(variant) for variant in variants if variant.name == HUMAN]
    return Task(
        dataset=MemoryDataset(pairs, name="position"),
        solver=nothing_to_do(),
        scorer=preferred(rubric),
        version=VERSION,
        headline_metric="preferred.slot_driven",
    )


def probe_variants(path: Path, *, n: int, seed: int) -> list[Variant]:
    """The contexts with their replies, a person's first.

    Raises:
        DataError: fewer than two contexts with a situation: nobody to exchange cards with.
    """
    if n < 2:
        raise DataError(f"contexts={n}", "is too few to exchange cards", "choose 2 or more")
    loaded = load_dialogues("esconv", path=path, language="en")
    usable = [d for d in loaded.dialogues if d.situation]
    drawn = sample_contexts(
        [d for d in usable if contexts_of(d, min_seeker_turns=MIN_SEEKER_TURNS)],
        n=n,
        per_dialogue=1,
        seed=seed,
        min_seeker_turns=MIN_SEEKER_TURNS,
    )
    if len(drawn) < 2:
        raise DataError(
            str(path), f"has {len(drawn)} contexts to probe with", "give more dialogues"
        )
    return [
        variant
        for context, other in zip(drawn, [*drawn[1:], drawn[0]], strict=True)
        for variant in _variants(context, other)
    ]


def _variants(context: Context, other: Context) -> Sequence[Variant]:
    human = context.human_reply or ""
    said = [(message.role, message.content) for message in context.messages]
    own = esconv_card(context)
    probes = probe_replies(said, language=context.language, card=own.situation)
    return [
        Variant(context, HUMAN, _material(context, human, own)),
        *(Variant(context, probe, _material(context, text, own)) for probe, text in probes.items()),
        Variant(context, Probe.SHUFFLED_PERSONA, _material(context, human, esconv_card(other))),
    ]


def esconv_card(context: Context) -> PersonCard:
    """What ESConv says of a person: what they feel, and their situation in their own words."""
    return PersonCard(
        person=context.dialogue_id,
        profile="",
        emotion=context.emotion or "",
        situation=context.situation or "",
        need="",
        wishes=(),
    )


def _material(context: Context, reply: str, card: PersonCard) -> Material:
    turns = [
        Turn(speaker="person" if m.role == "user" else "supporter", text=m.content)
        for m in context.messages
    ]
    turns.append(Turn(speaker="supporter", text=reply))
    return Material(language=context.language, turns=tuple(turns), card=card)


def _pair(human: Variant) -> Sample:
    return Sample(
        id=human.context.id,
        input=human.material.replies(last_only=True)[0],
        metadata={
            "persona": human.context.dialogue_id,
            "language": human.context.language,
            "a": human.material.model_dump(mode="json"),
            "b": human.material.model_dump(mode="json"),
        },
    )


def _sample(variant: Variant) -> Sample:
    return Sample(
        id=f"{variant.context.id}-{variant.name}",
        input=variant.material.replies(last_only=True)[0],
        metadata={
            "conversation": variant.context.dialogue_id,
            "context": variant.context.id,
            "variant": variant.name,
            "material": variant.material.model_dump(mode="json"),
        },
    )
