"""Simulated users inside a run: who talks with a checkpoint, and what is taken from the talks.

The gate's people talk with every checkpoint and are measured. The training people talk with the
champion, and their conversations become contexts for pairs. The two never mix: each file of the run
holds one split, and a conversation remembers its split.
"""

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from inspect_ai import Task
from inspect_ai.log import EvalLog, EvalSample
from inspect_ai.model import Model, get_model

from benchmarks.contexts import Context, Message
from benchmarks.conversation import conversation_of
from benchmarks.heldout import read_contexts, write_contexts
from benchmarks.persona import Persona, load_personas
from benchmarks.support import support
from selfevo.config import RunConfig, UsersConfig
from selfevo.errors import UsageError
from selfevo.harness import Evaluand, finished_log, run_eval
from selfevo.run import Run
from selfevo.seeds import derived_seed

SPARE = 1.25
"""Training people who talk, over the contexts that are wanted from them."""
UserSplit = Literal["train", "gate"]
"""The final split is for the report of a finished method, and no run touches it."""


def store_people(run: Run, split: UserSplit) -> Path | None:
    """The file of a split's people in the run; None when the recipe has no users."""
    users = run.config.users
    if users is None:
        return None
    return run.once(f"data/users-{split}.jsonl", lambda file: _write(file, _people(run, split)))


def _people(run: Run, split: UserSplit) -> list[Persona]:
    users, language = run.config.users, run.config.data.language
    assert users is not None  # store_people asked
    people = load_personas(users.file, language=language, split=split)
    if split == "train":
        return list(people)
    if len(people) < users.people:
        raise UsageError(
            f"users.people: {users.people} people asked for, the gate split has {len(people)} "
            f"({language}); lower it or name a larger users.file"
        )
    seed = run.config.seed
    return sorted(people, key=lambda p: derived_seed(seed, "users", p.id))[: users.people]


def _write(path: Path, people: Sequence[Persona]) -> None:
    path.write_text("".join(p.model_dump_json() + "\n" for p in people), encoding="utf-8")


def talk_task(
    config: RunConfig, people: Path, split: UserSplit, *, seed: int, judged: bool = False
) -> Task:
    """The task in which a checkpoint talks with the people of a file, and may be judged."""
    users = config.users
    assert users is not None  # only runs with users have such a file
    return support(
        user=users.kind,
        users=str(people),
        language=config.data.language,
        split=split,
        turns=users.turns,
        min_turns=min(users.min_turns, users.turns),
        appraisal=users.appraisal,
        seed=seed,
        max_tokens=config.evaluation.max_tokens,
        task_prompt=config.data.task_prompt,
        rubrics=list(config.judge.rubrics) if judged and config.judge else None,
    )


def user_roles(users: UsersConfig) -> dict[str, Model]:
    """The model that plays the users, where one does."""
    return {"user": get_model(users.model)} if users.kind == "model" and users.model else {}


def suite_of(people: Path | None, config: RunConfig) -> str | None:
    """Content hash of who the users are and how they behave; None without users."""
    if people is None or config.users is None:
        return None
    settings = config.users.model_dump_json(exclude={"file"}).encode()
    return hashlib.sha256(people.read_bytes() + b"\0" + settings).hexdigest()


def with_conversations(run: Run, number: int, champion: Evaluand, contexts: Path) -> Path:
    """The round's contexts, a share of them from the champion's talks with training people."""
    wanted, users = run.config.from_users, run.config.users
    if wanted == 0 or users is None:
        return contexts
    folder = f"round-{number}"
    people = run.once(
        f"{folder}/talkers.jsonl", lambda file: _write(file, _talkers(run, number, wanted))
    )
    seed = derived_seed(run.config.seed, "talk", number) % 2**31
    title = f"M{number}: talk with training users"
    logs = run.once(
        f"{folder}/conversations",
        lambda partial: run_eval(
            talk_task(run.config, people, "train", seed=seed),
            champion.model,
            partial,
            title=title,
            roles=user_roles(users),
            max_samples=run.config.evaluation.max_samples,
        ),
        title=title,
    )

    def join(partial: Path) -> None:
        found = conversation_contexts(finished_log(logs), run.config, number)[:wanted]
        if len(found) < wanted:
            raise UsageError(
                f"synthesis.from_users: round {number} asks for {wanted} contexts from "
                f"conversations, they gave {len(found)}; lower it, or raise users.turns"
            )
        write_contexts(partial, [*read_contexts(contexts), *found])

    return run.once(f"{folder}/contexts-with-users.jsonl", join)


def _talkers(run: Run, number: int, wanted: int) -> list[Persona]:
    """Training people of a round: one a context, and some to spare for talks that fail."""
    stored = store_people(run, "train")
    people = load_personas(stored, split="train")
    seed = run.config.seed
    drawn = sorted(people, key=lambda p: derived_seed(seed, "talk", number, p.id))
    return drawn[: math.ceil(SPARE * wanted)]


def conversation_contexts(log: EvalLog, config: RunConfig, number: int) -> list[Context]:
    """Contexts of scored conversations, one of everybody before a second of anybody."""
    ranked: list[tuple[int, int, str, Context]] = []
    for sample in log.samples or []:
        talk = conversation_of(sample.store)
        if talk is None or not talk.ending.is_scored:
            continue
        found = _contexts(sample, config, number)
        keyed = sorted((derived_seed(config.seed, "talk", c.id), c.id, c) for c in found)
        ranked += [(place, key, name, c) for place, (key, name, c) in enumerate(keyed)]
    return [context for *_, context in sorted(ranked, key=lambda item: item[:3])]


def _contexts(sample: EvalSample, config: RunConfig, number: int) -> list[Context]:
    """The points of one conversation at which the supporter replied."""
    told = [m for m in sample.messages if m.role in ("user", "assistant")]
    contexts = []
    for turn, message in enumerate(told):
        before = told[:turn]
        n_seeker = sum(m.role == "user" for m in before)
        if message.role != "assistant" or n_seeker < config.synthesis.min_seeker_turns:
            continue
        kept = before[-config.data.max_messages :] if config.data.max_messages else before
        kept = kept[1:] if kept[0].role == "assistant" else kept
        contexts.append(
            Context(
                id=f"{sample.id}-r{number}-{turn}",
                dialogue_id=str(sample.id),
                turn=turn,
                language=config.data.language,
                emotion=sample.metadata["emotion"],
                problem=sample.metadata["problem"],
                situation=None,  # the card's, which the supporter was not told
                messages=tuple(
                    Message(role="user" if m.role == "user" else "assistant", content=m.text)
                    for m in kept
                ),
                human_reply=None,
                human_strategies=(),
            )
        )
    return contexts
