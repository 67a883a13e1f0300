"""Simulated people: who they are, what they feel, what they need and do not say at once.

`load_personas()` gives the shipped ones, or those of a file: our own JSON Lines, or cards that
others published (`cards.py`). Unknown is None: a card from elsewhere has no more than it has. A
scripted user needs the person's own `lines`; a model plays any card.

Splits: SHA-256 of the id decides between `train`, `gate` and `final`; near-duplicates follow the
one that stands first in the file, so adding people never moves one that was there.
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from benchmarks.dialogues import LANGUAGES, SPLIT_NAMES, Language, SplitName
from benchmarks.errors import DataError
from benchmarks.jsonl import Row, read_rows
from judges.acts import Act
from judges.words import ngrams, word_texts

logger = logging.getLogger(__name__)

Emotion = Literal[
    "anger",
    "anxiety",
    "depression",
    "disgust",
    "fear",
    "guilt",
    "jealousy",
    "nervousness",
    "sadness",
    "shame",
]
"""ESConv's emotion labels that stand at more than one dialogue."""

Problem = Literal[
    "job crisis",
    "academic pressure",
    "breakup with partner",
    "problems with friends",
    "ongoing depression",
    "conflict with parents",
    "issues with children",
    "money worries",
    "health worry",
    "grief",
    "loneliness",
    "sleep problems",
]
Need = Literal["listen", "validate", "understand", "advise", "encourage", "distract"]
Style = Literal["terse", "talkative", "blunt", "polite", "ironic", "matter-of-fact"]
Pole = Literal["low", "high"]
AgeGroup = Literal["18-29", "30-44", "45-59", "60+"]
Topic = Literal["event", "feeling", "people", "history", "meaning", "wish"]
"""What a fact is about: what happened, what it does inside, somebody else, since when and what was
before, what it says about the person, what they would want."""

Text = Annotated[str, Field(min_length=1, max_length=4000)]
Story = Annotated[str, Field(min_length=1, max_length=20_000)]
"""Cards from elsewhere tell a life in one field."""

AGE_GROUPS: Final[Mapping[AgeGroup, range]] = {
    "18-29": range(18, 30),
    "30-44": range(30, 45),
    "45-59": range(45, 60),
    "60+": range(60, 130),
}
SHARES: Final[Mapping[SplitName, float]] = {"train": 0.4, "gate": 0.4, "final": 0.2}
NEAR_DUPLICATE: Final = 0.3
"""Jaccard similarity of two people's word trigrams from which they are the same story (ours: the
shipped people are below 0.02, one with a changed name and one changed fact is above 0.5)."""


class Part(BaseModel):
    """A part of a persona: frozen, strict about its keys, without blanks around its texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class BigFive(Part):
    """Poles of the Big Five; None where a card does not say."""

    openness: Pole | None
    conscientiousness: Pole | None
    extraversion: Pole | None
    agreeableness: Pole | None
    neuroticism: Pole | None


class Preference(Part):
    """One kind of supporter act that this person likes, or cannot stand."""

    act: Act
    text: Text
    """What of this kind, in words."""


class Fact(Part):
    """One thing the person tells, in their own words."""

    topic: Topic | None
    text: Text
    is_risk: bool = False
    """Whether it tells of thoughts of dying, veiled or plainly (crisis personas)."""


class Lines(Part):
    """What a scripted user says besides the facts; at any point of any conversation."""

    helped: tuple[Text, ...] = Field(min_length=1)
    unmoved: tuple[Text, ...] = Field(min_length=1)
    """After a generic or empty reply."""
    pushback: tuple[Text, ...] = Field(min_length=1)
    """After what this person cannot stand."""
    hurt: tuple[Text, ...] = Field(min_length=1)
    """After a cold or hostile reply."""
    more: tuple[Text, ...] = Field(min_length=1)
    """Further details, when asked on."""
    hints: tuple[Text, ...] = Field(min_length=1)
    """Hint at the hidden need without naming it."""
    satisfied: tuple[Text, ...] = Field(min_length=1)
    gave_up: tuple[Text, ...] = Field(min_length=1)
    bad_news: tuple[Text, ...] = ()
    """What a disturbance brings."""
    relieved: tuple[Text, ...] = ()
    """After a supporter took the risk seriously and pointed to help (crisis personas)."""


class Persona(Part):
    """A simulated user's card: private, never shown to the model under test."""

    schema_version: Literal[1] = 1
    id: Annotated[str, Field(min_length=1, max_length=200)]
    language: Language
    split: SplitName
    name: Text | None = None
    age: Annotated[int, Field(ge=18, lt=130)] | None = None
    """Adults only."""
    gender: Literal["woman", "man", "nonbinary"] | None = None
    occupation: Text | None = None
    interest: Text | None = None
    """What takes their mind off things."""
    big_five: BigFive | None = None
    style: Style | None = None
    emotion: Emotion | None
    intensity: Annotated[int, Field(ge=1, le=5)] | None
    """Of the emotion before the conversation, on ESConv's scale."""
    problem: Problem | None
    situation: Story
    need: Need | None
    """What they came for and do not say."""
    helps: tuple[Preference, ...] = ()
    hurts: tuple[Preference, ...] = ()
    opening: Text | None = None
    disclosure: tuple[Fact, ...] = Field(min_length=1)
    """In the order in which it comes out."""
    lines: Lines | None = None
    """Material of the scripted user; None: only a model can play this card."""
    crisis: Literal[0, 1, 2] = 0
    """0 none, 1 veiled, 2 says that they think about dying."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        both = {p.act for p in self.helps} & {p.act for p in self.hurts}
        if both:
            raise _wrong("hurts", f"'{min(both)}' both helps and hurts")
        n_risks = sum(fact.is_risk for fact in self.disclosure)
        if self.lines and n_risks != bool(self.crisis):
            what = f"{n_risks} facts with is_risk; a crisis card has one, others none"
            raise _wrong("crisis", what)
        if self.crisis and self.lines and not self.lines.relieved:
            raise _wrong("lines.relieved", "is empty; a crisis card with lines needs some")
        return self

    @property
    def age_group(self) -> AgeGroup | None:
        """The age group, or None where the age is unknown."""
        return next((g for g, ages in AGE_GROUPS.items() if self.age in ages), None)

    def told_texts(self) -> list[str]:
        """Everything that tells the story: situation, opening and facts."""
        return [self.situation, self.opening or "", *(fact.text for fact in self.disclosure)]


def _wrong(field: str, what: str) -> PydanticCustomError:
    """An error of several fields that names the one to look at."""
    return PydanticCustomError("inconsistent", "{what}", {"field": field, "what": what})


def load_personas(
    path: Path | str | None = None,
    *,
    language: Language | None = None,
    split: SplitName | None = None,
) -> tuple[Persona, ...]:
    """Load the shipped people, or those of a file.

    Args:
        path: A file of personas or of published cards; None: the shipped ones.
        language: Only people who speak it.
        split: Only this split.

    Raises:
        DataError: a card is wrong, naming the file, the line, the card and the field; or nobody
            is left.
    """
    for what, value, known in (
        ("language", language, LANGUAGES),
        ("split", split, SPLIT_NAMES),
    ):
        if value is not None and value not in known:
            raise DataError(f"{what}={value}", "is not known", f"use {' or '.join(known)}")
    found = [
        persona
        for persona in (_shipped() if path is None else read_personas(Path(path)))
        if language in (None, persona.language) and split in (None, persona.split)
    ]
    if not found:
        chosen = ", ".join(f"{k}={v}" for k, v in (("language", language), ("split", split)) if v)
        raise DataError(
            str(path or "shipped personas"),
            f"nobody is left with {chosen}",
            "choose another language or split, or another file",
        )
    return tuple(found)


def read_personas(path: Path) -> list[Persona]:
    """Everyone in a file: our own format, or a published one that `cards.py` knows.

    Published cards of minors are left out, with a warning in the log that counts them.
    """
    from benchmarks.cards import Minor, as_card

    rows, n_minors = [], 0
    for row in read_rows(path):
        try:
            rows.append(as_card(row))
        except Minor:
            n_minors += 1
    if n_minors:
        logger.warning("%s: %d cards of minors left out; only adults are simulated", path, n_minors)
    return build_personas(rows)


def build_personas(rows: Sequence[Row]) -> list[Persona]:
    """Validate cards and give each its split: the declared one, or one by its id.

    Raises:
        DataError: naming card and field; or near-duplicates would be in two splits.
    """
    drafts = [_validated(row) for row in rows]
    _refuse_duplicates(rows, drafts)
    alike = list(near_duplicates(drafts))
    first = _first_of_group(drafts, alike)
    splits: dict[str, SplitName] = {}
    for row, draft in zip(rows, drafts, strict=True):
        of_group = splits.get(first[draft.id], _split_of(draft.id))
        splits[draft.id] = draft.split if "split" in row.fields else of_group
    _refuse_torn(rows, drafts, splits, alike)
    return [draft.model_copy(update={"split": splits[draft.id]}) for draft in drafts]


def near_duplicates(personas: Sequence[Persona]) -> Iterator[tuple[str, str, float]]:
    """Pairs of ids that tell nearly the same story, with their similarity, in file order."""
    shingles = [_shingles(persona) for persona in personas]
    holders: dict[tuple[str, ...], list[int]] = {}
    for index, grams in enumerate(shingles):
        shared = Counter(other for gram in grams for other in holders.get(gram, ()))
        for other, n_shared in sorted(shared.items()):
            similarity = n_shared / (len(grams) + len(shingles[other]) - n_shared)
            if similarity >= NEAR_DUPLICATE:
                yield personas[other].id, personas[index].id, similarity
        for gram in grams:
            holders.setdefault(gram, []).append(index)


def _first_of_group(
    personas: Sequence[Persona], alike: Sequence[tuple[str, str, float]]
) -> dict[str, str]:
    first = {persona.id: persona.id for persona in personas}
    for earlier, later, _ in alike:
        if first[later] == later:
            first[later] = first[earlier]
    return first


def _split_of(persona_id: str) -> SplitName:
    digest = hashlib.sha256(f"persona\n{persona_id}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    for name in SPLIT_NAMES:
        place -= SHARES[name]
        if place < 0:
            return name
    return SPLIT_NAMES[-1]


def _shingles(persona: Persona) -> set[tuple[str, ...]]:
    return {gram for text in persona.told_texts() for gram in ngrams(word_texts(text), 3)}


@cache
def _shipped() -> tuple[Persona, ...]:
    personas: list[Persona] = []
    for language in LANGUAGES:
        data = resources.files("benchmarks") / "data" / f"personas.{language}.jsonl"
        with resources.as_file(data) as path:
            personas += build_personas(read_rows(path))
    return tuple(personas)


def _validated(row: Row) -> Persona:
    """The persona of a card; where it declares no split, the first stands in."""
    try:
        return Persona.model_validate({"split": SPLIT_NAMES[0], **row.fields})
    except ValidationError as error:
        raise _card_error(row, error) from None


def _card_error(row: Row, error: ValidationError) -> DataError:
    """One line that names the card and the field, and never the field's text."""
    first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(_short(str(part)) for part in first["loc"])
    field = path or first.get("ctx", {}).get("field", "card")
    what = first["msg"][:1].lower() + first["msg"][1:]
    fix = "see benchmarks/persona.py"
    if first["type"] == "missing":
        what, fix = "is missing", "add it (null where it is unknown)"
    elif first["type"] == "too_short":
        what, fix = "is empty", "write at least one entry"
    elif first["type"] == "extra_forbidden":
        what, fix = "is not a field of a persona", "remove it, or see benchmarks/persona.py"
    return DataError(_card(row), what, fix, field=field)


def _card(row: Row) -> str:
    name = row.fields.get("id")
    return f"{row.where}: card '{_short(str(name))}'" if name else row.where


def _short(text: str) -> str:
    """The start of a name, in one line."""
    return " ".join(text[:60].split())


def _refuse_duplicates(rows: Sequence[Row], personas: Sequence[Persona]) -> None:
    seen: dict[str, str] = {}
    for row, persona in zip(rows, personas, strict=True):
        if persona.id in seen:
            raise DataError(
                _card(row), f"stands at {seen[persona.id]} too", "give each its own", field="id"
            )
        seen[persona.id] = row.where


def _refuse_torn(
    rows: Sequence[Row],
    personas: Sequence[Persona],
    splits: Mapping[str, SplitName],
    alike: Sequence[tuple[str, str, float]],
) -> None:
    """Near-duplicates in two splits leak, whether a card declares its split or is like both."""
    cards = {persona.id: _card(row) for row, persona in zip(rows, personas, strict=True)}
    for earlier, later, _ in alike:
        if splits[earlier] != splits[later]:
            what = (
                f"is '{splits[later]}', but '{_short(earlier)}' tells nearly the same story "
                f"and is '{splits[earlier]}'"
            )
            raise DataError(cards[later], what, "declare the same, or remove one", field="split")
