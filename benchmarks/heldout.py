"""The held-out people of a benchmark: drawn from a source's gate split, or read from a file of contexts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmarks.contexts import Context, sample_contexts
from benchmarks.dialogues import Language, load_dialogues
from benchmarks.errors import DataError
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
    """Contexts from the file `contexts`, or `per_dialogue` of each of `dialogues` people of the gate split."""
    if contexts is not None:
        return read_contexts(Path(contexts))
    loaded = load_dialogues(source, path=Path(path) if path else None, language=language)
    people = split_dialogues(loaded.dialogues, seed=seed)["gate"][:dialogues]
    return sample_contexts(
        people, n=len(people) * per_dialogue, per_dialogue=per_dialogue, seed=seed
    )


def read_contexts(path: Path) -> list[Context]:
    """Contexts of a JSON Lines file, one a line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(
            str(path), "no such file", "name a file of contexts, or leave it out"
        ) from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Context.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise DataError(
                f"{path}:{number}", first["msg"], "make the file again", field=field
            ) from None
    return found


def write_contexts(path: Path, contexts: Iterable[Context]) -> None:
    """One context a line; the opposite of `read_contexts`."""
    path.write_text("".join(c.model_dump_json() + "\n" for c in contexts), encoding="utf-8")


def other_people(contexts: Sequence[Context], context: Context, n: int) -> list[Context]:
    """`n` contexts of other dialogues: the same ones for every checkpoint (they follow in the file's order)."""
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
