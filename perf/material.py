"""What the benches work on: real dialogues where `--data` names them, else the shipped ones."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.dialogues import Dialogue, load_dialogues
from selfevo.errors import UsageError

MIN_TURNS = 8
"""Supporter turns that a dialogue has at least."""


def long_dialogues(
    data: Path | None, n: int, *, min_turns: int = MIN_TURNS, seed: int = 7
) -> list[Dialogue]:
    """`n` dialogues with at least `min_turns` supporter turns, drawn by `seed`.

    Args:
        data: Folder with ESConv's files; None: the starter dialogues, which are shorter.
        n: How many.
        min_turns: Supporter turns.
        seed: Of the draw.

    Raises:
        UsageError: there are not so many.
    """
    source = "starter" if data is None else "esconv"
    everyone = load_dialogues(source, path=data, language="en").dialogues
    found = [d for d in everyone if n_replies(d) >= min_turns]
    if len(found) < n:
        raise UsageError(
            f"{source}: {len(found)} dialogues have {min_turns} supporter turns, {n} are needed; "
            "name ESConv's folder with --data"
        )
    return random.Random(seed).sample(sorted(found, key=lambda d: d.id), n)


def n_replies(dialogue: Dialogue) -> int:
    """Supporter turns of a dialogue."""
    return sum(turn.speaker == "supporter" for turn in dialogue.turns)


def preference_rows(
    dialogues: Sequence[Dialogue], others: Sequence[Dialogue], *, seed: int = 7
) -> list[dict[str, Any]]:
    """A pair at each supporter turn, as TRL's rows with a `dialogue` column.

    The replies are supporters' replies from `others`: of a real length, and neither is what the
    dialogue goes on with, as a draft and its refinement are not.
    """
    rng = random.Random(seed)
    foreign = [turn.text for d in others for turn in d.turns if turn.speaker == "supporter"]
    rows = []
    for dialogue in dialogues:
        at = [i for i, turn in enumerate(dialogue.turns) if turn.speaker == "supporter"]
        for index in at:
            chosen, rejected = rng.sample(foreign, 2)
            rows.append(
                {
                    "dialogue": dialogue.id,
                    "prompt": messages(dialogue, index),
                    "chosen": [{"role": "assistant", "content": chosen}],
                    "rejected": [{"role": "assistant", "content": rejected}],
                }
            )
    return rows


def segments(dialogue: Dialogue, turns: int) -> list[Dialogue]:
    """The dialogue cut into dialogues of so many supporter turns each; a rest is left out."""
    width = 2 * turns  # the speakers alternate, and the seeker begins
    starts = range(0, len(dialogue.turns) - width + 1, width)
    return [
        dialogue.model_copy(
            update={"id": f"{dialogue.id}/{start}", "turns": dialogue.turns[start : start + width]}
        )
        for start in starts
    ]


def messages(dialogue: Dialogue, n_turns: int) -> list[dict[str, str]]:
    """The first turns of a dialogue as chat messages."""
    role = {"seeker": "user", "supporter": "assistant"}
    return [{"role": role[t.speaker], "content": t.text} for t in dialogue.turns[:n_turns]]
