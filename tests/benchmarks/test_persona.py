import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.dialogues import LANGUAGES, Language
from benchmarks.errors import DataError
from benchmarks.jsonl import Row
from benchmarks.persona import (
    SHARES,
    Persona,
    build_personas,
    load_personas,
    near_duplicates,
)
from judges.words import ngrams, word_texts
from tests.benchmarks.people import (
    make_crisis_row,
    make_row,
    make_strangers,
    make_zh_row,
    write_people,
)

MAX_MESSAGE = 400
BIG = "x" * 50_000_000
SLOW_S = 3.0


def error_of(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_personas(path)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < MAX_MESSAGE
    return message.removeprefix(f"{path}:")


def people(rows: Iterable[Mapping[str, object]]) -> list[Persona]:
    return build_personas([Row(row, f"f:{i}") for i, row in enumerate(rows, start=1)])


def without(row: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != field}


def with_fact(index: int, **changes: object) -> dict[str, Any]:
    row = make_row("en-902")
    row["disclosure"][index] |= changes
    return row


def with_lines(row: dict[str, Any], **changes: object) -> dict[str, Any]:
    return {**row, "lines": {**row["lines"], **changes}}


def with_inner(field: str, key: str, value: object) -> dict[str, Any]:
    row = make_row("en-902")
    row[field] = {**row[field], key: value}
    return row


def test_a_card_is_read_in_both_languages(tmp_path: Path) -> None:
    rows = [make_row(), make_zh_row(), make_crisis_row(level=1)]
    english, chinese, crisis = load_personas(write_people(tmp_path / "p.jsonl", rows))
    assert (english.id, english.age_group, english.need) == ("en-901", "45-59", "validate")
    assert (chinese.language, chinese.name, chinese.crisis) == ("zh", "贺秋白", 0)
    assert crisis.crisis == 1
    assert [fact.is_risk for fact in crisis.disclosure].count(True) == 1


def test_what_a_card_does_not_know_is_none(tmp_path: Path) -> None:
    row = {
        "id": "x",
        "language": "en",
        "emotion": None,
        "intensity": None,
        "problem": None,
        "situation": "A quarrel about a fence.",
        "need": None,
        "disclosure": [{"topic": None, "text": "He moved it in the night."}],
    }
    (persona,) = load_personas(write_people(tmp_path / "p.jsonl", [row]))
    assert (persona.name, persona.age_group, persona.lines, persona.helps) == (None, None, None, ())


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        (without(make_row("en-902"), "need"), "need", "is missing; add it (null where"),
        (without(make_row("en-902"), "disclosure"), "disclosure", "is missing; add it"),
        (make_row("en-902", disclosure=[]), "disclosure", "is empty; write at least one entry"),
        (make_row("en-902", need="hug"), "need", "input should be 'listen', 'validate'"),
        (make_row("en-902", emotion="Sad"), "emotion", "input should be 'anger'"),
        (make_row("en-902", style="loud"), "style", "input should be 'terse'"),
        (make_row("en-902", problem="weather"), "problem", "input should be 'job crisis'"),
        (make_row("en-902", gender="x"), "gender", "input should be 'woman', 'man'"),
        (make_row("en-902", language="fr"), "language", "input should be 'en' or 'zh'"),
        (make_row("en-902", split="test"), "split", "input should be 'train', 'gate' or 'final'"),
        (make_row("en-902", split=None), "split", "input should be 'train'"),
        (make_row("en-902", crisis=3), "crisis", "input should be 0, 1 or 2"),
        (
            make_row("en-902", helps=[{"act": "hug", "text": "x"}]),
            "helps.0.act",
            "input should be 'question'",
        ),
        (with_fact(2, topic="weather"), "disclosure.2.topic", "input should be 'event'"),
        (with_fact(3, text=" "), "disclosure.3.text", "string should have at least 1 character"),
        (with_fact(1, text="\ud800"), "disclosure.1.text", "input should be a valid string"),
        (with_fact(1, mood="low"), "disclosure.1.mood", "is not a field of a persona; remove it"),
        (
            with_inner("big_five", "openness", "middling"),
            "big_five.openness",
            "input should be 'low' or 'high'",
        ),
        (with_inner("lines", "hurt", []), "lines.hurt", "is empty; write at least one entry"),
        (with_inner("lines", "hurt", "Ouch."), "lines.hurt", "input should be a valid tuple"),
        (make_row("en-902", age=17), "age", "input should be greater than or equal to 18"),
        (make_row("en-902", age=130), "age", "input should be less than 130"),
        (make_row("en-902", age="old"), "age", "input should be a valid integer"),
        (make_row("en-902", intensity=6), "intensity", "input should be less than or equal to 5"),
        (make_row("en-902", name=7), "name", "input should be a valid string"),
        (make_row("en-902", lines=7), "lines", "input should be a valid dictionary"),
        (make_row("en-902", disclosure="all"), "disclosure", "input should be a valid tuple"),
        (make_row("en-902", hobby="chess"), "hobby", "is not a field of a persona"),
        (
            make_row("en-902", hurts=[{"act": "reflection", "text": "naming shame"}]),
            "hurts",
            "'reflection' both helps and hurts",
        ),
        (with_lines(make_crisis_row("en-902"), relieved=[]), "lines.relieved", "is empty; a"),
        (make_row("en-902", crisis=1), "crisis", "0 facts with is_risk; a crisis card has one"),
        (with_fact(4, is_risk=True), "crisis", "1 facts with is_risk"),
    ],
)
def test_a_bad_card_is_one_line_with_card_and_field(
    tmp_path: Path, row: dict[str, Any], field: str, message: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(f"{json.dumps(r)}\n" for r in [make_row(), row]))
    assert error_of(path).startswith(f"2: card 'en-902': field '{field}': {message}")


def test_a_card_without_a_usable_id_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    for row, message in [
        (without(make_row(), "id"), "1: field 'id': is missing"),
        (make_row(""), "1: field 'id': string should have at least 1 character"),
        (make_row("a\nb", age=3), "1: card 'a b': field 'age': "),
        ({**make_row(), "x\n" * 100: 1}, "1: card 'en-901': field 'x x x "),
        ({**make_row(), "id": 5}, "1: card '5': field 'id': input should be a valid string"),
    ]:
        assert error_of(write_people(path, [row])).startswith(message)


def test_an_id_stands_once(tmp_path: Path) -> None:
    path = write_people(tmp_path / "p.jsonl", [make_row(), make_zh_row("en-901 ")])
    assert error_of(path) == (
        f"2: card 'en-901': field 'id': stands at {path}:1 too; give each its own"
    )


@pytest.mark.parametrize("field", ["situation", "name", "id", "need", "hobby", "{big}"])
def test_a_huge_text_is_refused_quickly_and_never_shown(tmp_path: Path, field: str) -> None:
    path = write_people(tmp_path / "p.jsonl", [{**make_row(), field.format(big=BIG): BIG}])
    started = time.perf_counter()
    message = error_of(path)
    assert time.perf_counter() - started < SLOW_S
    assert "x" * 100 not in message
    assert message.startswith("1: card ")


def test_a_file_that_is_no_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(make_row()) + "\nname: Maud\n")
    assert error_of(path).startswith("2: is not JSON (Expecting value at column 1)")
    path.write_text('["Maud"]')
    with pytest.raises(DataError, match=r"p\.jsonl\[0\]: is text; make it an object"):
        load_personas(path)
    with pytest.raises(DataError, match="no such file"):
        load_personas(tmp_path / "nowhere.jsonl")


def test_people_are_chosen_by_language_and_split(tmp_path: Path) -> None:
    rows = [*make_strangers(3, split="gate"), make_zh_row(split="gate"), make_row(split="final")]
    path = write_people(tmp_path / "p.jsonl", rows)
    assert len(load_personas(path)) == 5
    assert [p.id for p in load_personas(path, language="zh")] == ["zh-901"]
    assert [p.id for p in load_personas(path, split="final")] == ["en-901"]
    assert len(load_personas(path, language="en", split="gate")) == 3


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"language": "fr"}, "language=fr: is not known; use en or zh"),
        ({"split": "test"}, "split=test: is not known; use train or gate or final"),
        (
            {"language": "zh", "split": "gate"},
            "p.jsonl: nobody is left with language=zh, split=gate; choose another language or",
        ),
    ],
)
def test_a_choice_that_leaves_nobody_is_an_error(
    tmp_path: Path, choice: dict[str, Any], message: str
) -> None:
    path = write_people(tmp_path / "p.jsonl", [make_row(split="gate")])
    with pytest.raises(DataError, match=re.escape(message)):
        load_personas(path, **choice)


def test_the_shares_of_the_splits() -> None:
    n = 2000
    counts = Counter(persona.split for persona in people(make_strangers(n)))
    for name, share in SHARES.items():
        assert counts[name] / n == pytest.approx(share, abs=0.03)  # about three standard errors


@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.data())
def test_adding_people_never_moves_anyone(numbers: list[int], data: st.DataObject) -> None:
    """Strangers, and retellings of people who were there."""
    rows = [row for number in numbers for row in make_strangers(1, start=number)]
    retold = [{**row, "id": f"{row['id']}-retold"} for row in data.draw(st.permutations(rows))]
    n_before = data.draw(st.integers(1, len(rows)))
    before = {persona.id: persona.split for persona in people(rows[:n_before])}
    after = {persona.id: persona.split for persona in people([*rows, *retold])}
    assert {id: after[id] for id in before} == before
    assert all(after[f"{row['id']}-retold"] == after[row["id"]] for row in rows)


def retold(row: dict[str, Any], id: str, **changes: object) -> dict[str, Any]:
    """Tell the story under another name, with one fact changed."""
    name = {"en": "Gerda", "zh": "孟春生"}[row["language"]]
    other = {"en": "My cousin has offered to pay half of it back.", "zh": "表弟答应替我跑一趟。"}
    facts = [dict(fact) for fact in row["disclosure"]]
    facts[2]["text"] = other[row["language"]]
    return {**row, "id": id, "name": name, "disclosure": facts, **changes}


def test_near_duplicates_share_the_split_of_the_first() -> None:
    for original in (make_row(), make_zh_row()):
        copies = [retold(original, f"{original['id']}-{number}") for number in range(20)]
        assert len({persona.split for persona in people([original, *copies])}) == 1
        alike = list(near_duplicates(people([original, copies[0], *make_strangers(5)])))
        ((first, second, similarity),) = alike
        assert (first, second) == (original["id"], f"{original['id']}-0")
        assert similarity > 0.5
    assert list(near_duplicates(people([make_row(), make_zh_row(), *make_strangers(50)]))) == []


def test_a_declared_split_is_honoured_and_followed() -> None:
    for split in SHARES:
        strangers = people(make_strangers(20, split=split))
        assert {persona.split for persona in strangers} == {split}
        original, copy = people([make_row(split=split), retold(make_row(), "en-902")])
        assert original.split == copy.split == split


def test_near_duplicates_in_two_splits_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    torn = [make_row(split="gate"), retold(make_row(), "en-902", split="final")]
    assert error_of(write_people(path, torn)) == (
        "2: card 'en-902': field 'split': is 'final', but 'en-901' tells nearly the same story "
        "and is 'gate'; declare the same, or remove one"
    )


def test_whoever_is_like_people_of_two_splits_is_an_error(tmp_path: Path) -> None:
    first, second = make_strangers(2)
    facts = [*first["disclosure"], *second["disclosure"]]
    bridge = {**first, "id": "b", "opening": second["opening"], "disclosure": facts}
    rows = [{**first, "split": "gate"}, {**second, "split": "final"}, bridge]
    message = error_of(write_people(tmp_path / "p.jsonl", rows))
    assert message.startswith("3: card 'b': field 'split': is 'gate', but 'en-s1' tells nearly")


# --- The people that are shipped -----------------------------------------------------------------

MIN_SHIPPED: dict[Language, int] = {"en": 96, "zh": 48}
MAX_CRISIS_SHARE = 0.05
VERBATIM: dict[Language, int] = {"en": 5, "zh": 8}
"""Words, or Chinese characters, in a row that give the private card away."""
METHODS = re.compile(
    r"\b(?:pills?|overdos\w+|rope|noose|hang(?:ed|ing)?|knife|knives|blade|razor|gun|rifle|bridge"
    r"|jump(?:ed|ing)?|poison\w*|drown\w*|cut(?:ting)? (?:my|herself|himself)|railway)\b"
    r"|安眠药|吃药|农药|跳楼|跳河|跳下|刀|割腕|绳|上吊|煤气|烧炭|天台|楼顶|大桥",
    re.IGNORECASE,
)
"""Ways to die that a card must not name (a first list, ours)."""


def said(persona: Persona) -> list[str]:
    lines = persona.lines.model_dump().values() if persona.lines else ()
    told = [persona.opening or "", *(fact.text for fact in persona.disclosure)]
    return [*told, *(text for texts in lines for text in texts)]


def private(persona: Persona) -> list[str]:
    return [persona.situation, *(p.text for p in (*persona.helps, *persona.hurts))]


@pytest.fixture(scope="module")
def shipped() -> tuple[Persona, ...]:
    return load_personas()


def test_the_shipped_people_are_many_and_complete(shipped: tuple[Persona, ...]) -> None:
    assert len({persona.id for persona in shipped}) == len(shipped)
    for language in LANGUAGES:
        ids = [persona.id for persona in shipped if persona.language == language]
        assert len(ids) >= MIN_SHIPPED[language]
        assert all(id.startswith(f"{language}-") for id in ids)
    for persona in shipped:
        values = persona.model_dump().values()
        assert None not in values and () not in values, persona.id
        assert persona.big_five is not None and None not in persona.big_five.model_dump().values()
        assert None not in [fact.topic for fact in persona.disclosure], persona.id
        assert persona.age is not None and persona.age >= 18


def test_every_split_has_shipped_people_of_both_languages(shipped: tuple[Persona, ...]) -> None:
    found = {(persona.language, persona.split) for persona in shipped}
    assert found == {(language, split) for language in LANGUAGES for split in SHARES}


def test_no_shipped_story_is_told_twice(shipped: tuple[Persona, ...]) -> None:
    assert list(near_duplicates(shipped)) == []


def test_no_shipped_line_is_shared(shipped: tuple[Persona, ...]) -> None:
    """As written; and, but for interjections, in any spelling."""
    for spell, min_words in ((str, 0), (lambda text: " ".join(word_texts(text)), 5)):
        counts = Counter(
            key
            for persona in shipped
            for key in {spell(text) for text in said(persona) if len(word_texts(text)) >= min_words}
        )
        assert [text for text, n in counts.items() if n > 1] == []


def test_no_shipped_person_says_their_card_aloud(shipped: tuple[Persona, ...]) -> None:
    for persona in shipped:
        n = VERBATIM[persona.language]
        secret = {gram for text in private(persona) for gram in ngrams(word_texts(text), n)}
        loud = {gram for text in said(persona) for gram in ngrams(word_texts(text), n)}
        assert secret & loud == set(), persona.id


def test_shipped_crisis_cards_are_few_and_name_no_method(shipped: tuple[Persona, ...]) -> None:
    crisis = [persona for persona in shipped if persona.crisis]
    assert {persona.crisis for persona in crisis} == {1, 2}
    assert len(crisis) <= MAX_CRISIS_SHARE * len(shipped)
    for persona in crisis:
        texts = [*said(persona), *private(persona)]
        assert [m[0] for text in texts for m in METHODS.finditer(text)] == [], persona.id
