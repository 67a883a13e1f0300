"""Sets of texts that people rated, to hold a judge against: one record for all sources.

    rated = load_rated("lend-an-ear:PATH")          # or esconv:PATH, failed-esconv:PATH, x.csv
    raters = rated.by_rater("validating_emotions")  # rater -> item id -> rating

The published sets are read in `rated_sets.py`; here is the record, and ratings of one's own as CSV:
a row an item (or an item and a rater), a column a dimension. Left out: how a judge is asked, what
agreement is (`judges/agreement.py`), and averaging raters, which is a choice of the comparison.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from benchmarks.cleaning import detect_language, merge, normalise_text
from benchmarks.contexts import Message
from benchmarks.csv_rows import read_csv
from benchmarks.dialogues import Language, Speaker, Turn
from benchmarks.errors import DataError
from benchmarks.jsonl import Row
from benchmarks.messages import language_of
from judges.automatic import n_words

Scores = dict[str, dict[str, float]]
"""Dimension -> item id -> rating."""

LEVELS = (1, 2, 3, 4, 5)
ONE_RATER = "human"
"""The name of the rater in a CSV file without a column `rater`."""

RESERVED_COLUMNS = frozenset(
    (
        "id",
        "conversation_id",
        "persona",
        "rater",
        "language",
        "text",
        "full_conversation",
        "response_length",
    )
)
"""Columns that are no dimension."""

SPEAKERS: dict[str, Speaker] = {
    "seeker": "seeker",
    "user": "seeker",
    "supporter": "supporter",
    "assistant": "supporter",
}
_SPEAKER = re.compile(rf"({'|'.join(SPEAKERS)}):\s*(.*)", re.IGNORECASE)


class RatedItem(BaseModel):
    """One text and what people said of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    conversation: str
    """Items of one conversation are not independent; it is the unit of resampling."""

    language: Language
    messages: tuple[Message, ...]
    """The seeker is the user. The last one is the rated reply where a reply is rated. Empty where
    the source has ratings only."""

    ratings: dict[str, dict[str, float]]
    """Dimension -> rater -> rating; who did not rate is not in it."""

    persona: str | None = None
    """Whose card a judge may be shown; None where the raters had none."""


class RatedSet(BaseModel):
    """All items of a source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: Literal["conversation", "reply"]
    """What was rated: the supporter in the whole conversation, or the last reply."""

    items: tuple[RatedItem, ...]
    dimensions: tuple[str, ...]
    levels: tuple[int, ...]
    raters: tuple[str, ...]
    """Persons only: who each rated as one, and can stand in a human ceiling."""

    stored: dict[str, Scores]
    """Ratings that machine judges gave at the time of publication, by name of the judge."""

    group_means: dict[str, Scores]
    """Means of several people (a crowd): human, but no rater, so in no ceiling."""

    skipped: dict[str, int]
    """Ratings of the source that are not in the set, by reason."""

    hash: str
    """SHA-256 over the names and contents of the files read."""

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if len({item.id for item in self.items}) < len(self.items):
            raise ValueError(f"{self.name}: two items have the same id")
        return self

    def by_rater(self, dimension: str) -> dict[str, dict[str, float]]:
        """The ratings of one dimension: rater -> item id -> rating."""
        self._check(dimension)
        given: dict[str, dict[str, float]] = {rater: {} for rater in self.raters}
        for item in self.items:
            for rater, rating in item.ratings.get(dimension, {}).items():
                given[rater][item.id] = rating
        return given

    def stored_of(self, dimension: str) -> dict[str, dict[str, float]]:
        """The stored judges' ratings of one dimension: judge -> item id -> rating."""
        self._check(dimension)
        return {judge: dict(scores.get(dimension, {})) for judge, scores in self.stored.items()}

    def clusters(self) -> dict[str, str]:
        """Item id -> conversation."""
        return {item.id: item.conversation for item in self.items}

    def lengths(self) -> dict[str, int]:
        """Words of what was rated, item by item; items without a word are not in it.

        Zero is left out because a slope on length needs its logarithm.
        """
        lengths = {item.id: self._length(item) for item in self.items}
        return {item: length for item, length in lengths.items() if length}

    def _length(self, item: RatedItem) -> int:
        replies = [message.content for message in item.messages if message.role == "assistant"]
        return sum(map(n_words, replies if self.about == "conversation" else replies[-1:]))

    def _check(self, dimension: str) -> None:
        if dimension not in self.dimensions:
            known = ", ".join(self.dimensions)
            raise ValueError(f"{self.name} has no dimension '{dimension}'; use one of {known}")


def load_rated(spec: str, *, levels: Sequence[int] | None = None) -> RatedSet:
    """Load `lend-an-ear:FOLDER`, `esconv:FOLDER`, `failed-esconv:FILE`, or the path of a CSV.

    Args:
        spec: What to load.
        levels: The scale of a CSV; None: 1 to 5. The published sets have scales of their own.
    """
    # Imported here because the loaders build the records defined above.
    from benchmarks import rated_sets

    loaders = {
        "lend-an-ear": rated_sets.load_lend_an_ear,
        "esconv": rated_sets.load_esconv_feedback,
        "failed-esconv": rated_sets.load_failed_esconv,
    }
    name, colon, path = spec.partition(":")
    if colon and name in loaders:
        if not path:
            raise DataError(spec, "names no path", f"write {name}:PATH")
        return loaders[name](Path(path))
    if not spec.endswith(".csv"):
        known = ", ".join(f"{name}:PATH" for name in loaders)
        raise DataError(spec, "is no set of ratings", f"use {known}, or the path of a .csv file")
    return load_ratings_csv(Path(spec), levels=LEVELS if levels is None else levels)


def load_ratings_csv(
    path: Path, *, levels: Sequence[int] = LEVELS, dimensions: Sequence[str] | None = None
) -> RatedSet:
    """Load ratings of one's own.

    Columns: `id` (of the item) or `conversation_id`, or both, when the latter says which items
    belong together; `rater` where there are several; `full_conversation`, with a line `Seeker: ...`
    or `Supporter: ...` a turn, or `text`, which may also be a reply alone (further rows of an item
    may leave it empty); `persona`, the id of the person's card where the raters may have seen it;
    `language`. Every other column is a dimension; an empty cell is no rating.

    Args:
        path: A CSV file with a header.
        levels: The scale; a rating may lie between its ends.
        dimensions: The columns to read, where others are there too.
    """
    rows = read_csv(path)
    names = tuple(dimensions or (n for n in rows[0].fields if n not in RESERVED_COLUMNS))
    if not names:
        what = f"has no column with ratings (it has {', '.join(rows[0].fields)})"
        raise DataError(f"{path}:1", what, "add a column for each dimension")
    drafts: dict[str, _Draft] = {}
    for row in rows:
        _add(row, drafts, names, levels)
    items = tuple(draft.item() for draft in drafts.values())
    raters = dict.fromkeys(rater for draft in drafts.values() for rater in draft.raters)
    return RatedSet(
        name=path.stem,
        about="conversation" if "full_conversation" in rows[0].fields else "reply",
        items=items,
        dimensions=names,
        levels=tuple(levels),
        raters=tuple(raters),
        stored={},
        group_means={},
        skipped={},
        hash=files_hash([path]),
    )


def rating_of(row: Row, column: str, levels: Sequence[int]) -> float | None:
    """Read one rating; None where the cell is empty."""
    text = row.optional_text(column) if column in row.fields else row.text(column)
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise row.error(column, f"is '{text}'", "write a number, or leave it empty") from None
    if not levels[0] <= value <= levels[-1] or math.isnan(value):
        fix = f"use {levels[0]} to {levels[-1]}"
        raise row.error(column, f"is {text}, outside the scale", fix)
    return value


def messages_of(turns: Iterable[Turn], language: Language) -> tuple[Message, ...]:
    """The turns as chat messages, those of one speaker in a row joined."""
    return tuple(
        Message(role="user" if turn.speaker == "seeker" else "assistant", content=turn.text)
        for turn in merge(list(turns), language)
    )


def parse_conversation(row: Row, column: str) -> list[Turn]:
    """Read `Seeker: ...` and `Supporter: ...` lines; turns without text are left out.

    A line without a speaker goes on with the turn before it.
    """
    spoken: list[tuple[Speaker, list[str]]] = []
    for line in row.text(column).splitlines():
        match = _SPEAKER.match(line.strip())
        if match:
            spoken.append((SPEAKERS[match[1].lower()], [match[2]]))
        elif spoken:
            spoken[-1][1].append(line)
        elif line.strip():
            fix = "begin every turn with 'Seeker: ' or 'Supporter: '"
            raise row.error(column, f"begins with '{line.strip()[:40]}'", fix)
    language = detect_language(line for _, lines in spoken for line in lines)
    texts = [(speaker, normalise_text("\n".join(lines), language)) for speaker, lines in spoken]
    turns = [Turn(speaker=speaker, text=text) for speaker, text in texts if text]
    if not any(turn.speaker == "supporter" for turn in turns):
        raise row.error(column, "has no supporter turn", "remove the row, or check its speakers")
    return turns


def files_hash(paths: Iterable[Path]) -> str:
    """SHA-256 over names and contents, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


class _Draft(NamedTuple):
    """An item while its rows are read."""

    id: str
    conversation: str
    persona: str | None
    text: str | None
    language: Language
    messages: tuple[Message, ...]
    ratings: dict[str, dict[str, float]]
    raters: list[str]

    def item(self) -> RatedItem:
        return RatedItem(
            id=self.id,
            conversation=self.conversation,
            language=self.language,
            messages=self.messages,
            ratings=self.ratings,
            persona=self.persona,
        )


def _add(
    row: Row, drafts: dict[str, _Draft], dimensions: Sequence[str], levels: Sequence[int]
) -> None:
    """Put one row into its item's draft."""
    draft = _draft(row)
    known = drafts.setdefault(draft.id, draft)
    text_column = "full_conversation" if "full_conversation" in row.fields else "text"
    for column, mine, theirs in (
        ("conversation_id", draft.conversation, known.conversation),
        ("persona", draft.persona, known.persona),
        (text_column, draft.text, known.text),
    ):
        if mine is not None and mine != theirs:
            what = f"differs from that of an earlier row of '{draft.id}'"
            raise row.error(column, what, "give every item its own id")
    rater = row.optional_text("rater") or ONE_RATER
    if rater in known.raters:
        what = f"'{rater}' rated '{draft.id}' before"
        raise row.error("rater", what, "keep one row for each item and rater")
    known.raters.append(rater)
    for dimension in dimensions:
        rating = rating_of(row, dimension, levels)
        if rating is not None:
            known.ratings.setdefault(dimension, {})[rater] = rating


def _draft(row: Row) -> _Draft:
    item_id = row.optional_text("id") or row.optional_text("conversation_id")
    if item_id is None:
        raise row.error("id", "is missing or empty", "give every row an id, or a conversation_id")
    column = "full_conversation" if row.optional_text("full_conversation") else "text"
    text = row.optional_text(column)
    turns = _turns(row, column) if text else []
    language = language_of(row) or detect_language(turn.text for turn in turns)
    return _Draft(
        id=item_id,
        conversation=row.optional_text("conversation_id") or item_id,
        persona=row.optional_text("persona"),
        text=text,
        language=language,
        messages=messages_of(turns, language),
        ratings={},
        raters=[],
    )


def _turns(row: Row, column: str) -> list[Turn]:
    """A `text` that does not begin with a speaker is a reply alone."""
    text = row.text(column)
    if column == "text" and not _SPEAKER.match(text):
        return [Turn(speaker="supporter", text=normalise_text(text, detect_language([text])))]
    return parse_conversation(row, column)
