from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.balance import FACTORS, PAIRS, Balance, balance
from benchmarks.dialogues import LANGUAGES
from benchmarks.jsonl import Row
from benchmarks.persona import Persona, build_personas, load_personas
from tests.benchmarks.people import make_strangers

NEEDS = ("listen", "validate", "understand", "advise", "encourage", "distract")


def people(*changes: Mapping[str, Any]) -> list[Persona]:
    rows = make_strangers(len(changes))
    return build_personas(
        [Row({**row, **c}, f"f:{i}") for i, (row, c) in enumerate(zip(rows, changes, strict=True))]
    )


def count(table: Balance, factor: str) -> dict[str, int]:
    return {level.value: level.n for level in table.levels if level.factor == factor}


def holes(table: Balance, factor: str) -> list[str]:
    return [level.value for level in table.levels if level.factor == factor and level.is_hole]


def test_levels_are_counted() -> None:
    table = balance(
        people(
            {"need": "listen", "age": 18, "intensity": 2},
            {"need": "listen", "age": 29, "intensity": 5},
            {"need": "advise", "age": 30, "style": None, "helps": []},
            {"need": None, "age": None, "intensity": None, "big_five": None},
        )
    )
    assert table.n == 4
    assert count(table, "need") == dict.fromkeys(NEEDS, 0) | {"listen": 2, "advise": 1}
    assert count(table, "age group") == {"18-29": 2, "30-44": 1, "45-59": 0, "60+": 0}
    assert count(table, "intensity") == {"2": 1, "3": 0, "4": 1, "5": 1}
    assert count(table, "openness") == {"low": 0, "high": 3}
    assert count(table, "style")["polite"] == 3
    assert {act: n for act, n in count(table, "helps").items() if n} == {
        "reflection": 3,
        "restatement": 3,
    }


def test_a_level_below_half_of_its_even_share_is_a_hole() -> None:
    two_each = [{"need": need} for need in NEEDS for _ in range(2)]
    assert holes(balance(people(*two_each)), "need") == []
    many = [{"need": "listen"}] * 20  # with one each of the others the even share is 25 / 6
    table = balance(people(*many, *({"need": need} for need in NEEDS[1:])))
    assert holes(table, "need") == list(NEEDS[1:])
    assert "need advise (1 people)" in table.holes


def test_what_is_no_level_does_not_raise_the_even_share() -> None:
    mild = [{"intensity": 1}] * 40
    others = [{"intensity": n} for n in (2, 3, 4, 5)]
    assert holes(balance(people(*mild, *others)), "intensity") == []


def test_a_crossing_that_nobody_has_is_a_hole_by_name() -> None:
    def missing(changes: list[dict[str, Any]]) -> list[str]:
        found = balance(people(*changes)).missing_pairs
        return [hole for hole in found if "need " in hole and "age group " in hole]

    crossed = [{"need": need, "age": age} for need in NEEDS for age in (20, 40, 50, 70)]
    assert missing(crossed) == []
    crossed.remove({"need": "advise", "age": 70})
    assert missing(crossed) == ["need advise with age group 60+ (nobody)"]


def test_only_crossings_that_48_people_can_fill_are_asked_for() -> None:
    assert ("need", "age group") in PAIRS
    assert ("emotion", "problem") not in PAIRS
    assert ("helps", "hurts") not in PAIRS


def test_nobody_at_all_is_all_holes() -> None:
    table = balance([])
    assert len([level for level in table.levels if level.is_hole]) == len(table.levels)


@pytest.fixture(scope="module")
def everyone() -> tuple[Persona, ...]:
    return load_personas()


def test_the_shipped_people_have_no_holes(everyone: tuple[Persona, ...]) -> None:
    assert balance(everyone).holes == []
    for language in LANGUAGES:
        assert balance([p for p in everyone if p.language == language]).holes == [], language


@pytest.mark.parametrize("factor", FACTORS)
def test_a_level_removed_from_the_shipped_people_is_a_hole(
    everyone: tuple[Persona, ...], factor: str
) -> None:
    for value in FACTORS[factor].values:
        rest = [persona for persona in everyone if value not in FACTORS[factor].of(persona)]
        assert f"{factor} {value} (0 people)" in balance(rest).holes


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_crossing_removed_from_the_shipped_people_is_a_hole(
    everyone: tuple[Persona, ...], first: str, second: str
) -> None:
    x, y = FACTORS[first].values[0], FACTORS[second].values[-1]
    rest = [
        persona
        for persona in everyone
        if (x not in FACTORS[first].of(persona)) or (y not in FACTORS[second].of(persona))
    ]
    assert f"{first} {x} with {second} {y} (nobody)" in balance(rest).holes
