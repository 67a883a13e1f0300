"""Judges as Inspect scorers: conversations under a rubric, with the right card, another, or none.

In the task: `inspect eval benchmarks/support.py ... -T rubrics=personalization,unhelpfulness
--model-role judge=openai/...`; on a stored log: `inspect score LOG --scorer
benchmarks/judged.py@judged -S rubric=unhelpfulness --model-role judge=...`.

The judge sits in the *required* role `judge`: unbound, Inspect would let the model under test judge
itself. Several models in the role are a panel. The judge sees the words of both sides and the card,
never what went on inside the simulated user. A judge that fails leaves the sample unscored, with
its reason.

`personalization` asks twice, with the person's card and with another's; the headline is the gap. A
judge that reads general quality gives both the same, and the gap is nothing.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from inspect_ai.model import ChatMessage, Model, get_model, model_roles
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState

from benchmarks.card_text import (
    emotion_text,
    need_text,
    profile_text,
    third_person,
)
from benchmarks.conversation import conversation_of
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.persona import Persona, load_personas
from judges.absolute import JudgeSettings, Verdict, judge
from judges.material import Material, PersonCard, Turn, Wish
from judges.panel import aggregate
from judges.rubric import Rubric, load_rubric
from judges.verdict import FailureKind, JudgeFailed

ROLE: Final = "judge"
DECIMALS: Final = 4
CardShown = Literal["true", "shuffled", "none"]
Call = Literal["rubric", "criterion"]
PanelMethod = Literal["mean", "median"]
"""Of a panel in one sample; the reliability of judges needs many items (`selfevo calibrate`)."""
HEADLINES: Final = {
    "personalization": "gap",
    "unhelpfulness": "any",
    "preference_discrepancy": "violated",
    "support_quality": "score",
    "fluency": "score",
}
"""The one value of each shipped rubric that a gate or a board looks at."""
METRICS: Final = [{"*": [mean(), stderr()]}]


@scorer(metrics=METRICS)
def judged(
    rubric: str,
    persona: CardShown = "true",
    users: str | None = None,
    call: Call = "rubric",
    panel: PanelMethod = "mean",
    logprobs: bool = True,
    seed: int = 7,
) -> Scorer:
    """A conversation under any rubric.

    Args:
        rubric: Name of a shipped rubric, or a YAML file.
        persona: Which card the judge sees: the person's own, another person's, or none.
        users: File of the people, where they are not the shipped ones.
        call: One call a `rubric`, or one a `criterion`.
        panel: How several judges in the role become one.
        logprobs: Ask for the probabilities of the levels.
        seed: Of the draw of other people's cards.
    """
    bench = _Bench(rubric, users, JudgeSettings(call=call, logprobs=logprobs), panel, seed)
    if persona == "none":
        bench.refuse_without_card()

    async def ask(state: TaskState) -> _Opinion:
        return await bench.opinion(state, persona)

    return _scoring(ask)


@scorer(metrics=METRICS)
def personalization(
    users: str | None = None,
    call: Call = "rubric",
    panel: PanelMethod = "mean",
    logprobs: bool = True,
    seed: int = 7,
) -> Scorer:
    """Whether a conversation fits this person: the score with their card minus with another's.

    The arguments are those of `judged`.
    """
    settings = JudgeSettings(call=call, logprobs=logprobs)
    bench = _Bench("personalization", users, settings, panel, seed)

    async def ask(state: TaskState) -> _Opinion:
        own = await bench.opinion(state, "true")
        other = await bench.opinion(state, "shuffled")
        true, shuffled = own.values["score"], other.values["score"]
        criteria = {name: value for name, value in own.values.items() if name != "score"}
        values = {"gap": true - shuffled, "true": true, "shuffled": shuffled, **criteria}
        return _Opinion(values, own.explanation, {"own": own.notes, "other": other.notes})

    return _scoring(ask)


def judges_by(rubrics: str | Sequence[str], users: str | None = None) -> list[Scorer]:
    """The scorers of several rubrics, each under its rubric's name in the log.

    Args:
        rubrics: Names of shipped rubrics; in a text with commas between them.
        users: File of the people, where they are not the shipped ones.

    Raises:
        DataError: a name is not known.
    """
    listed = rubrics.split(",") if isinstance(rubrics, str) else rubrics
    names = [name.strip() for name in listed]
    unknown = [name for name in names if name not in HEADLINES]
    if unknown:
        raise DataError(
            f"rubrics={','.join(names)}",
            f"'{unknown[0]}' is not known",
            f"use {', '.join(HEADLINES)}",
        )
    return [
        personalization(users) if name == "personalization" else _named(name, users)
        for name in names
    ]


def _named(rubric: str, users: str | None) -> Scorer:
    """The scorer of a rubric, under the rubric's name."""

    @scorer(metrics=METRICS, name=rubric)
    def by_rubric(users: str | None) -> Scorer:
        return judged(rubric, users=users)

    return by_rubric(users)


def _scoring(ask: Callable[[TaskState], Awaitable["_Opinion"]]) -> Scorer:
    """A scorer around a question to the bench: a failure is unscored, with its reason."""

    async def score(state: TaskState, target: Target) -> Score:
        broken = broken_conversation(state)
        if broken:
            return Score.unscored(reason=broken)
        try:
            opinion = await ask(state)
        except JudgeFailed as failure:
            return Score.unscored(
                reason=f"judge {failure.kind.value}",
                explanation=str(failure),
                metadata={"failure": failure.kind.value},
            )
        return Score(
            value={name: round(value, DECIMALS) for name, value in opinion.values.items()},
            explanation=opinion.explanation,
            metadata=opinion.notes,
        )

    return score


def material_of(
    messages: Sequence[ChatMessage], language: Language, card: PersonCard | None
) -> Material:
    """A conversation as a judge reads it."""
    turns = tuple(
        Turn(speaker="person" if m.role == "user" else "supporter", text=m.text)
        for m in messages
        if m.role in ("user", "assistant") and m.text.strip()
    )
    return Material(language=language, turns=turns, card=card)


def person_card(persona: Persona) -> PersonCard:
    """A persona as a judge may know them."""
    language = persona.language
    wishes = [("helps", p.text, True) for p in persona.helps]
    wishes += [("hurts", p.text, False) for p in persona.hurts]
    counts: dict[str, int] = {}
    named = []
    for kind, text, is_wanted in wishes:
        counts[kind] = counts.get(kind, 0) + 1
        named.append(Wish(name=f"{kind}_{counts[kind]}", text=text, is_wanted=is_wanted))
    return PersonCard(
        person=persona.id,
        profile=third_person(profile_text(persona), language),
        emotion=emotion_text(persona),
        situation=persona.situation or "",
        need=third_person(need_text(persona), language),
        wishes=tuple(named),
    )


def another(persona: Persona, people: Sequence[Persona], seed: int) -> Persona:
    """Somebody else for a shuffled card: of the same language, with another need.

    Raises:
        DataError: there is nobody.
    """
    others = [
        p
        for p in people
        if p.id != persona.id
        and p.language == persona.language
        and (p.need != persona.need or p.need is None)
    ]
    if not others:
        raise DataError(
            f"card '{persona.id}'",
            "there is nobody else of this language with another need",
            "give a file with more people",
        )
    return min(
        others, key=lambda p: hashlib.sha256(f"{seed}\n{persona.id}\n{p.id}".encode()).digest()
    )


def broken_conversation(state: TaskState) -> str | None:
    """Why a sample is not shown to a judge: its conversation broke, and says nothing."""
    talk = conversation_of(dict(state.store.items()))
    is_broken = talk is not None and not talk.ending.is_scored
    return f"{talk.ending.value}: {talk.failure}" if talk and is_broken else None


class _Opinion(NamedTuple):
    """What the bench says of one conversation."""

    values: dict[str, float]
    explanation: str
    notes: dict[str, object]


class _Bench:
    """The judges, with what they need to know."""

    def __init__(
        self, rubric: str, users: str | None, settings: JudgeSettings, panel: PanelMethod, seed: int
    ) -> None:
        self._rubric = rubric
        self._needs_persona = load_rubric(rubric).needs_persona  # refuses an unknown one at once
        self._people = load_personas(users)
        self._cards = {persona.id: persona for persona in self._people}
        self._settings = settings
        self._panel = panel
        self._seed = seed

    def refuse_without_card(self) -> None:
        """A question about the person cannot be answered without knowing them.

        Raises:
            DataError: the rubric asks such questions.
        """
        if self._needs_persona:
            raise DataError(
                f"rubric '{self._rubric}'",
                "is about a person, and persona=none shows no card",
                "use persona=true, or another rubric",
            )

    async def opinion(self, state: TaskState, shown: CardShown) -> _Opinion:
        """The verdict of the role `judge`, or of all that sit in it.

        Raises:
            JudgeFailed: of the one judge, or of too many of a panel.
        """
        language: Language = state.metadata.get("language", "en")
        rubric = load_rubric(self._rubric, language)
        material = material_of(state.messages, language, self._card(state, shown))
        models = _judges()
        if len(models) == 1:
            verdict = await judge(models[0], rubric, material, self._settings)
            return _alone(verdict, rubric)
        return await self._together(models, rubric, material)

    def _card(self, state: TaskState, shown: CardShown) -> PersonCard | None:
        if shown == "none":
            return None
        persona = self._cards.get(str(state.metadata.get("persona")))
        if persona is None:
            raise JudgeFailed(FailureKind.MISSING, "the card of this person is not known")
        if shown == "shuffled":
            persona = another(persona, self._people, self._seed)
        return person_card(persona)

    async def _together(
        self, models: Sequence[Model], rubric: Rubric, material: Material
    ) -> _Opinion:
        ratings: dict[str, dict[str, float | None]] = {}
        failures: dict[str, str] = {}
        for number, model in enumerate(models, start=1):
            name = f"{number}: {model}"
            try:
                verdict = await judge(model, rubric, material, self._settings)
                ratings[name] = dict(verdict.values(rubric))
            except JudgeFailed as failure:
                failures[name] = str(failure)
                ratings[name] = {}
        values, spread = _joined(ratings, self._panel, rubric)
        if not values:
            reasons = "; ".join(failures.values()) or "the judges left too little in common"
            raise JudgeFailed(FailureKind.MISSING, f"no panel: {reasons}")
        explanation = ", ".join(f"{name} {value:.2f}" for name, value in values.items())
        return _Opinion(
            values, explanation, {"judges": ratings, "failed": failures, "spread": spread}
        )


def _joined(
    ratings: Mapping[str, Mapping[str, float | None]], method: PanelMethod, rubric: Rubric
) -> tuple[dict[str, float], dict[str, float]]:
    """One value a criterion from several judges, and how far apart they are."""
    result = aggregate(ratings, method, levels=_scale(rubric))
    values = {name: v.value for name, v in result.items.items() if v.value is not None}
    spread = {name: v.spread for name, v in result.items.items() if v.spread is not None}
    return values, spread


def _scale(rubric: Rubric) -> list[int]:
    """From the lowest value that a rubric gives to the highest; shares lie between 0 and 1."""
    values = [value for criterion in rubric.criteria for value in criterion.values]
    return list(range(min(0, *values), max(1, *values) + 1))


def _judges() -> list[Model]:
    """The models in the role; Inspect says so in one line when there is none."""
    bound = model_roles().get(ROLE)
    if isinstance(bound, list):
        return list(bound)
    return [get_model(role=ROLE, required=True)]


def _alone(verdict: Verdict, rubric: Rubric) -> _Opinion:
    values = verdict.values(rubric)
    if not values:
        raise JudgeFailed(FailureKind.MISSING, "no question applies to this conversation")
    lines = [
        f"{name}: {finding.level} «{finding.evidence}» {finding.reason}"
        for name, finding in verdict.findings.items()
    ]
    return _Opinion(values, "\n".join(lines), {"verdict": verdict.model_dump(mode="json")})
