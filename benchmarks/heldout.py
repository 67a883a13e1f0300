"""The held-out people of a benchmark: drawn from a source's gate split, or read from a file."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.contexts import Context, contexts_of, sample_contexts
from benchmarks.dialogues import Language, load_dialogues
from benchmarks.errors import DataError
from benchmarks.jsonl import read_rows
from benchmarks.splits import split_dialogues


def heldout_contexts(
    contexts: str | None,
    *,
    source: str,
    path: str | None,
    language: Language,
    dialogues: int,
    per_dialogue: int,
    seed: int,
) -> list[Context]:
    """Contexts from the file `contexts`, or drawn from the gate split.

    Drawn are up to `dialogues` people and up to `per_dialogue` contexts of each, chosen by hash:
    the choice does not depend on the order of the source.
    """
    if contexts is not None:
        return read_contexts(Path(contexts))
    loaded = load_dialogues(source, path=Path(path) if path else None, language=language)
    gate = [d for d in split_dialogues(loaded.dialogues, seed=seed).gate if contexts_of(d)]
    people = sorted(gate, key=lambda d: hashlib.sha256(f"{seed}\n{d.id}".encode()).hexdigest())
    people = people[:dialogues]
    return sample_contexts(
        people, n=len(people) * per_dialogue, per_dialogue=per_dialogue, seed=seed
    )


def read_contexts(path: Path) -> list[Context]:
    """Contexts of a JSON Lines file, one a line.

    Raises:
        DataError: naming file, line and field.
    """
    found = []
    for row in read_rows(path):
        try:
            found.append(Context.model_validate(row.fields))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise row.error(field, first["msg"], "make the file again") from None
    return found


def write_contexts(path: Path, contexts: Iterable[Context]) -> None:
    """One context a line; the opposite of `read_contexts`."""
    path.write_text("".join(c.model_dump_json() + "\n" for c in contexts), encoding="utf-8")


def other_people(contexts: Sequence[Context], context: Context, n: int) -> list[Context]:
    """`n` contexts of other dialogues, the same for every checkpoint: the next ones in the file."""
    start = contexts.index(context)
    rotated = [*contexts[start + 1 :], *contexts[:start]]
    others: dict[str, Context] = {}
    for other in rotated:
        if other.dialogue_id != context.dialogue_id:
            others.setdefault(other.dialogue_id, other)
    if len(others) < n:
        raise DataError(
            context.id,
            f"only {len(others)} other people to compare with",
            f"hold out at least {n + 1}",
        )
    return list(others.values())[:n]


def sample_metadata(context: Context) -> dict[str, Any]:
    """What the viewer shows and the gate groups by."""
    return {
        "dialogue_id": context.dialogue_id,
        "turn": context.turn,
        "language": context.language,
        "emotion": context.emotion,
        "problem": context.problem,
        "human_reply": context.human_reply,
    }
