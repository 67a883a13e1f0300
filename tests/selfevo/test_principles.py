import hashlib
import re
from pathlib import Path

import pytest

from selfevo.errors import UsageError
from selfevo.principles import SECTIONS, load_principles

TEXT = """# Mine

## In short
Be kind.

## When reflecting
Look.
### Closely
Yes.

## When refining
Say it.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_sections_are_read_whole(file: Path) -> None:
    principles = load_principles(file)
    assert principles.brief == "Be kind."
    assert principles.reflecting == "Look.\n### Closely\nYes."
    assert principles.refining == "Say it."
    assert principles.hash == hashlib.sha256(TEXT.encode()).hexdigest()
    assert principles.all_text() == "Be kind.\nLook.\n### Closely\nYes.\nSay it."


def test_an_edit_changes_the_hash_wherever_it_is(file: Path) -> None:
    before = load_principles(file).hash
    file.write_text(TEXT.replace("# Mine", "# Ours"), encoding="utf-8")
    assert load_principles(file).hash != before


def test_the_shipped_principles_have_every_section() -> None:
    shipped = load_principles()
    assert all((shipped.brief, shipped.reflecting, shipped.refining))
    assert len(shipped.brief) < len(shipped.reflecting)


@pytest.mark.parametrize("missing", SECTIONS)
def test_a_missing_section_is_named(file: Path, missing: str) -> None:
    file.write_text(TEXT.replace(f"## {missing}", "## Other"), encoding="utf-8")
    with pytest.raises(UsageError, match=f"{re.escape(str(file))}: .* '## {missing}'"):
        load_principles(file)


def test_an_empty_section_is_missing(file: Path) -> None:
    file.write_text(TEXT.replace("Be kind.", ""), encoding="utf-8")
    with pytest.raises(UsageError, match="'## In short'"):
        load_principles(file)


@pytest.mark.parametrize("name", ["absent.md", "."])
def test_principles_that_cannot_be_read_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / name))):
        load_principles(tmp_path / name)
