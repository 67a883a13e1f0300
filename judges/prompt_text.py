"""Prompts are Markdown files; their `{placeholders}` are filled in one pass."""

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from judges.words import Language

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def filled(template: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders that have a value: what stands in a value is never filled again."""
    return _PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group(0)), template)


@cache
def load_prompt(package: str, name: str, language: Language) -> str:
    """The text of `PACKAGE/prompts/NAME.LANGUAGE.md`."""
    file = resources.files(package).joinpath("prompts", f"{name}.{language}.md")
    return file.read_text(encoding="utf-8").strip()
