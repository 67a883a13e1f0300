"""A YAML file as a strict record: what a wrong key or value is told.

An unknown key names the nearest valid one; every message begins with the file.
"""

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from judges.strict_yaml import StrictLoader
from selfevo.errors import UsageError
from selfevo.section import Section

Read = TypeVar("Read", bound=BaseModel)


def read_section(kind: type[Read], path: Path, overrides: Sequence[str] = ()) -> Read:
    """Read a YAML file as `kind` and apply `key=value` overrides (dotted keys, YAML values).

    Raises:
        UsageError: the file or an override is not readable, or a key or value is wrong; the message
            names the file, the key, and the nearest valid key.
    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; the shipped recipes are in recipes/") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}; name a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:  # no YAML, no UTF-8, or a date that is none
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise UsageError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: must be a mapping of keys to values")
    for override in overrides:
        _apply(raw, override)
    try:
        config = kind.model_validate(raw)
    except ValidationError as error:
        raise UsageError(f"{path}: {_explain(kind, error.errors())}") from None
    for key, value in _read_as_numbers(raw, config.model_dump()):
        raise UsageError(f"{path}: '{key}' is a number, not {value}; to turn a check off, set null")
    return config


def _apply(raw: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise UsageError(f"--set {override}: write --set section.key=value")
    *sections, last = key.split(".")
    node = raw
    for section in sections:
        if node.get(section) is None:  # also a section whose keys are all commented out
            node[section] = {}
        node = node[section]
        if not isinstance(node, dict):
            raise UsageError(f"--set {override}: '{section}' is a value, not a section")
    try:
        node[last] = yaml.safe_load(value)
    except (yaml.YAMLError, ValueError):  # no YAML, or a date that is none
        raise UsageError(f"--set {override}: '{value}' is not a YAML value") from None


def _explain(kind: type[BaseModel], errors: Sequence[ErrorDetails]) -> str:
    # an unknown key first: it may be the misspelling of one that is missing
    error = min(errors, key=lambda e: e["type"] != "extra_forbidden")
    if error["type"] == "extra_forbidden":
        *parents, unknown = map(str, error["loc"])
        _, section = _known(kind, error["loc"][:-1])
        valid = sorted(section.model_fields) if section else []
        key = ".".join([*parents, unknown])
        moved = section.moved.get(unknown) if section and issubclass(section, Section) else None
        if moved:
            return f"unknown key '{key}'; it is '{moved}' now"
        nearest = difflib.get_close_matches(unknown, valid, n=1, cutoff=0.0)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        return f"unknown key '{key}'{hint} (valid here: {', '.join(valid)})"
    keys, _ = _known(kind, error["loc"])
    key = ".".join(keys)
    if error["type"] == "missing":
        return f"'{key}' is missing; add it"
    if error["type"] == "value_error":
        place = f"'{key}': " if key else ""
        return f"{place}{error['msg'].removeprefix('Value error, ')}"
    return f"'{key}': {error['msg']} (got {error['input']!r})"


def _known(
    kind: type[BaseModel], location: Sequence[str | int]
) -> tuple[list[str], type[BaseModel] | None]:
    """The keys of a pydantic location, without its tags of union members, and their section."""
    keys: list[str] = []
    section: type[BaseModel] | None = kind
    for part in location:
        if isinstance(part, str):
            if section is None or part not in section.model_fields:
                break
            section = _section_in(section.model_fields[part].annotation)
        keys.append(str(part))
    return keys, section


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The section that a field holds, itself or in a list."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _read_as_numbers(raw: object, read: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Keys whose true or false pydantic read as 1 or 0."""
    if isinstance(raw, dict) and isinstance(read, dict):
        for name, value in raw.items():
            yield from _read_as_numbers(value, read[name], f"{key}.{name}" if key else str(name))
    elif isinstance(raw, list) and isinstance(read, tuple):
        for index, (value, item) in enumerate(zip(raw, read, strict=True)):
            yield from _read_as_numbers(value, item, f"{key}.{index}")
    elif isinstance(raw, bool) and not isinstance(read, bool):
        yield key, str(raw).lower()
