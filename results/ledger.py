"""The ledger of looks: how often a pool of people was asked which model is better, and its price.

Every comparison on the same people is another chance to be lucky. Look r at a pool is decided at
`alpha * 6 / (pi^2 r^2)`, so that all looks together err in at most `alpha` of the cases, however
many there will be. The same two records compared again are the same look: a resumed run, or a
second reading of a log, costs nothing; a second evaluation with other answers is another chance.

The file has one JSON line a look and is meant to be committed: it is the memory that makes the
error rate of a project true, not that of one command.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

from filelock import FileLock
from pydantic import ValidationError

from results.records import Record, RecordError, RunRecord, suite_hash

PEOPLE_PARTS: Final = ("people", "users")
"""Of a suite."""


class Look(Record):
    """One comparison on a pool."""

    schema_version: Literal[1] = 1
    pool: str
    """Hash of who the people are; asking them otherwise is no fresh pool."""
    champion: str
    candidate: str
    """Hashes of the records; those of several candidates are joined by `+`."""
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


def pool_of(record: RunRecord) -> str:
    """Who the people of a record are: the parts of its suite that name them, or all of it."""
    people = {
        name: part for name, part in record.suite.items() if name.rpartition(".")[2] in PEOPLE_PARTS
    }
    return suite_hash(dict(people or record.suite))


def look(
    path: Path,
    candidate: RunRecord,
    champion: RunRecord,
    alpha: float,
    rivals: Sequence[RunRecord] = (),
) -> Price:
    """Write down that these are compared on their pool; the price of that.

    Args:
        path: The ledger; made where there is none.
        candidate: The new model's record.
        champion: That of the model it would replace.
        alpha: Error of all looks together.
        rivals: Other candidates for the same place, compared at the same look.

    Raises:
        RecordError: the ledger is no ledger, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            looks = read_ledger(path) if path.exists() else []
            asked = _asked(looks, [candidate, *rivals], champion)
            if asked not in looks:
                _append(path, asked)
    except OSError as error:
        raise RecordError(
            f"{path}: the ledger cannot be written ({error.strerror}); choose another"
        ) from None
    return Price(asked.number, alpha_at(alpha, asked.number))


def quote(
    path: Path,
    candidate: RunRecord,
    champion: RunRecord,
    alpha: float,
    rivals: Sequence[RunRecord] = (),
) -> Price:
    """What `look` would ask, without looking: nothing is written.

    Raises:
        RecordError: the ledger is no ledger.
    """
    looks = read_ledger(path) if path.exists() else []
    number = _asked(looks, [candidate, *rivals], champion).number
    return Price(number, alpha_at(alpha, number))


def quote_next(path: Path, record: RunRecord, alpha: float) -> Price:
    """What the next look at the pool of a record will ask.

    Raises:
        RecordError: the ledger is no ledger.
    """
    looks = read_ledger(path) if path.exists() else []
    number = 1 + len(_at(looks, pool_of(record)))
    return Price(number, alpha_at(alpha, number))


def read_ledger(path: Path) -> Sequence[Look]:
    """The looks in a file, oldest first.

    Raises:
        RecordError: a line is no look.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordError(
            f"{path}: the ledger cannot be read ({error.strerror}); choose another"
        ) from None
    except UnicodeDecodeError:
        raise RecordError(f"{path}: is no ledger (not text); restore it") from None
    looks = []
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else [], start=1):
        try:
            looks.append(Look.model_validate_json(line))
        except ValidationError as error:
            raise RecordError(
                f"{path}:{number}: is no look ({error.errors()[0]['msg']}); restore the ledger"
            ) from None
    return looks


def _asked(looks: Sequence[Look], candidates: Sequence[RunRecord], champion: RunRecord) -> Look:
    """The look of these: the one that was, or the next at their pool."""
    here = _at(looks, pool_of(champion))
    hashes = "+".join(sorted({candidate.hash for candidate in candidates}))
    for entry in here:
        if (entry.champion, entry.candidate) == (champion.hash, hashes):
            return entry
    names = " and ".join(candidate.method for candidate in candidates)
    return Look(
        pool=pool_of(champion),
        champion=champion.hash,
        candidate=hashes,
        names=f"{names} against {champion.method}",
        number=len(here) + 1,
    )


def _at(looks: Sequence[Look], pool: str) -> list[Look]:
    return [entry for entry in looks if entry.pool == pool]


def _append(path: Path, entry: Look) -> None:
    """One more line, also after a last one whose end is missing."""
    line = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False) + "\n"
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(line if whole else "\n" + line)
