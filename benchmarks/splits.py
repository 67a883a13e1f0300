"""Three splits that share no situation: `train` (training), `gate` (promotion), `final` (report).

The splits of the publisher are used where dialogues declare at least two; a held-out dialogue
whose situation also stands in train (or, for final, in gate) is removed and counted. Otherwise, and
for dialogues that declare none, SHA-256(seed, group) decides, where a group is all dialogues with
the same normalised situation: the order of the files does not matter, and adding dialogues never
moves one that was there. Shares are therefore expectations, not exact sizes, and nothing is
balanced by emotion or problem.
"""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from benchmarks.dialogues import SPLIT_NAMES, Dialogue, Drop, DropReason, SplitName


class Splits(BaseModel):
    """The dialogues of each split, and those removed because their situation was seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[Dialogue, ...]
    gate: tuple[Dialogue, ...]
    final: tuple[Dialogue, ...]
    is_published: bool
    """Whether the publisher's splits were used."""

    dropped: tuple[Drop, ...] = ()

    def __getitem__(self, name: SplitName) -> tuple[Dialogue, ...]:
        """Return one split by its name."""
        return {"train": self.train, "gate": self.gate, "final": self.final}[name]


class Leak(NamedTuple):
    """One situation that stands in more than one split."""

    situation: str
    dialogue_ids: tuple[str, ...]
    splits: tuple[SplitName, ...]


def split_dialogues(
    dialogues: Sequence[Dialogue], *, seed: int, gate: float = 0.3, final: float = 0.1
) -> Splits:
    """Split dialogues as published, or by the hash of their situation."""
    if gate < 0 or final < 0 or gate + final >= 1:
        raise ValueError(f"gate={gate} and final={final} must be >= 0 and leave some for train")
    is_published = len({dialogue.published_split for dialogue in dialogues} - {None}) >= 2
    by_split: dict[SplitName, list[Dialogue]] = {name: [] for name in SPLIT_NAMES}
    for dialogue in dialogues:
        published = dialogue.published_split if is_published else None
        name = published or _split_of(_group(dialogue), seed, gate, final)
        by_split[name].append(dialogue)
    kept, dropped = _remove_leaks(by_split)
    return Splits(
        train=kept["train"],
        gate=kept["gate"],
        final=kept["final"],
        is_published=is_published,
        dropped=dropped,
    )


def check_leakage(splits: Splits) -> list[Leak]:
    """List the situations that stand in more than one split."""
    found: dict[str, list[tuple[str, SplitName]]] = defaultdict(list)
    for name in SPLIT_NAMES:
        for dialogue in splits[name]:
            found[_group(dialogue)].append((dialogue.id, name))
    leaks = []
    for group, places in sorted(found.items()):
        names = {name for _, name in places}
        if len(names) > 1:
            ids = tuple(dialogue_id for dialogue_id, _ in places)
            leaks.append(Leak(group, ids, tuple(name for name in SPLIT_NAMES if name in names)))
    return leaks


def normalise_situation(situation: str | None) -> str:
    """Fold case, punctuation and spaces, so that small edits of a situation do not hide a leak."""
    folded = unicodedata.normalize("NFKC", situation or "").casefold()
    return " ".join("".join(char if char.isalnum() else " " for char in folded).split())


def _group(dialogue: Dialogue) -> str:
    """Name the group that must stay together; without a situation a dialogue stays alone."""
    return normalise_situation(dialogue.situation) or f"id:{dialogue.id}"


def _split_of(group: str, seed: int, gate: float, final: float) -> SplitName:
    digest = hashlib.sha256(f"{seed}\n{group}".encode()).digest()
    share = int.from_bytes(digest[:8]) / 2**64
    if share < final:
        return "final"
    return "gate" if share < final + gate else "train"


def _remove_leaks(
    by_split: Mapping[SplitName, Sequence[Dialogue]],
) -> tuple[dict[SplitName, tuple[Dialogue, ...]], tuple[Drop, ...]]:
    """Remove each dialogue whose situation stands in an earlier split: train, then gate."""
    seen: dict[str, SplitName] = {}
    kept: dict[SplitName, tuple[Dialogue, ...]] = {}
    dropped: list[Drop] = []
    for name in SPLIT_NAMES:
        stays = []
        for dialogue in by_split[name]:
            first = seen.setdefault(_group(dialogue), name)
            if first == name:
                stays.append(dialogue)
            else:
                dropped.append(_leak_drop(dialogue, first))
        kept[name] = tuple(stays)
    return kept, tuple(dropped)


def _leak_drop(dialogue: Dialogue, first: SplitName) -> Drop:
    return Drop(
        where=dialogue.id,
        reason=DropReason.LEAKED_SITUATION,
        detail=f"its situation is in {first}",
        n_utterances=len(dialogue.turns),
    )
