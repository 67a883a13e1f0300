"""Lists of wordings that few texts contain, told from the rest without running a pattern.

A pattern with many alternatives that ignores case is tried at every letter of a text, which takes
longer than all else that is done with a reply. So each list names cues: pieces of which every match
has at least one, whatever the case, and if need be a second kind of them. A text without a cue is
answered by `in`, forty times as fast; with one of each kind, the pattern decides. A list with a cue
that is missing would be blind to what it should find; `tests/judges/test_listed.py` generates
matches of every pattern and looks for it.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_ALIKE: Final = str.maketrans({"ı": "i", "İ": "i", "ſ": "s", "\u212a": "k"})
"""The letters outside ASCII that a pattern without regard to case takes for one of ASCII."""


class Listed(NamedTuple):
    """A pattern and, in lower case, the pieces of which a text with a match has at least one."""

    pattern: re.Pattern[str]
    cues: tuple[str, ...]
    more_cues: tuple[str, ...] = ("",)
    """Pieces of which it has one as well."""

    def matches(self, text: str) -> Iterator[re.Match[str]]:
        """Every match in the text."""
        return self.pattern.finditer(text) if self.may_match(text) else iter(())

    def is_in(self, text: str) -> bool:
        """Whether there is a match."""
        return self.may_match(text) and self.pattern.search(text) is not None

    def may_match(self, text: str) -> bool:
        """False only when there is no match."""
        folded = (text if text.isascii() else text.translate(_ALIKE)).lower()
        return any(map(folded.__contains__, self.cues)) and any(
            map(folded.__contains__, self.more_cues)
        )
