"""The ledger of looks: how often people were asked which model is better, and its price.

Every comparison on the same people is another chance to be lucky. A look is decided at
`alpha * 6 / (pi^2 r^2)`, where r - 1 earlier looks share people with it, so that all looks together
err in at most `alpha` of the cases, however many there will be. Some of the people, or more, are no
fresh ones. The same question about the same two records is the same look: a resumed run, or a
second reading of a log, costs nothing. Another primary or threshold, or a second evaluation with
other answers, is another chance.

An evaluation that is looked at while it grows has bounds that hold at every look at it: there the
same question about the same two *checkpoints* is the same look, however many people there are.

The file has one JSON line a look (and one more where its people grew) and is meant to be committed:
it is the memory that makes the error rate of a project true, not that of one command.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from filelock import FileLock
from pydantic import ValidationError

from results.records import Record, RecordError, RunRecord


class Look(Record):
    """One comparison on people."""

    schema_version: Literal[2] = 2
    people: tuple[str, ...]
    """Who was asked for the primary measure, sorted."""
    question: str
    """Content hash of the gate: another one is another look."""
    champion: str
    candidate: str
    """Hashes of the records, of growing evaluations the checkpoints; those of several candidates
    are joined by `+`."""
    names: str
    """Of both, to read."""
    number: int
    """One more than the looks before that share people with this one."""

    @property
    def identity(self) -> tuple[str, str, str]:
        """Equal for the same look."""
        return self.question, self.champion, self.candidate


class Price(NamedTuple):
    """What a look costs."""

    number: int
    alpha: float
    """At which this look is decided."""
    later: float
    """At which the next look at these people will be; of one that grows, this look goes on."""


def alpha_at(alpha: float, number: int) -> float:
    """The error that look `number` may have, so that all looks together have at most `alpha`."""
    return alpha * 6 / (math.pi**2 * number**2)


def look(
    path: Path,
    candidate: RunRecord,
    champion: RunRecord,
    alpha: float,
    rivals: Sequence[RunRecord] = (),
    *,
    question: str,
    people: Sequence[str],
    grows: bool = False,
) -> Price:
    """Write down that these are compared on these people; the price of that.

    Args:
        path: The ledger; made where there is none.
        candidate: The new model's record.
        champion: That of the model it would replace.
        alpha: Error of all looks together.
        rivals: Other candidates for the same place, compared at the same look.
        question: What is asked of them: content hash of the gate.
        people: Who was asked on either side, for the primary measure.
        grows: The evaluation is looked at while it grows, with bounds that hold at every look.

    Raises:
        RecordError: the ledger is no ledger, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(path.name + ".lock")):
            looks = read_ledger(path) if path.exists() else []
            asked = _asked(looks, [candidate, *rivals], champion, question, people, grows)
            if asked not in looks:
                _append(path, asked)
    except OSError as error:
        raise RecordError(
            f"{path}: the ledger cannot be written ({error.strerror}); choose another"
        ) from None
    return _price([*looks, asked], asked, alpha, grows)


def quote(
    path: Path,
    candidate: RunRecord,
    champion: RunRecord,
    alpha: float,
    rivals: Sequence[RunRecord] = (),
    *,
    question: str,
    people: Sequence[str],
    grows: bool = False,
) -> Price:
    """What `look` would ask, without looking: nothing is written.

    Raises:
        RecordError: the ledger is no ledger.
    """
    looks = read_ledger(path) if path.exists() else []
    asked = _asked(looks, [candidate, *rivals], champion, question, people, grows)
    return _price([*looks, asked], asked, alpha, grows)


def next_alpha(path: Path, people: Sequence[str], alpha: float) -> float:
    """At which the next look at these people will be decided.

    Raises:
        RecordError: the ledger is no ledger.
    """
    return _next_alpha(read_ledger(path) if path.exists() else [], people, alpha)


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


def _price(looks: Sequence[Look], asked: Look, alpha: float, grows: bool) -> Price:
    """Of a look that is among the others."""
    now = alpha_at(alpha, asked.number)
    return Price(asked.number, now, now if grows else _next_alpha(looks, asked.people, alpha))


def _next_alpha(looks: Sequence[Look], people: Sequence[str], alpha: float) -> float:
    return alpha_at(alpha, 1 + len(_numbers(looks, people)))


def _asked(
    looks: Sequence[Look],
    candidates: Sequence[RunRecord],
    champion: RunRecord,
    question: str,
    people: Sequence[str],
    grows: bool,
) -> Look:
    """The look of these: the one that was, or the next at their people."""
    known = {(r.checkpoint if grows else r.hash) for r in candidates}
    names = " and ".join(candidate.method for candidate in candidates)
    found = Look(
        people=tuple(sorted(set(people))),
        question=question,
        champion=champion.checkpoint if grows else champion.hash,
        candidate="+".join(sorted(known)),
        names=f"{names} against {champion.method}",
        number=1,
    )
    same = [entry for entry in looks if entry.identity == found.identity]
    before = {p for entry in same for p in entry.people}
    number = _number(looks, found, same)
    if same and same[-1].number == number and before >= set(found.people):
        return same[-1]
    return found.model_copy(update={"number": number})


def _number(looks: Sequence[Look], asked: Look, same: Sequence[Look]) -> int:
    """Its number; one that grew into the people of another look of that number gets a later one."""
    numbers = _numbers(looks, asked.people)
    numbers.pop(asked.identity, None)
    if same and same[-1].number not in numbers.values():
        return same[-1].number
    return 1 + len(numbers)


def _numbers(looks: Sequence[Look], people: Sequence[str]) -> dict[tuple[str, str, str], int]:
    """The looks that share people with these, each once, with their last number."""
    asked = set(people)
    return {entry.identity: entry.number for entry in looks if not asked.isdisjoint(entry.people)}


def _append(path: Path, entry: Look) -> None:
    """One more line, also after a last one whose end is missing."""
    line = json.dumps(entry.model_dump(mode="json"), ensure_ascii=False) + "\n"
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(line if whole else "\n" + line)
