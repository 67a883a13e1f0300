"""The written principles that guide reflection and refinement: a Markdown file that users edit."""

import hashlib
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from selfevo.errors import UsageError

SECTIONS = ("In short", "When reflecting", "When refining")


class Principles(NamedTuple):
    """The parts of the file that models read."""

    brief: str
    """One or two sentences: all that a small model can use."""
    reflecting: str
    refining: str
    hash: str
    """sha256 of the whole file."""

    def all_text(self) -> str:
        """Everything a model may have seen, for the leakage filter."""
        return "\n".join((self.brief, self.reflecting, self.refining))


def load_principles(path: Path | None = None) -> Principles:
    """Read the principles at `path`, or the shipped ones.

    Raises:
        UsageError: the file is missing or lacks one of the `SECTIONS`.
    """
    if path is None:
        text = resources.files("selfevo").joinpath("prompts", "principles.md").read_text("utf-8")
    else:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: principles cannot be read: {error}") from None
    found = _sections(text)
    missing = [name for name in SECTIONS if not found.get(name)]
    if missing:
        raise UsageError(f"{path}: principles need a section '## {missing[0]}' with text under it")
    brief, reflecting, refining = (found[name] for name in SECTIONS)
    return Principles(brief, reflecting, refining, hashlib.sha256(text.encode()).hexdigest())


def _sections(markdown: str) -> dict[str, str]:
    parts = ("\n" + markdown).split("\n## ")[1:]
    return {title.strip(): body.strip() for title, _, body in (p.partition("\n") for p in parts)}
