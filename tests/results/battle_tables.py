"""Simulated tables of comparisons, with known strengths."""

from typing import Any, NamedTuple

import numpy as np

from results.battles import Battles


class Columns(NamedTuple):
    first: list[str]
    second: list[str]
    winner: list[str]
    person: list[str]
    words: list[float]

    def battles(self, *, with_words: bool = False) -> Battles:
        return Battles.of(*self[:4], words=self.words if with_words else None)

    def of_rows(self, rows: Any) -> "Columns":
        return Columns(*([column[row] for row in rows] for column in self))


def simulated(
    strengths: Any,
    rng: np.random.Generator,
    *,
    n_people: int = 50,
    each: int = 20,
    ties: float = 0.1,
    slot: float = 0.0,
    length: float = 0.0,
    longer: float = 0.0,
    taste: float = 0.0,
) -> Columns:
    """Each person compares `each` random pairs in random order.

    `slot` and `length` are log-odds for the first slot and for the tanh of the length difference;
    the last method is `longer` words longer; `taste` is the deviation of a person's own strengths.
    """
    n, size = n_people * each, len(strengths)
    person = np.repeat(np.arange(n_people), each)
    own = np.asarray(strengths) + taste * rng.normal(size=(n_people, size))
    first = rng.integers(0, size, n)
    second = (first + rng.integers(1, size, n)) % size
    words = rng.normal(0, 20, n) + longer * (
        (first == size - 1).astype(float) - (second == size - 1).astype(float)
    )
    odds = own[person, first] - own[person, second] + slot
    odds += length * np.tanh(words / np.sqrt(np.mean(words**2)))
    won = rng.random(n) < 1 / (1 + np.exp(-odds))
    winner = np.where(rng.random(n) < ties, "tie", np.where(won, "A", "B"))
    names = np.array([f"m{number}" for number in range(size)])
    people = np.array([f"p{number:05d}" for number in range(n_people)])
    return Columns(
        names[first].tolist(),
        names[second].tolist(),
        winner.tolist(),
        people[person].tolist(),
        words.tolist(),
    )


def from_wins(wins: dict[tuple[str, str], int], n_people: int = 10) -> Columns:
    """Comparisons that (winner, loser) won, dealt to people in turn, the slots alternating."""
    rows = [pair for pair, count in wins.items() for _ in range(count)]
    flipped = [number // n_people % 2 == 1 for number in range(len(rows))]
    return Columns(
        [b if flip else a for (a, b), flip in zip(rows, flipped, strict=True)],
        [a if flip else b for (a, b), flip in zip(rows, flipped, strict=True)],
        ["B" if flip else "A" for flip in flipped],
        [f"p{number % n_people}" for number in range(len(rows))],
        [0.0] * len(rows),
    )
