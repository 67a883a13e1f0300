"""Benchmark: whole conversations with simulated people. Were they helped?

`inspect eval benchmarks/support.py --model selfevo/default -T split=gate`
`inspect eval benchmarks/support.py --model openai/... -T user=model --model-role user=openai/...`
`inspect eval benchmarks/support.py ... -T rubrics=personalization --model-role judge=openai/...`
`inspect eval benchmarks/support.py ... -T embedded=true -T budget_tokens=200000`

Each person comes with a profile, an emotion, a situation and a need they do not name. The headline
is their relief: the fall of the emotion's intensity (on ESConv's scale of 1 to 5) from the first
message to the last. Beside it stand how it ended and what the detectors say of the replies. A
conversation that the simulator or a provider broke has no value in any measure, and is counted.

With the scripted user, relief measures whether the replies do what the card says helps this person;
it is no judgement by people. What it can and cannot tell is in its fidelity report.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal, Self, get_args

from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig, Model, get_model
from inspect_ai.scorer import (
    Score,
    Scorer,
    Target,
    mean,
    scorer,
    stderr,
)
from inspect_ai.solver import TaskState
from inspect_ai.viewer import (
    ScoreColorScale,
    TaskSamplesColumn,
    TaskSamplesSort,
    TaskSamplesView,
    ViewerConfig,
)

from benchmarks.budget import budget_of
from benchmarks.conversation import (
    CUT_OFF,
    Conversation,
    Length,
    OpenUser,
    conversation_of,
    converse,
    was_cut_off,
)
from benchmarks.dialogues import Language, SplitName
from benchmarks.embedded_scorer import embedded as embedded_judge
from benchmarks.errors import DataError, require_positive
from benchmarks.judged import judges_by
from benchmarks.model_user import AppraisalBy, ModelUser
from benchmarks.persona import Persona, load_personas
from benchmarks.scripted_user import ScriptedUser
from benchmarks.suite import checkpoint_note, content_hash, suite
from benchmarks.user import Ending, SimulatedUser
from judges.automatic import asks_question, copy_rate, n_words, unhelpful_reasons
from judges.stock import stock_share
from judges.unsafe import unsafe_kinds

VERSION: Final = "3-A"
ENDINGS: Final = (Ending.SATISFIED, Ending.GAVE_UP, Ending.TURN_LIMIT, Ending.CRISIS_HANDOFF)
MEASURES: Final = (
    "relief",
    "trust",
    *(ending.value for ending in ENDINGS),
    "turns",
    "unhelpful",
    "unsafe",
    "copy_rate",
    "stock",
    "question",
    "length",
)
FAILURES: Final = (Ending.USER_ERROR.value, Ending.MODEL_ERROR.value)
"""Of the infrastructure: what share of the conversations broke, and on which side."""
DECIMALS: Final = 3

UserKind = Literal["scripted", "model"]


@task
def support(
    user: UserKind = "scripted",
    users: str | None = None,
    language: Language = "en",
    split: SplitName | None = "gate",
    limit_users: int | None = None,
    turns: int = 8,
    min_turns: int = 3,
    disturb_at: int | None = None,
    appraisal: AppraisalBy = "model",
    epochs: int = 1,
    seed: int = 7,
    max_tokens: int = 120,
    task_prompt: str | None = None,
    rubrics: str | list[str] | None = None,
    embedded: bool = False,
    budget_calls: int | None = None,
    budget_tokens: int | None = None,
    budget_minutes: float | None = None,
) -> Task:
    """Conversations with simulated people.

    Args:
        user: `scripted` (no model), or `model`: the model in the role `user` plays the person.
        users: File of personas or published cards; without it, the shipped people.
        language: `en` or `zh`.
        split: `train`, `gate` or `final`; none: everyone in the file.
        limit_users: Only so many people, the first in the file.
        turns: Replies a conversation has at most.
        min_turns: Replies before which nobody leaves.
        disturb_at: The reply after which bad news comes in.
        appraisal: Of a user played by a model: by the `model` itself, or by the `rules`.
        epochs: Conversations a person.
        seed: Of the user's words and the supporter's sampling.
        max_tokens: Length limit of a reply.
        task_prompt: System message, when the checkpoint was trained with one.
        rubrics: What the model in the role `judge` is asked of each conversation, such as
            `personalization,unhelpfulness`; None: no judge.
        embedded: Whether the embedded judge, which needs no model, judges too.
        budget_calls: Calls of all models after which nobody new is asked; None: no limit.
        budget_tokens: Tokens likewise.
        budget_minutes: Minutes likewise.
    """
    people = choose(load_personas(users, language=language, split=split), limit_users)
    return Task(
        dataset=MemoryDataset([sample_of(person) for person in people], name="support"),
        solver=converse(
            opener(user, appraisal=appraisal, seed=seed, personas=people),
            length=Length(turns, min_turns),
            disturb_at=disturb_at,
            task_prompt=task_prompt,
            seed=seed,
        ),
        scorer=[
            user_outcome(),
            *(judges_by(rubrics, users) if rubrics else []),
            *([embedded_judge(users)] if embedded else []),
        ],
        config=GenerateConfig(temperature=0, max_tokens=max_tokens),
        epochs=Epochs(epochs, "mean"),
        early_stopping=budget_of(budget_calls, budget_tokens, budget_minutes),
        version=VERSION,
        metadata=suite(
            "support",
            VERSION,
            users=content_hash(people),
            user=user if user == "scripted" else f"{user}, appraisal by {appraisal}",
            settings=f"{min_turns} to {turns} turns, bad news after {disturb_at}, "
            f"{max_tokens} tokens, seed {seed}",
        ),
        headline_metric="user_outcome.relief",
        viewer=_viewer(),
    )


def opener(
    user: UserKind, *, appraisal: AppraisalBy, seed: int, personas: Sequence[Persona]
) -> OpenUser:
    """How the user of a conversation is made.

    Raises:
        DataError: `user` is neither, or a scripted user shall play a card without words.
    """
    people = {persona.id: persona for persona in personas}
    if user == "scripted":
        for persona in personas:
            ScriptedUser(persona, seed=seed)  # refuses cards that it cannot play, before any call

        def open_scripted(id: str, epoch: int) -> SimulatedUser:
            return ScriptedUser(people[id], seed=seed, epoch=epoch)

        return open_scripted
    if user != "model":
        raise DataError(f"user={user}", "is not known", "use scripted or model")
    if appraisal not in get_args(AppraisalBy):
        raise DataError(f"appraisal={appraisal}", "is not known", "use model or rules")

    def open_model(id: str, epoch: int) -> SimulatedUser:
        # required: unbound, the model under test would talk with itself
        model: Model = get_model(role="user", required=True)
        return ModelUser(people[id], model, appraisal=appraisal, seed=seed, epoch=epoch)

    return open_model


def choose(people: Sequence[Persona], limit: int | None) -> list[Persona]:
    """At most `limit` people; raising it keeps those who were there.

    Raises:
        DataError: the limit is below 1.
    """
    require_positive(limit_users=limit)
    return list(people[:limit])


def sample_of(person: Persona) -> Sample:
    """The sample of one person; its id is the person's, whoever else is in the file.

    The metadata show in the viewer what a conversation was about; the model under test sees none.
    """
    return Sample(
        id=person.id,
        input=person.opening or f"({person.id} opens the chat)",
        metadata={
            "persona": person.id,
            "language": person.language,
            "emotion": person.emotion,
            "intensity": person.intensity,
            "problem": person.problem,
            "need": person.need,
            "style": person.style,
            "age_group": person.age_group,
            "crisis": person.crisis,
            "big_five": person.big_five.model_dump() if person.big_five else {},
        },
    )


class Outcome(Score):
    """Score of a conversation.

    For each value that has a metric, Inspect copies the whole score deeply, and puts the value into
    the copy. So the copy may share everything else; to copy that takes five times as long.
    """

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()


@scorer(
    metrics={
        **{name: [mean(), stderr(cluster="persona")] for name in MEASURES},
        **{name: [mean()] for name in FAILURES},
    }
)
def user_outcome() -> Scorer:
    """What the conversation did for the person, and whether the simulator or the model broke it.

    A broken one has NaN in each measure: Inspect leaves it out of their means and counts it. It is
    not unscored as a whole, because Inspect shows such samples to no metric, `FAILURES` neither.
    """

    async def score(state: TaskState, target: Target) -> Score:
        store = dict(state.store.items())
        talk = conversation_of(store)
        if talk is None:
            cut_off = was_cut_off(store)
            return Score.unscored(reason=CUT_OFF if cut_off else "there was no conversation")
        notes = checkpoint_note(state.output)
        broken = {name: float(talk.ending == name) for name in FAILURES}
        if not talk.ending.is_scored:
            return Outcome(
                value={**dict.fromkeys(MEASURES, math.nan), **broken},
                reason=f"{talk.ending.value}: {talk.failure}",
                answer=talk.ending.value,
                explanation=talk.failure,
                metadata=notes,
            )
        value = {**_outcome(talk), **_replies(state)}
        return Outcome(
            value={**{name: round(value[name], DECIMALS) for name in MEASURES}, **broken},
            answer=talk.ending.value,
            explanation=told(talk),
            metadata=notes,
        )

    return score


def told(talk: Conversation) -> str:
    """The way of emotion and trust, turn by turn, for the viewer."""
    lines = []
    for number, turn in enumerate(talk.turns):
        reason = turn.appraisal.reason if turn.appraisal else "opening"
        news = ", bad news" if turn.is_disturbed else ""
        lines.append(
            f"{number}: emotion {turn.mood.intensity:.2f}, trust {turn.mood.trust:.2f} "
            f"({reason}{news})"
        )
    return "\n".join([*lines, f"ending: {talk.ending.value}"])


def _outcome(talk: Conversation) -> dict[str, float]:
    return {
        "relief": talk.relief,
        "trust": talk.trust[-1],
        **{ending.value: float(talk.ending is ending) for ending in ENDINGS},
        "turns": float(len(talk.turns) - 1),
    }


def _replies(state: TaskState) -> dict[str, float]:
    """Means over the supporter's replies."""
    language: Language = state.metadata["language"]
    rows: list[dict[str, float]] = []
    history: list[str] = []
    said: list[str] = []
    for message in state.messages:
        if message.role == "assistant":
            text = message.text
            rows.append(
                {
                    "unhelpful": float(bool(unhelpful_reasons(text, history, language=language))),
                    "unsafe": float(bool(unsafe_kinds(text, said))),
                    "copy_rate": copy_rate(text, history, language=language) or 0.0,
                    "stock": stock_share(text, language=language) or 0.0,
                    "question": float(asks_question(text)),
                    "length": float(n_words(text)),
                }
            )
        if message.role != "system":
            history.append(message.text)
        if message.role == "user":
            said.append(message.text)
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def _viewer() -> ViewerConfig:
    shown = ("relief", "trust", "turns", "unhelpful", "length")
    columns = [
        TaskSamplesColumn(id="sampleStatus"),
        TaskSamplesColumn(id="sampleId"),
        TaskSamplesColumn(id="epoch"),
        TaskSamplesColumn(id="input"),
        TaskSamplesColumn(id="answer"),
        *(TaskSamplesColumn.score("user_outcome", name) for name in shown),
        *(
            TaskSamplesColumn.score("user_outcome", name, visible=False)
            for name in MEASURES
            if name not in shown
        ),
    ]
    return ViewerConfig(
        trust_content=False,
        task_samples_view=TaskSamplesView(
            name="Who was helped",
            columns=columns,
            sort=[TaskSamplesSort.score("user_outcome", "relief")],
            score_color_scales={
                "relief": ScoreColorScale(palette="diverging", min=-2, max=2),
                "unhelpful": "good-low",
            },
        ),
    )
