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
import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, get_args

from inspect_ai.model import ChatMessage, Model, get_model, model_roles
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import TaskState
from pydantic import JsonValue

from benchmarks.card_text import (
    emotion_text,
    need_text,
    profile_text,
    third_person,
)
from benchmarks.conversation import CUT_OFF, conversation_of, was_cut_off
from benchmarks.dialogues import Language
from benchmarks.errors import DataError
from benchmarks.persona import Persona, load_personas
from judges.absolute import JudgeSettings, Verdict, judge, value_names
from judges.material import Material, PersonCard, Turn, Wish
from judges.rubric import Rubric, load_rubric
from judges.verdict import FailureKind, JudgeFailed

ROLE: Final = "judge"
DECIMALS: Final = 4
CardShown = Literal["true", "shuffled", "none"]
Call = Literal["rubric", "criterion"]
PanelMethod = Literal["mean", "median"]
"""Of a panel in one sample; what needs many items is in `judges/panel.py`."""
HEADLINES: Final = {
    "personalization": "gap",
    "unhelpfulness": "any",
    "preference_discrepancy": "violated",
    "support_quality": "score",
    "fluency": "score",
}
"""The one value of each shipped rubric that a gate or a board looks at."""
HARMS: Final = ("unhelpfulness", "preference_discrepancy")
"""Rubrics whose headline is worse when it is higher: a guard may use them, a goal may not."""
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
        persona: Which card the judge sees, under a rubric about the person: their own (`true`),
            another person's (`shuffled`), or `none`.
        users: File of the people, where they are not the shipped ones.
        call: One call a `rubric`, or one a `criterion`.
        panel: How several judges in the role become one.
        logprobs: Ask for the probabilities of the levels.
        seed: Of the draw of other people's cards.

    Raises:
        DataError: an argument is none of the above, the rubric needs a card, or somebody has no
            other person to exchange cards with.
    """
    for name, value, known in (
        ("persona", persona, get_args(CardShown)),
        ("call", call, get_args(Call)),
        ("panel", panel, get_args(PanelMethod)),
    ):
        if value not in known:
            raise DataError(f"{name}={value}", "is not known", f"use {', '.join(known)}")
    bench = _Bench(rubric, users, JudgeSettings(call=call, logprobs=logprobs), seed)
    if persona == "none":
        bench.refuse_without_card()
    if persona == "shuffled":
        bench.refuse_without_others()

    async def ask(state: TaskState) -> _Votes:
        return await bench.votes(state, persona)

    return _scoring(ask, panel, bench.names)


@scorer(metrics=METRICS)
def personalization(
    users: str | None = None,
    call: Call = "rubric",
    panel: PanelMethod = "mean",
    logprobs: bool = True,
    seed: int = 7,
) -> Scorer:
    """Whether a conversation fits this person: the score with their card minus with another's.

    Of a panel each judge's own gap counts, over the judges that answered both times. The arguments
    are those of `judged`.

    Raises:
        DataError: somebody has no other person to exchange cards with.
    """
    bench = _Bench("personalization", users, JudgeSettings(call=call, logprobs=logprobs), seed)
    bench.refuse_without_others()

    async def ask(state: TaskState) -> _Votes:
        own = await bench.votes(state, "true")
        other = await bench.votes(state, "shuffled")
        return _gaps(own, other)

    return _scoring(ask, panel, ("gap", "true", "shuffled", *bench.criteria))


def judges_by(rubrics: str | Sequence[str], users: str | None = None) -> list[Scorer]:
    """The scorers of several rubrics, each under its rubric's name in the log.

    Args:
        rubrics: Names of shipped rubrics; in a text with commas between them.
        users: File of the people, where they are not the shipped ones.

    Raises:
        DataError: a name is not known, or stands there twice.
    """
    listed = rubrics.split(",") if isinstance(rubrics, str) else rubrics
    names = [name.strip() for name in listed]
    shown = f"rubrics={','.join(names)}"
    for name in names:
        if name not in HEADLINES:
            raise DataError(shown, f"'{name}' is not known", f"use {', '.join(HEADLINES)}")
        if names.count(name) > 1:
            raise DataError(shown, f"'{name}' stands there twice", "name it once")
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


def the_judge() -> Model:
    """The one model in the role `judge`; Inspect says so in one line when there is none.

    Raises:
        DataError: there are several, where no panel is asked.
    """
    bound = model_roles().get(ROLE)
    if isinstance(bound, list) and len(bound) > 1:
        raise DataError(
            f"role '{ROLE}'", f"holds {len(bound)} models, and one is asked here", "bind one"
        )
    return get_model(role=ROLE, required=True)


def _scoring(
    ask: Callable[[TaskState], Awaitable["_Votes"]], panel: PanelMethod, names: Sequence[str]
) -> Scorer:
    """A scorer around a question to the bench: a failure is unscored, with its reason.

    Each score has all `names`, for Inspect wants the same in every sample; NaN, which it leaves
    out, where a question does not apply.
    """

    async def score(state: TaskState, target: Target) -> Score:
        broken = broken_conversation(state)
        if broken:
            return Score.unscored(reason=broken)
        votes = await ask(state)
        n_needed = min(2, len(votes.given) + len(votes.failed))  # a panel of one is no panel
        if len(votes.given) < n_needed or not votes.given:
            return votes.unscored()
        values, spread = _joined(votes.given, panel)
        return Score(
            value={name: round(values.get(name, math.nan), DECIMALS) for name in names},
            explanation=votes.explanation or ", ".join(f"{n} {v:.2f}" for n, v in values.items()),
            metadata={
                "judges": votes.given,
                "judge_hashes": sorted(votes.hashes),
                "spread": spread,
                "failed": {name: str(failure) for name, failure in votes.failed.items()},
                "verdicts": votes.verdicts,
            },
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
    others = (
        p
        for p in people
        if p.id != persona.id
        and p.language == persona.language
        and (p.need != persona.need or p.need is None)
    )
    chosen = min(
        others,
        key=lambda p: hashlib.sha256(f"{seed}\n{persona.id}\n{p.id}".encode()).digest(),
        default=None,
    )
    if chosen is None:
        raise DataError(
            f"card '{persona.id}'",
            "there is nobody else of this language with another need",
            "give a file with more people",
        )
    return chosen


def broken_conversation(state: TaskState) -> str | None:
    """Why a sample is not shown to a judge: its conversation broke, and says nothing."""
    store = dict(state.store.items())
    if was_cut_off(store):
        return CUT_OFF
    talk = conversation_of(store)
    is_broken = talk is not None and not talk.ending.is_scored
    return f"{talk.ending.value}: {talk.failure}" if talk and is_broken else None


class _Votes(NamedTuple):
    """What each judge says of one conversation."""

    given: dict[str, dict[str, float]]
    """Judge -> criterion -> value."""
    failed: dict[str, JudgeFailed]
    verdicts: dict[str, JsonValue]
    explanation: str
    """The quotations and reasons of a judge that sits alone."""
    hashes: frozenset[str] = frozenset()
    """Who they are: model, prompt, rubric and settings."""

    def unscored(self) -> Score:
        """Too few answers, with the reason of the first failure and all of them in words."""
        failures = list(self.failed.values())
        kind = failures[0].kind if failures else FailureKind.MISSING
        return Score.unscored(
            reason=f"judge {kind.value}",
            explanation="; ".join(map(str, failures)) or "no question applies here",
            metadata={"failure": kind.value},
        )


class _Bench:
    """The judges, with what they need to know."""

    def __init__(self, rubric: str, users: str | None, settings: JudgeSettings, seed: int) -> None:
        self._rubric = rubric
        loaded = load_rubric(rubric)  # refuses an unknown one at once
        self._needs_persona = loaded.needs_persona
        self.names = value_names(loaded)
        self.criteria = tuple(criterion.name for criterion in loaded.criteria)
        self._people = load_personas(users)
        self._cards = {persona.id: persona for persona in self._people}
        self._settings = settings
        self._seed = seed
        self._rubrics: dict[Language, Rubric] = {}

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

    def refuse_without_others(self) -> None:
        """Cards are exchanged only where everybody has somebody: seen before a judge is paid.

        Raises:
            DataError: somebody has nobody.
        """
        for persona in self._people if self._needs_persona else ():
            another(persona, self._people, self._seed)

    async def votes(self, state: TaskState, shown: CardShown) -> _Votes:
        """Ask every model in the role `judge`."""
        language: Language = state.metadata.get("language", "en")
        if language not in self._rubrics:
            self._rubrics[language] = load_rubric(self._rubric, language)
        rubric = self._rubrics[language]
        models = _judges()
        votes = _Votes({}, {}, {}, "")
        try:
            card = self._card(state, shown)
        except JudgeFailed as failure:
            return votes._replace(failed={"everybody": failure})
        material = material_of(state.messages, language, card)
        for number, model in enumerate(models, start=1):
            name = f"{number}: {model}"
            try:
                verdict = await judge(model, rubric, material, self._settings)
            except JudgeFailed as failure:
                votes.failed[name] = failure
                continue
            values = verdict.values(rubric)
            if values:  # of preferences, perhaps none applies
                votes.given[name] = values
            votes.verdicts[name] = verdict.model_dump(mode="json")
            votes = votes._replace(hashes=votes.hashes | {verdict.judge})
            if len(models) == 1:
                votes = votes._replace(explanation=_told(verdict))
        return votes

    def _card(self, state: TaskState, shown: CardShown) -> PersonCard | None:
        """The card to show; none under a rubric that is not about the person."""
        if shown == "none" or not self._needs_persona:
            return None
        persona = self._cards.get(str(state.metadata.get("persona")))
        if persona is None:
            raise JudgeFailed(
                FailureKind.MISSING,
                "the card of this person is not known; name their file: users=FILE",
            )
        if shown == "shuffled":
            persona = another(persona, self._people, self._seed)
        return person_card(persona)


def _gaps(own: _Votes, other: _Votes) -> _Votes:
    """Each judge's score with the person's card, with another's, and the difference."""
    given = {}
    for name in own.given.keys() & other.given.keys():
        true, shuffled = own.given[name]["score"], other.given[name]["score"]
        criteria = {k: value for k, value in own.given[name].items() if k != "score"}
        given[name] = {"gap": true - shuffled, "true": true, "shuffled": shuffled, **criteria}
    verdicts: dict[str, JsonValue] = {"own": own.verdicts, "other": other.verdicts}
    return _Votes(
        given, {**other.failed, **own.failed}, verdicts, own.explanation, own.hashes | other.hashes
    )


def _joined(
    given: Mapping[str, Mapping[str, float]], method: PanelMethod
) -> tuple[dict[str, float], dict[str, float]]:
    """One value a criterion from all judges that gave one, and how far apart they are."""
    join: Callable[[list[float]], float]
    join = statistics.fmean if method == "mean" else statistics.median
    names = dict.fromkeys(name for values in given.values() for name in values)
    columns = {name: [v[name] for v in given.values() if name in v] for name in names}
    values = {name: float(join(column)) for name, column in columns.items()}
    return values, {name: max(column) - min(column) for name, column in columns.items()}


def _judges() -> list[Model]:
    """The models in the role; Inspect says so in one line when there is none."""
    bound = model_roles().get(ROLE)
    return list(bound) if isinstance(bound, list) else [get_model(role=ROLE, required=True)]


def _told(verdict: Verdict) -> str:
    return "\n".join(
        f"{name}: {finding.level} «{finding.evidence}» {finding.reason}"
        for name, finding in verdict.findings.items()
    )
