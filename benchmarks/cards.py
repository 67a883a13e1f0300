"""Cards of simulated people that others published, as rows of our own format."""

from benchmarks.jsonl import Row


def as_card(row: Row) -> Row:
    """A published card as a row of `Persona`; a row in our own format unchanged."""
    return row
