"""A judge's answer, read strictly: a verdict, or a failure with its reason; never a guess.

An answer is one JSON object with an entry a criterion, `{"evidence", "reason", "level"}`. Whatever
else comes (prose, a cut object, two verdicts, a level that is not on the scale, evidence that
nobody said) is a failure of the judge. A number looked for in prose would be found in quoted text
too, which is how a judged reply forges its own verdict; so nothing is looked for.
"""

import json
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

from inspect_ai.model import Logprob
from pydantic import BaseModel, ConfigDict

from judges.prompt_text import filled
from judges.rubric import Criterion
from judges.words import Language

MAX_EVIDENCE: Final = 600
"""Characters of a quotation; longer is no evidence but a copy."""
MAX_REASON: Final = 2000
MIN_EVIDENCE: Final = 4
MIN_EVIDENCE_HAN: Final = 2

_FENCE = re.compile(r"^```(?:json)?[ \t]*\r?\n(.*)\n```$", re.DOTALL)
_LEVEL = re.compile(r'(?<!\\)"level"\s*:\s*(?=-?\d)')
_LEVEL_TOKEN = re.compile(r"\s*(-?\d+)\s*")
_FOLDED = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "…": "..."})
_ENTRY: Final = frozenset(("evidence", "reason", "level"))


class FailureKind(StrEnum):
    """Why a judge gave no verdict."""

    EMPTY = "empty"
    CUT_OFF = "cut_off"
    REFUSED = "refused"
    NOT_JSON = "not_json"
    TWO_VERDICTS = "two_verdicts"
    MISSING = "missing"
    """A criterion or a field of it is not there."""
    UNKNOWN = "unknown"
    """A criterion or a field that nobody asked for."""
    WRONG_TYPE = "wrong_type"
    OFF_SCALE = "off_scale"
    NO_EVIDENCE = "no_evidence"
    FALSE_EVIDENCE = "false_evidence"
    """The quotation stands nowhere in what was judged."""
    PROVIDER = "provider"
    """No answer: the model or its server failed."""


class JudgeFailed(Exception):
    """No verdict: what is judged stays unscored."""

    def __init__(self, kind: FailureKind, detail: str, *, question: str | None = None) -> None:
        where = f"'{question}': " if question else ""
        super().__init__(f"{kind.value}: {where}{detail}")
        self.kind = kind
        self.question = question
        """Which of ours was answered badly; None: the answer as a whole."""


_COMPLAINTS: Final[dict[Language, str]] = {
    "en": "That answer cannot be used: {failure}. Answer again, with the JSON object only.",
    "zh": "这个回答不能用：{failure}。请重新回答，只写JSON对象。",
}


def complaint(failure: JudgeFailed, language: Language) -> str:
    """What a judge is told of a bad answer, once.

    Kind and question only: the detail quotes the answer, which quotes what was judged, and that
    must not stand among instructions.
    """
    named = f"{failure.kind.value} ({failure.question})" if failure.question else failure.kind.value
    return filled(_COMPLAINTS[language], {"failure": named})


class Asked(NamedTuple):
    """One question to the judge."""

    name: str
    """Its key in the answer: the criterion's, or the preference's that it is about."""
    criterion: Criterion
    question: str


class Finding(BaseModel):
    """What a judge found in one criterion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: int | None
    """None: the judge says that it does not apply, where the criterion allows that."""
    expected: float | None = None
    """Mean of the levels under the judge's own probabilities, where the provider gave them."""
    evidence: str
    reason: str

    @property
    def value(self) -> float | None:
        """What counts: the expectation, or else the level."""
        return self.expected if self.expected is not None else self.level


def read_answer(text: str, asked: Sequence[Asked], replies: Sequence[str]) -> dict[str, Finding]:
    """The findings of an answer, in its order, by the names that were asked.

    Args:
        text: The judge's whole answer. One code fence around it is taken off.
        asked: What it was asked.
        replies: The texts that are judged: evidence must be quoted from one of them.

    Raises:
        JudgeFailed: the answer is not exactly what was asked for.
    """
    answer = as_object(text)
    by_name = {question.name: question for question in asked}
    _same_keys(answer, frozenset(by_name), "criterion")
    return {name: _finding(entry, by_name[name], replies) for name, entry in answer.items()}


def as_object(text: str) -> dict[str, Any]:
    """The one JSON object that a text is.

    Raises:
        JudgeFailed: it is something else, has a key twice, or cannot be stored.
    """
    stripped = text.strip()
    if not stripped:
        raise JudgeFailed(FailureKind.EMPTY, "the answer is empty")
    fence = _FENCE.match(stripped)
    try:
        answer = json.loads(
            fence.group(1) if fence else stripped,
            object_pairs_hook=_without_doubles,
            parse_constant=_no_constant,
        )
        json.dumps(answer, ensure_ascii=False).encode()  # half of a surrogate pair cannot be stored
    except (ValueError, RecursionError) as error:  # the second: thousands of brackets
        raise JudgeFailed(
            FailureKind.NOT_JSON, f"not one JSON object ({_first_line(error)})"
        ) from None
    if not isinstance(answer, dict):
        raise JudgeFailed(FailureKind.NOT_JSON, f"not a JSON object but {_kind_of(answer)}")
    return answer


def expected_levels(tokens: Sequence[Logprob], asked: Sequence[Asked]) -> dict[str, float]:
    """Expectation of each level under the probabilities of the tokens that could stand there.

    The levels of the scale share what the provider's list gives them (G-Eval, Liu et al. 2023,
    section 2, over the alternatives that are shown). Only where every level is one character: the
    first token of "-1" says nothing of the second.

    Args:
        tokens: The answer's tokens with their alternatives, as the provider gives them.
        asked: What was asked, in the order of the answer.
    """
    starts, text = [], ""
    for token in tokens:
        starts.append(len(text))
        text += token.token
    places = [match.end() for match in _LEVEL.finditer(text)]
    if len(places) != len(asked):
        return {}
    found = {}
    for place, question in zip(places, asked, strict=True):
        index = max(i for i, start in enumerate(starts) if start <= place)
        mean = _expectation(tokens[index], question.criterion)
        if mean is not None:
            found[question.name] = mean
    return found


def _expectation(token: Logprob, criterion: Criterion) -> float | None:
    """None when the token is not a level by itself, or has no alternatives."""
    if not token.top_logprobs or _as_level(token.token) is None:
        return None
    if any(len(str(value)) > 1 for value in criterion.values):
        return None
    mass: dict[int, float] = {}
    on_scale = {level.value for level in criterion.levels}
    for alternative in token.top_logprobs:
        value = _as_level(alternative.token)
        if value in on_scale:
            mass[value] = mass.get(value, 0.0) + math.exp(alternative.logprob)
    total = sum(mass.values())
    if total <= 0:
        return None
    mean = sum(value * p for value, p in mass.items()) / total
    return min(max(mean, min(mass)), max(mass))  # rounding must not leave the scale


def _as_level(token: str) -> int | None:
    match = _LEVEL_TOKEN.fullmatch(token)
    return int(match.group(1)) if match else None


def _finding(entry: object, question: Asked, replies: Sequence[str]) -> Finding:
    name = question.name
    if not isinstance(entry, dict):
        raise JudgeFailed(
            FailureKind.WRONG_TYPE, f"is {_kind_of(entry)}, not an object", question=name
        )
    _same_keys(entry, _ENTRY, "field", question=name)
    for field, longest in (("evidence", MAX_EVIDENCE), ("reason", MAX_REASON)):
        if not isinstance(entry[field], str):
            raise JudgeFailed(
                FailureKind.WRONG_TYPE,
                f"{field} is {_kind_of(entry[field])}, not text",
                question=name,
            )
        if len(entry[field]) > longest:
            raise JudgeFailed(
                FailureKind.WRONG_TYPE,
                f"{field} is longer than {longest} characters",
                question=name,
            )
    level = _level(entry["level"], question)
    evidence = entry["evidence"].strip()
    check_evidence(evidence, level, question, replies)
    return Finding(level=level, evidence=evidence, reason=entry["reason"].strip())


def _level(value: object, question: Asked) -> int | None:
    criterion, name = question.criterion, question.name
    if value is None:
        if criterion.not_applicable is None:
            raise JudgeFailed(
                FailureKind.OFF_SCALE, "no level, and it always applies", question=name
            )
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise JudgeFailed(
            FailureKind.WRONG_TYPE,
            f"level is {_kind_of(value)}, not a whole number",
            question=name,
        )
    known = criterion.values
    if value not in known:
        raise JudgeFailed(
            FailureKind.OFF_SCALE,
            f"level {_shown(value)} is not one of {list(known)}",
            question=name,
        )
    return value


def check_evidence(
    evidence: str, level: int | None, question: Asked, replies: Sequence[str]
) -> None:
    """Refuse a verdict without the quotation that its criterion asks for.

    Raises:
        JudgeFailed: there is none, or it stands in none of the replies.
    """
    criterion = question.criterion
    is_due = (
        level is not None
        and criterion.needs_quote
        and (criterion.quote_from is None or level >= criterion.quote_from)
    )
    if is_due and not _folded(evidence):
        raise JudgeFailed(FailureKind.NO_EVIDENCE, "nothing is quoted", question=question.name)
    if is_due and not is_quoted(evidence, replies):
        raise JudgeFailed(
            FailureKind.FALSE_EVIDENCE,
            f"the supporter did not say: {_shown(evidence)}",
            question=question.name,
        )


def is_quoted(evidence: str, replies: Sequence[str]) -> bool:
    """Whether a text stands in one of the replies, in whole words.

    Case, quotation marks and spaces do not matter. A few letters prove nothing: less than
    `MIN_EVIDENCE` characters count only where they are the whole reply.
    """
    wanted = _folded(evidence)
    if not wanted:
        return False
    said = [_folded(reply) for reply in replies]
    least = MIN_EVIDENCE if wanted.isascii() else MIN_EVIDENCE_HAN
    if len(wanted) < least:
        return wanted in said
    whole = re.compile(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9])")
    return any(whole.search(text) for text in said)


def says_something(replies: Sequence[str]) -> bool:
    """Whether there is anything to quote: more than punctuation."""
    return any(_folded(reply) for reply in replies)


def _folded(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).translate(_FOLDED).casefold()
    return " ".join(plain.split()).strip(" \"'.")


def _same_keys(
    entry: Mapping[str, object], wanted: frozenset[str], of: str, *, question: str | None = None
) -> None:
    missing = sorted(wanted - entry.keys())
    if missing:
        raise JudgeFailed(FailureKind.MISSING, f"{of} '{missing[0]}' is missing", question=question)
    extra = sorted(entry.keys() - wanted)
    if extra:
        raise JudgeFailed(
            FailureKind.UNKNOWN, f"{of} '{_shown(extra[0])}' was not asked for", question=question
        )


def _without_doubles(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        double = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise JudgeFailed(FailureKind.TWO_VERDICTS, f"'{_shown(double)}' is given twice")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _kind_of(value: object) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number with decimals", str: "text"}
    kinds |= {list: "a list", dict: "an object", type(None): "nothing"}
    return kinds[type(value)]


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
