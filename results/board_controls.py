"""The controls of a leaderboard: on it always, and what it means when one does not lose.

A board that lists only what somebody hopes to win says nothing about its own judges. A reply that
is the same whatever is said must come last; one of stock phrases must lose to any method worth a
name.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from results.board_records import Entry


class Control(NamedTuple):
    """A method that is there to be compared with."""

    what: str
    must_lose: bool = False
    """Whether a method that does not beat it is worth a warning."""


NULL: Final = "control/null"
BASE: Final = "selfevo/default"
STOCK: Final = "control/stock"
CONTROLS: Final[Mapping[str, Control]] = {
    NULL: Control("null reply: the same warm words, whatever is said", must_lose=True),
    STOCK: Control("stock reply: what is said to everybody", must_lose=True),
    BASE: Control("base model: as it was before any training"),
    "control/listener": Control("persona-blind: restates and asks, knowing nobody"),
}
"""Always listed. What beats the persona-blind one has gained something by knowing the person."""
OTHERS: Final[Mapping[str, Control]] = {
    "control/oracle": Control("oracle: reads the card of the person; the upper end"),
    "control/stonewall": Control("stonewall: says hardly anything; meant to be worse than null"),
    "control/hostile": Control("hostile: hurts anybody; meant to be worse than null"),
}
"""Controls that are listed where they were measured. None has to lose to a method."""
WORSE_THAN_NULL: Final = ("control/stonewall", "control/hostile")


def control_of(method: str) -> str | None:
    """What a control is; None for a method."""
    found = CONTROLS.get(method) or OTHERS.get(method)
    return found.what if found else None


def not_measured(measured: set[str], benchmark: str) -> list[Entry]:
    """Entries of the controls that have no record of a suite."""
    return [
        Entry(
            method=name,
            control=control.what,
            measured=False,
            command=_command(name, benchmark),
        )
        for name, control in CONTROLS.items()
        if name not in measured
    ]


def control_warnings(ranks: Mapping[str, int], by: str) -> list[str]:
    """What is wrong where a control that must lose is not beaten by a method.

    Args:
        ranks: By method; those that are not ranked are not in it.
        by: What they are ranked by.
    """
    warnings = []
    for name, control in CONTROLS.items():
        if name not in ranks or not control.must_lose:
            continue
        others = [m for m, rank in ranks.items() if rank >= ranks[name] and m != name]
        unbeaten = ", ".join(m for m in others if _should_win(m, name))
        if unbeaten and name == NULL:
            warnings.append(
                f"{name} is not beaten by {unbeaten} in {by}: the board is broken, or the null "
                "reply is."
            )
        elif unbeaten:
            warnings.append(
                f"{name} is not beaten by {unbeaten} in {by}: nothing was learned there, or this "
                "measure does not see it."
            )
    return warnings


def _should_win(method: str, control: str) -> bool:
    """Against the null reply everything but what is meant to hurt, against stock every method."""
    return method not in WORSE_THAN_NULL if control == NULL else control_of(method) is None


def _command(name: str, benchmark: str) -> str:
    """What would measure a control: on the people of a run, or with the same tasks."""
    if benchmark == "loop":
        return f"selfevo measure RUN --model {name}"
    names = ("support",) if benchmark == "pairwise" else benchmark.split("+")
    tasks = " ".join(f"benchmarks/{task}.py" for task in names)
    return f"inspect eval {tasks} --model {name}; selfevo record LOG"
