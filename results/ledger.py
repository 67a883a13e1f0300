"""The ledger of looks: how often a pool of people was asked which model is better, and its price.

Every comparison on the same people is another chance to be lucky. Look r at a pool is decided at
`alpha * 6 / (pi^2 r^2)`, so that all looks together err in at most `alpha` of the cases, however
many there will be. The same two checkpoints compared again are the same look: a resumed run, or a
second reading of a log, costs nothing.

The file has one JSON line a look and is meant to be committed: it is the memory that makes the
error rate of a project true, not that of one command.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock
from pydantic import ValidationError

from results.records import Record, RecordError, RunRecord, suite_hash


class Look(Record):
    """One comparison on a pool."""

    schema_version: Literal[1] = 1
    pool: str
    """Hash of the suite: the people and how they are asked."""
    champion: str
    candidate: str
    """Content hashes of the checkpoints."""
    names: str
    """Of both, to read."""
    number: int
    """Of this look at the pool, from 1."""


class Price(NamedTuple):
    """What a look costs."""

    number: int
    alpha: float
    """At which this look is decided."""


def alpha_at(alpha: float, number: int) -> float:
    """The error that look `number` may have, so that all looks together have at most `alpha`."""
    return alpha * 6 / (math.pi**2 * number**2)


def look(path: Path, candidate: RunRecord, champion: RunRecord, alpha: float) -> Price:
    """Write down that these two are compared on their pool; the price of that.

    Raises:
        RecordError: the ledger is no ledger, or cannot be written.
    """
    pool = suite_hash(dict(candidate.suite))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            looks = read_ledger(path) if path.exists() else []
            here = [entry for entry in looks if entry.pool == pool]
            for entry in here:
                if (entry.champion, entry.candidate) == (champion.checkpoint, candidate.checkpoint):
                    return Price(entry.number, alpha_at(alpha, entry.number))
            entry = Look(
                pool=pool,
                champion=champion.checkpoint,
                candidate=candidate.checkpoint,
                names=f"{candidate.method} against {champion.method}",
                number=len(here) + 1,
            )
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry.model_dump(mode="json"), ensure_ascii=False) + "\n")
    except OSError as error:
        raise RecordError(
            f"{path}: the ledger cannot be written ({error.strerror}); choose another"
        ) from None
    return Price(entry.number, alpha_at(alpha, entry.number))


def read_ledger(path: Path) -> Sequence[Look]:
    """The looks in a file, oldest first.

    Raises:
        RecordError: a line is no look.
    """
    looks = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            looks.append(Look.model_validate_json(line))
        except ValidationError as error:
            raise RecordError(
                f"{path}:{number}: is no look ({error.errors()[0]['msg']}); restore the ledger"
            ) from None
    return looks
