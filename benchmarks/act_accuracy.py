"""How far `judges.acts.main_act` agrees with the strategies that people labelled in ESConv.

    python -m benchmarks.act_accuracy esconv/train.jsonl
    python -m benchmarks.act_accuracy esconv/ --split gate

Only supporter turns with exactly one strategy count, since the label of a mixed turn names no part
of it. There are two figures: over the seven strategies, turns labelled "other" left out; and over
eight, where our stock and off-topic replies stand for "other". A dismissal agrees with no label.

The cues were written looking at the training split: quote the figures of another split. The ceiling
is well below 1, for the labels are the supporters' own, one a message, and often name a plan rather
than what the message does.
"""

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from rich.console import Console
from rich.table import Table

from benchmarks.dialogues import STRATEGIES, Dialogue, SplitName, Strategy, load_dialogues
from benchmarks.errors import DataError
from judges.acts import Act, acts_of, main_act

OTHER: Strategy = "other"
HEADING_LETTERS = 5
MEANS_OTHER = frozenset((Act.STOCK, Act.OFF_TOPIC))


class Labelled(NamedTuple):
    """A supporter turn with one strategy, and what we make of it."""

    strategy: Strategy
    main: Act
    acts: tuple[Act, ...]


class Agreement(BaseModel):
    """Agreement over one set of classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_turns: int
    n_classes: int
    accuracy: float
    majority: float
    """Accuracy of always naming the commonest strategy."""

    kappa: float | None
    """Cohen's kappa; None where chance alone agrees everywhere."""

    macro_f1: float
    """Mean over the classes; a class that neither side names counts as 0."""

    @property
    def chance(self) -> float:
        """Accuracy of drawing a class at random."""
        return 1 / self.n_classes


class ActAccuracy(BaseModel):
    """What `measure` finds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seven: Agreement
    """The seven strategies, turns labelled "other" left out."""

    eight: Agreement
    """With "other", for which our stock and off-topic replies stand."""

    multi_act_hit: float
    """Share of the turns of `seven` whose strategy is among all acts found in the turn."""

    confusion: dict[Strategy, dict[Act, int]]
    """Turns by the strategy that people labelled and our main act."""


def measure(dialogues: Iterable[Dialogue]) -> ActAccuracy:
    """Compare our acts with the strategies of all turns that have exactly one."""
    turns = [turn for dialogue in dialogues for turn in _labelled(dialogue)]
    named = [turn for turn in turns if turn.strategy != OTHER]
    if not named:
        what = "no supporter turn has exactly one strategy"
        fix = "give ESConv with its strategy labels, and `--split` only for a folder"
        raise DataError("dialogues", what, fix)
    counts = Counter((turn.strategy, turn.main) for turn in turns)
    return ActAccuracy(
        seven=_agreement([(turn.strategy, turn.main.value) for turn in named], _SEVEN),
        eight=_agreement([(turn.strategy, _as_strategy(turn.main)) for turn in turns], STRATEGIES),
        multi_act_hit=sum(turn.strategy in turn.acts for turn in named) / len(named),
        confusion={s: {act: counts[s, act] for act in Act} for s in STRATEGIES},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the agreement on a file, or on a split of a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.act_accuracy", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("path", type=Path, help="a file of ESConv, or a folder with its splits")
    parser.add_argument("--split", choices=("train", "gate"), help="a published split of a folder")
    options = parser.parse_args(arguments)
    try:
        dialogues = load_dialogues("esconv", path=options.path).dialogues
        found = measure(_of_split(dialogues, options.split))
    except DataError as error:
        parser.error(str(error))
    _print(found, Console())
    return 0


_SEVEN = tuple(strategy for strategy in STRATEGIES if strategy != OTHER)


def _of_split(dialogues: Sequence[Dialogue], split: SplitName | None) -> list[Dialogue]:
    return [d for d in dialogues if split is None or d.published_split == split]


def _labelled(dialogue: Dialogue) -> Iterator[Labelled]:
    said: list[str] = []
    for turn in dialogue.turns:
        if turn.speaker == "seeker":
            said.append(turn.text)
        elif len(turn.strategies) == 1:
            main = main_act(turn.text, said, language=dialogue.language)
            acts = acts_of(turn.text, said, language=dialogue.language)
            yield Labelled(turn.strategies[0], main, acts)


def _as_strategy(act: Act) -> str:
    return OTHER if act in MEANS_OTHER else act.value


def _agreement(pairs: Sequence[tuple[str, str]], classes: Sequence[str]) -> Agreement:
    """Agreement of (label, found) pairs; what is found outside the classes is wrong."""
    n = len(pairs)
    labels = Counter(label for label, _ in pairs)
    found = Counter(name for _, name in pairs)
    both = Counter(label for label, name in pairs if label == name)
    accuracy = both.total() / n
    by_chance = sum(labels[c] * found[c] for c in classes) / n**2
    return Agreement(
        n_turns=n,
        n_classes=len(classes),
        accuracy=accuracy,
        majority=max(labels.values()) / n,
        kappa=None if by_chance == 1 else (accuracy - by_chance) / (1 - by_chance),
        macro_f1=sum(2 * both[c] / max(labels[c] + found[c], 1) for c in classes) / len(classes),
    )


def _print(found: ActAccuracy, console: Console) -> None:
    figures = Table(title="Agreement with ESConv's strategies")
    for name in ("classes", "turns", "accuracy", "chance", "majority", "kappa", "macro-F1"):
        figures.add_column(name, justify="right")
    for part in (found.seven, found.eight):
        kappa = "-" if part.kappa is None else f"{part.kappa:.3f}"
        shares = (part.accuracy, part.chance, part.majority)
        cells = (str(part.n_classes), str(part.n_turns), *(f"{share:.1%}" for share in shares))
        figures.add_row(*cells, kappa, f"{part.macro_f1:.3f}")
    console.print(figures)
    console.print(f"strategy among all acts of the turn: {found.multi_act_hit:.1%}")
    confusion = Table(
        title="Turns by label (rows) and main act (columns)", box=None, padding=(0, 1, 0, 0)
    )
    confusion.add_column("", no_wrap=True)
    for act in Act:
        confusion.add_column(act.value[:HEADING_LETTERS], justify="right")
    for strategy, counts in found.confusion.items():
        confusion.add_row(strategy, *(str(counts[act]) for act in Act))
    console.print(confusion)


if __name__ == "__main__":
    raise SystemExit(main())
