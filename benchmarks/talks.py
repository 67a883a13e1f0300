"""Conversations as they stand in Inspect logs, for whoever studies the simulated users.

A log of `support` gives everything. Of any other log with user and assistant turns only the words
are used; what went on inside the user is then unknown.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import EvalLog, EvalSample, read_eval_log

from benchmarks.conversation import Conversation, conversation_of
from benchmarks.dialogues import Dialogue, Language
from benchmarks.errors import DataError
from benchmarks.logs import BROKEN
from benchmarks.persona import Persona, load_personas


class Talk(NamedTuple):
    """One conversation."""

    id: str
    persona: Persona | None
    """Whose card it is; None for people, and for cards that are not in the file."""
    language: Language
    user: tuple[str, ...]
    """What the user said, turn by turn."""
    supporter: tuple[str, ...]
    inner: Conversation | None
    """What went on inside a simulated user."""


class TalkLog(NamedTuple):
    """The conversations of one log."""

    model: str
    user: str
    """Who played the users: `scripted`, or the model's name."""
    talks: tuple[Talk, ...]
    created: str
    status: str
    """`success`, or how the eval ended that left this log."""


def find_log(path: Path) -> Path:
    """The log itself, or the newest `.eval` file of a folder.

    Raises:
        DataError: neither is there.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(str(path), "no such log", "give the path of an .eval file or of its folder")
    logs = sorted(path.rglob("*.eval"), key=lambda log: (log.stat().st_mtime, log.name))
    if not logs:
        raise DataError(str(path), "the folder has no .eval file", "give the folder of a log")
    return logs[-1]


def read_talks(path: Path, users: Path | None = None) -> TalkLog:
    """The conversations of an Inspect log.

    Args:
        path: The `.eval` or `.json` log.
        users: File of the people's cards; None: the one that the log names, or the shipped people.

    Raises:
        DataError: no log, or no conversation in it.
    """
    if not path.is_file():
        raise DataError(str(path), "no such log", "give the path of an .eval file")
    try:
        log = read_eval_log(str(path))
    except BROKEN as error:
        raise DataError(str(path), "is no log of Inspect", "give an .eval file") from error
    cards = {persona.id: persona for persona in load_personas(users or _users_of(log))}
    talks = [_talk(sample, cards) for sample in log.samples or []]
    talks = [talk for talk in talks if talk.user or talk.inner]  # it may break before a word
    if not talks:
        raise DataError(str(path), "holds no conversation", "give a log of benchmarks/support.py")
    return TalkLog(log.eval.model, _player(log), tuple(talks), log.eval.created, log.status)


def human_talks(dialogues: Sequence[Dialogue]) -> list[Talk]:
    """Dialogues between people, to compare with."""
    return [
        Talk(
            id=d.id,
            persona=None,
            language=d.language,
            user=tuple(t.text for t in d.turns if t.speaker == "seeker"),
            supporter=tuple(t.text for t in d.turns if t.speaker == "supporter"),
            inner=None,
        )
        for d in dialogues
    ]


def _talk(sample: EvalSample, cards: dict[str, Persona]) -> Talk:
    persona = cards.get(str((sample.metadata or {}).get("persona")))
    return Talk(
        id=f"{sample.id}-{sample.epoch}",
        persona=persona,
        language=persona.language if persona else (sample.metadata or {}).get("language", "en"),
        user=tuple(m.text for m in sample.messages if m.role == "user"),
        supporter=tuple(m.text for m in sample.messages if m.role == "assistant"),
        inner=conversation_of(sample.store),
    )


def _users_of(log: EvalLog) -> Path | None:
    named = (log.eval.task_args or {}).get("users")
    if not named:
        return None
    if not Path(str(named)).is_file():
        raise DataError(
            str(named), "the log's people are not there", "say where they are: --users FILE"
        )
    return Path(str(named))


def _player(log: EvalLog) -> str:
    if (log.eval.task_args or {}).get("user") == "scripted":
        return "scripted"
    role = (log.eval.model_roles or {}).get("user")
    models = role if isinstance(role, list) else [role]
    return ", ".join(m.model for m in models if m is not None) or "unknown"
