"""A decision at the price of its look: quoted, decided, then paid.

A comparison that is refused costs nothing. Where another process was faster and the price rose
meanwhile, all is decided again.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from results.ledger import Price, look, quote
from results.records import RunRecord
from selfevo.decision import Decision, Verdict


def at_a_price(
    ledger: Path,
    rivals: Sequence[RunRecord],
    champion: RunRecord,
    alpha: float,
    decided: Callable[[Price], list[Decision]],
) -> list[Decision]:
    """The decisions on candidates for one place, and the ledger's line for them.

    Args:
        ledger: File that counts the looks.
        rivals: One candidate or several: one look.
        champion: What they would replace.
        alpha: Error of all looks at these people together.
        decided: The decisions at a price.

    Raises:
        RecordError: the ledger is no ledger, or cannot be written.
    """
    asked = (ledger, rivals[0], champion, alpha, rivals[1:])
    price = quote(*asked)
    decisions = decided(price)
    if any(decision.verdict is not Verdict.ERROR for decision in decisions):
        paid = look(*asked)
        decisions = decisions if paid == price else decided(paid)
    return [unpaid(d) if d.verdict is Verdict.ERROR else d for d in decisions]


def unpaid(decision: Decision) -> Decision:
    """A refused comparison is no look."""
    return decision.model_copy(update={"alpha": None, "look": None})
