"""Rubrics as data: what a judge is asked, and what it must see to choose each answer.

A rubric is a YAML file that becomes a frozen record. Its hash covers every text and number and no
formatting, so a verdict names exactly what was asked. Shipped ones are `rubrics/NAME.LANGUAGE.yaml`
and are loaded by name, others by path. A wrong file gives one line: where, which criterion, what,
and what to do.

Left out: how a rubric becomes a prompt and how an answer is read; code per rubric (a new one is a
file); and rubrics of several languages in one file, whose texts would then share a hash.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Final, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from judges.strict_yaml import StrictLoader
from judges.words import Language

Kind = Literal["ordinal", "items", "preferences"]
"""`ordinal`: anchored scales, a weighted mean of levels. `items`: faults that are there (1) or not
(0); any one counts. `preferences`: one template, asked for each preference of the persona."""

PREFERENCE: Final = "{preference}"
"""Where a template's question names the preference."""

ITEM_VALUES: Final = (0, 1)
PREFERENCE_VALUES: Final = (-1, 0, 1)
"""Violated, ignored, met."""

MAX_BYTES: Final = 1_000_000
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

_IDENTIFIER: Final = r"^[a-z][a-z0-9_]*$"
_VERSION: Final = r"^[\w.+-]+$"
_ONE_LINE: Final = r"^[^\r\n]+$"
_RARE_BREAKS: Final = "\x85\u2028\u2029"
_FOLDER: Final = "judges/rubrics"
_SUFFIX: Final = ".yaml"

Identifier = Annotated[str, Field(pattern=_IDENTIFIER, max_length=60)]
Text = Annotated[str, Field(min_length=1)]
Whole = Annotated[int, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class RubricError(ValueError):
    """A rubric is missing or wrong; the message is one line: where, what, and what to do."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Level(_Part):
    """One answer that a judge can choose."""

    value: Whole
    """What is stored."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=_ONE_LINE)]
    """A short label in the rubric's language."""

    anchor: Text
    """What a judge must see to choose it."""


class Criterion(_Part):
    """One question with its levels, lowest value first."""

    name: Identifier
    """The same in every language."""

    question: Text
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]
    levels: Annotated[tuple[Level, ...], Field(min_length=2)]
    needs_quote: Flag = True
    """A verdict must carry a span of the judged replies, word for word ..."""

    quote_from: Whole | None = None
    """... at levels of this value or above; None: at every level."""

    not_applicable: Text | None = None
    """When a judge may answer null instead of a level, which then counts for nothing; None: never.
    """

    @model_validator(mode="after")
    def _has_a_scale(self) -> Self:
        if name := _first_twice(level.name.casefold() for level in self.levels):
            raise ValueError(f"two levels are named '{name}'; give each its own name")
        values = self.values
        if twice := _first_twice(map(str, values)):
            raise ValueError(f"two levels have the value {twice}; give each its own value")
        if list(values) != sorted(values):
            raise ValueError(f"level values are {_listed(values)}; list them in ascending order")
        if self.quote_from is not None and not self.needs_quote:
            what = f"quote_from is {self.quote_from} but needs_quote is false"
            raise ValueError(f"{what}; remove one of them")
        if self.quote_from is not None and self.quote_from > values[-1]:
            what = f"quote_from is {self.quote_from}, above every level"
            raise ValueError(f"{what}; use one of {_listed(values)}")
        return self

    @property
    def values(self) -> tuple[int, ...]:
        """The values of the levels, ascending."""
        return tuple(level.value for level in self.levels)


class Rubric(_Part):
    """Everything that a judge is told, in one language."""

    schema_version: Literal[1] = 1
    name: Identifier
    version: Annotated[str, Field(pattern=_VERSION, max_length=40)]
    """Goes up when a criterion or an anchor changes its meaning; scores compare within one."""

    language: Language
    kind: Kind
    higher_is: Literal["better", "worse"]
    about: Literal["conversation", "reply"]
    needs_persona: Flag
    """Whether the judge must see the person's card."""

    adds_up: Flag = True
    """Whether the mean of the criteria says something; else each stands by itself."""

    instructions: Text
    """What the judge is told before the criteria."""

    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if name := _first_twice(criterion.name for criterion in self.criteria):
            raise ValueError(f"two criteria are named '{name}'; give each its own name")
        if self.kind == "preferences":
            self._refuse_no_template()
            return self
        for criterion in self.criteria:
            if PREFERENCE in criterion.question:
                what = f"question holds {PREFERENCE}, which kind '{self.kind}' never fills"
                raise ValueError(f"criterion '{criterion.name}': {what}; remove it")
            if self.kind == "items":
                _refuse_other_values(criterion, ITEM_VALUES, self.kind)
        return self

    def _refuse_no_template(self) -> None:
        if len(self.criteria) != 1:
            what = f"kind 'preferences' has {len(self.criteria)} criteria"
            raise ValueError(f"{what}; write one template that is asked for each preference")
        template = self.criteria[0]
        if PREFERENCE not in template.question:
            what = f"question has no {PREFERENCE}"
            raise ValueError(f"criterion '{template.name}': {what}; put it where the text belongs")
        _refuse_other_values(template, PREFERENCE_VALUES, self.kind)
        if not self.needs_persona:
            what = "needs_persona is false, but preferences stand on the person's card"
            raise ValueError(f"{what}; make it true")

    @property
    def hash(self) -> str:
        """SHA-256 of the record as canonical JSON."""
        record = self.model_dump(mode="json")
        canonical = json.dumps(record, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def criterion(self, name: str) -> Criterion:
        """The criterion of a name.

        Raises:
            RubricError: there is none; the message names those there are.
        """
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        known = [criterion.name for criterion in self.criteria]
        raise RubricError(f"rubric '{self.name}': no criterion '{name}'; use {_listed(known)}")


def rubric_names() -> tuple[str, ...]:
    """The names of the shipped rubrics."""
    files = (file.name for file in _folder().iterdir() if file.name.endswith(_SUFFIX))
    return tuple(sorted({name.split(".")[0] for name in files}))


def load_rubric(name_or_path: str | Path, language: Language | None = None) -> Rubric:
    """A shipped rubric by its name, or the rubric of a YAML file.

    Args:
        name_or_path: A `Path`, or a text that holds a slash or ends in `.yaml`, is a file; any
            other text is the name of a shipped rubric.
        language: The language that the rubric must have; a file is not translated. None: English
            of a shipped one, and of a file its own.

    Raises:
        RubricError: there is no such rubric, or the file is wrong.
    """
    if language is not None and language not in LANGUAGES:
        raise RubricError(f"language {_shown(language)} is not known; use {_listed(LANGUAGES)}")
    if isinstance(name_or_path, str) and not _is_path(name_or_path):
        file = _shipped(name_or_path, language or "en")
        where = f"{_FOLDER}/{file.name}"
    else:
        file = Path(name_or_path)
        where = str(file)
    rubric = parse_rubric(_read(file, where), where)
    for said, by in (
        (_named_language(file.name), "its file name says"),
        (language, "asked for is"),
    ):
        if said not in (None, rubric.language):
            what = f"language is '{rubric.language}', but {by} '{said}'"
            raise RubricError(f"{where}: {what}; make them the same")
    return rubric


@lru_cache(maxsize=64)  # an eval asks for the same few again and again
def parse_rubric(text: str, where: str) -> Rubric:
    """The rubric of a YAML text; errors begin with `where`."""
    try:
        raw = yaml.load(text, Loader=StrictLoader)
    except yaml.MarkedYAMLError as error:
        raise RubricError(f"{where}: {_yaml_reason(error)}; mend the YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # a control character; a date such as 2024-13-01; thousands of brackets
        reason = " ".join(str(error).split())
        raise RubricError(f"{where}: not usable YAML ({reason}); mend it") from None
    if not isinstance(raw, dict):
        raise RubricError(f"{where}: is {_shown(raw)}; write a mapping of keys to values")
    try:
        return Rubric.model_validate(raw)
    except ValidationError as error:
        raise RubricError(f"{where}: {_explain(error, raw)}") from None


def dump_rubric(rubric: Rubric) -> str:
    """The rubric as YAML that loads as the same record."""
    record = rubric.model_dump(mode="json")
    return yaml.dump(record, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """YAML that escapes rare line breaks; PyYAML writes them bare and reads them as newlines."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if any(mark in data for mark in _RARE_BREAKS) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _folder() -> Traversable:
    return resources.files("judges").joinpath("rubrics")


def _is_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.endswith((_SUFFIX, ".yml"))


def _shipped(name: str, language: Language) -> Traversable:
    names = rubric_names()
    if name not in names:
        what = f"no shipped rubric {_shown(name)}{_nearest(name, names)}"
        raise RubricError(f"{what}; use {_listed(names)}, or the path of a YAML file")
    return _folder().joinpath(f"{name}.{language}{_SUFFIX}")


def _read(file: Path | Traversable, where: str) -> str:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        known = _listed(rubric_names())
        raise RubricError(f"{where}: no such file; shipped rubrics are {known}") from None
    except OSError as error:
        raise RubricError(f"{where}: cannot be read: {error.strerror}; name a YAML file") from None
    if len(raw) > MAX_BYTES:
        raise RubricError(f"{where}: is larger than {MAX_BYTES:,} bytes; a rubric is a few pages")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {raw[error.start]:#04x} at {error.start})"
        raise RubricError(f"{where}: {what}; save the file as UTF-8") from None


def _named_language(file_name: str) -> str | None:
    """The language in a name such as `support.zh.yaml`."""
    parts = file_name.split(".")
    return next((part for part in parts[1:-1] if part in LANGUAGES), None)


def _refuse_other_values(criterion: Criterion, values: tuple[int, ...], kind: Kind) -> None:
    if criterion.values != values:
        what = f"level values are {_listed(criterion.values)}"
        fix = f"kind '{kind}' has {_listed(values)}"
        raise ValueError(f"criterion '{criterion.name}': {what}; {fix}")


_NOUNS: Final[Mapping[str, tuple[str, type[BaseModel]]]] = {
    "criteria": ("criterion", Criterion),
    "levels": ("level", Level),
}
_FIXES: Final[Mapping[str, str]] = {
    "greater_than": "weights must be positive",
    "finite_number": "weights must be finite",
    "string_too_short": "write a text",
    "string_too_long": "shorten it to {max_length} characters",
    "string_type": "write a text, and a number in quotes",
    "int_type": "write a whole number",
    "float_type": "write a number",
    "bool_type": "write true or false",
    "tuple_type": "write a list",
    "model_type": "write a mapping of keys to values",
    "literal_error": "use {expected}",
    "invalid_key": "write every key as text",
}
_PATTERN_FIXES: Final[Mapping[str, str]] = {
    _IDENTIFIER: "use lower-case letters, digits and underscores, such as emotion_fit",
    _VERSION: "write a label such as '1'",
    _ONE_LINE: "write a label on one line",
}


def _explain(error: ValidationError, raw: object) -> str:
    """One line about one fault, naming criterion and level by their names."""
    # an unknown key first: it may be the misspelling of one that is missing
    details = min(error.errors(), key=lambda e: e["type"] not in ("extra_forbidden", "invalid_key"))
    place, field = "", ""
    model: type[BaseModel] = Rubric
    node = raw
    for part in details["loc"]:
        if isinstance(part, int) and field in _NOUNS:
            noun, model = _NOUNS[field]
            node = node[part] if isinstance(node, list) else None
            place += f"{noun} {_name_of(node) or part + 1}: "
            field = ""
        else:
            field = str(part)
            node = node.get(field) if isinstance(node, dict) else None
    return place + _fault(details, field, model)


def _name_of(node: object) -> str | None:
    name = node.get("name") if isinstance(node, dict) else None
    return _shown(name) if isinstance(name, str) and name.strip() else None


def _fault(details: ErrorDetails, field: str, model: type[BaseModel]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "extra_forbidden":
        valid = list(model.model_fields)
        return f"unknown key {_shown(field)}{_nearest(field, valid)}; use {_listed(valid)}"
    if kind == "missing":
        return f"{field} is missing; add it"
    if kind == "value_error":
        return details["msg"].removeprefix("Value error, ")
    if kind == "too_short":
        n, least = context["actual_length"], context["min_length"]
        return f"{field} has {n} of at least {least}; add what is missing"
    if kind == "string_pattern_mismatch":
        fix = _PATTERN_FIXES[context["pattern"]]
    else:
        fix = _FIXES[kind].format(**context) if kind in _FIXES else details["msg"]
    return f"{field or 'it'} is {_shown(details['input'])}; {fix}"


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}: " if mark else ""
    return place + " ".join(str(error.problem or error.context).split())


def _shown(value: object) -> str:
    """A value in a message, on one line and short."""
    if isinstance(value, dict | list | set):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    if value is None or (isinstance(value, str) and not value.strip()):
        return "empty"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _nearest(word: str, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.0)
    return f" (did you mean '{nearest[0]}'?)" if nearest else ""


def _first_twice(texts: Iterable[str]) -> str | None:
    seen: set[str] = set()
    for text in texts:
        if text in seen:
            return text
        seen.add(text)
    return None
