"""A decision at the price of its look: quoted, decided, then paid.

A comparison that is refused costs nothing. Where another process was faster and the price rose
meanwhile, all is decided again.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from results.ledger import Price, look, quote
from results.records import RunRecord, suite_hash
from selfevo.decision import Decision, Verdict
from selfevo.gate_config import GateConfig


def at_a_price(
    ledger: Path,
    rivals: Sequence[RunRecord],
    champion: RunRecord,
    config: GateConfig,
    decided: Callable[[Price], list[Decision]],
    labels: Sequence[Path] = (),
) -> list[Decision]:
    """The decisions on candidates for one place, and the ledger's line for them.

    Args:
        ledger: File that counts the looks.
        rivals: One candidate or several: one look.
        champion: What they would replace.
        config: The gate: what is asked, and the error of all looks at these people together.
        decided: The decisions at a price.
        labels: Files of people's labels that decide too.

    Raises:
        RecordError: the ledger is no ledger, or cannot be written.
    """
    asked = (ledger, rivals[0], champion, config.alpha, rivals[1:])
    question = question_of(config, labels)
    people = people_asked([*rivals, champion], config.primary)
    grows = config.planned_people is not None
    price = quote(*asked, question=question, people=people, grows=grows)
    decisions = decided(price)
    if any(decision.verdict is not Verdict.ERROR for decision in decisions):
        paid = look(*asked, question=question, people=people, grows=grows)
        decisions = decisions if paid == price else decided(paid)
    return [unpaid(d) if d.verdict is Verdict.ERROR else d for d in decisions]


def question_of(config: GateConfig, labels: Sequence[Path] = ()) -> str:
    """Content hash of what is asked of two records: the gate, and the labels that decide with it.

    Where the looks are counted is no part of it.
    """
    gate = config.model_dump(mode="json", exclude={"ledger"})
    told = sorted(hashlib.sha256(f.read_bytes()).hexdigest() for f in labels if f.is_file())
    return suite_hash({"gate": gate, "labels": "+".join(told)})


def people_asked(records: Sequence[RunRecord], metric: str) -> list[str]:
    """Who was asked for a metric in any of these, scored or not; sorted."""
    measures = [record.measures[metric] for record in records if metric in record.measures]
    return sorted({person for m in measures for person in (*m.values, *m.missing)})


def unpaid(decision: Decision) -> Decision:
    """A refused comparison is no look."""
    return decision.model_copy(update={"alpha": None, "look": None})
