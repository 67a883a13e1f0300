import json
import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.errors import DataError
from benchmarks.instructions import Instruction, load_instructions, split_instructions


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Add.", "input": "2 and 3", "output": "5"},
        {"prompt": "Add.", "input": "2 and 3", "response": " 5\n"},
        {"instruction": "Add.", "instances": [{"input": "2 and 3", "output": "5"}]},
        {"instruction": "Add.", "input": "2 and 3", "output": "5", "language": "en", "id": 3},
    ],
)
def test_the_common_field_names_mean_the_same(row: dict[str, object], tmp_path: Path) -> None:
    [item] = load_instructions("jsonl", path=write(tmp_path / "x.jsonl", row))
    assert item == Instruction(instruction="Add.", input="2 and 3", output="5")
    assert item.prompt() == "Add.\n\n2 and 3"


@pytest.mark.parametrize("nothing", [{}, {"input": ""}, {"input": None}])
def test_an_instruction_without_input_is_the_prompt(
    nothing: dict[str, object], tmp_path: Path
) -> None:
    row = {"instruction": "Sing.", "output": "La", **nothing}
    [item] = load_instructions("jsonl", path=write(tmp_path / "x.jsonl", row))
    assert item.prompt() == "Sing."


def test_duplicates_count_once_and_only_the_language_asked_for(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Sing.", "output": "La"},
        {"instruction": "Sing.", "output": "La"},
        {"instruction": "唱", "output": "啦", "language": "zh"},
    ]
    path = write(tmp_path / "x.jsonl", *rows)
    assert [i.output for i in load_instructions("jsonl", path=path)] == ["La"]
    assert [i.output for i in load_instructions("jsonl", path=path, language="zh")] == ["啦"]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"output": "5"}, "x.jsonl:2: field 'instruction': is missing"),
        ({"instruction": "Add."}, "x.jsonl:2: field 'output': is missing"),
        ({"instruction": "Add.", "output": " "}, "x.jsonl:2: field 'output': is blank"),
        ({"instruction": 3, "output": "5"}, "x.jsonl:2: field 'instruction': is a number"),
        ({"instruction": "Add.", "output": "5", "language": "de"}, "field 'language': is 'de'"),
        ({"instruction": "Add.", "instances": []}, "field 'instances': is empty"),
        (
            {"instruction": "Add.", "instances": [{"input": "2"}]},
            "x.jsonl:2: field 'instances[0].output': is missing",
        ),
    ],
)
def test_a_wrong_row_is_named_with_its_field(
    row: dict[str, object], told: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "x.jsonl", {"instruction": "Sing.", "output": "La"}, row)
    with pytest.raises(DataError, match=re.escape(told)):
        load_instructions("jsonl", path=path)


def test_a_source_and_its_path_belong_together(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'jsonl': has no path"):
        load_instructions("jsonl")
    with pytest.raises(DataError, match=r"mine.jsonl: the starter instructions have no path"):
        load_instructions("starter", path="mine.jsonl")
    with pytest.raises(DataError, match="no such file"):
        load_instructions("jsonl", path=str(tmp_path / "absent.jsonl"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_starter_set_has_enough_to_hold_out_and_to_replay(language: str) -> None:
    items = load_instructions("starter", language="zh" if language == "zh" else "en")
    assert len(items) >= 36
    assert {item.language for item in items} == {language}


items = st.lists(
    st.builds(Instruction, instruction=st.text(min_size=1), output=st.text(min_size=1)),
    max_size=12,
    unique_by=lambda item: item.id,
)


@settings(deadline=None)
@given(items, st.integers(0, 14), st.integers(0, 3), st.randoms())
def test_the_split_is_a_partition_whatever_the_order(
    items: list[Instruction], heldout: int, seed: int, random: Random
) -> None:
    split = split_instructions(items, heldout=heldout, seed=seed)
    assert len(split.heldout) == min(heldout, len(items))
    ids = [item.id for item in (*split.heldout, *split.replay)]
    assert sorted(ids) == sorted(item.id for item in items)
    shuffled = list(items)
    random.shuffle(shuffled)
    assert split_instructions(shuffled, heldout=heldout, seed=seed) == split


def test_another_seed_holds_out_others() -> None:
    starter = load_instructions("starter")
    one = split_instructions(starter, heldout=24, seed=7).heldout
    assert set(one) != set(split_instructions(starter, heldout=24, seed=8).heldout)
