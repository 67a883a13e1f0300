import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.contexts import Context
from benchmarks.dialogues import load_dialogues
from benchmarks.errors import DataError
from benchmarks.heldout import (
    heldout_contexts,
    other_people,
    read_contexts,
    sample_metadata,
    write_contexts,
)
from benchmarks.splits import split_dialogues

from .fakes import make_context

# ann and ben have two contexts each, interleaved
ANN, ANN_LATER = make_context("ann", "a"), make_context("ann", "a", "b", turn=5)
BEN, BEN_LATER = make_context("ben", "c"), make_context("ben", "c", "d", turn=5)
CAI, DOT = make_context("cai", "e"), make_context("dot", "f")
ALL = [ANN, BEN, CAI, ANN_LATER, BEN_LATER, DOT]


def starter(dialogues: int, per_dialogue: int = 2, seed: int = 7) -> list[Context]:
    return heldout_contexts(
        None,
        source="starter",
        path=None,
        language="en",
        dialogues=dialogues,
        per_dialogue=per_dialogue,
        seed=seed,
    )


@pytest.mark.parametrize(
    ("context", "n", "others"),
    [
        (ANN, 3, ["ben-3", "cai-3", "dot-3"]),
        (ANN, 1, ["ben-3"]),
        (ANN_LATER, 3, ["ben-5", "dot-3", "cai-3"]),  # one each, the next ones, round the end
        (DOT, 2, ["ann-3", "ben-3"]),
    ],
)
def test_other_people_are_the_next_ones_in_the_file(
    context: Context, n: int, others: Sequence[str]
) -> None:
    assert [other.id for other in other_people(ALL, context, n)] == others


@pytest.mark.parametrize("context", ALL, ids=lambda context: context.id)
def test_nobody_is_compared_with_themselves_or_twice_with_another(context: Context) -> None:
    people = [other.dialogue_id for other in other_people(ALL, context, 3)]
    assert context.dialogue_id not in people
    assert len(set(people)) == 3


def test_too_few_other_people_are_an_error() -> None:
    with pytest.raises(DataError, match=r"ann-3: only 3 other people .*; hold out at least 5"):
        other_people(ALL, ANN, 4)


def test_contexts_survive_the_disk_with_any_text(tmp_path: Path) -> None:
    # characters at which str.splitlines would cut a line of JSON
    odd = make_context("eve", "one\u2028two\x85three\nfour\u2029", "「我」\x0b\x1c")
    write_contexts(tmp_path / "x.jsonl", [ANN, odd])
    assert read_contexts(tmp_path / "x.jsonl") == [ANN, odd]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "x"', "x.jsonl:2: is not JSON"),
        ('{"id": "x"}', "x.jsonl:2: field 'dialogue_id': Field required"),
        (ANN.model_dump_json().replace('"turn":3', '"turn":"third"'), "field 'turn'"),
        (
            json.dumps({**ANN.model_dump(), "messages": [{"role": "judge", "content": "a"}]}),
            "x.jsonl:2: field 'messages.0.role'",
        ),
    ],
)
def test_a_wrong_line_is_named_with_its_field(line: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f"{BEN.model_dump_json()}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape(told)):
        read_contexts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent.jsonl: no such file"):
        read_contexts(tmp_path / "absent.jsonl")


def test_drawn_people_are_of_the_gate_split_and_no_other() -> None:
    splits = split_dialogues(load_dialogues("starter", language="en").dialogues, seed=7)
    drawn = starter(dialogues=12)
    people = {context.dialogue_id for context in drawn}
    assert len(people) == 12
    assert len(drawn) == 24
    assert people <= {dialogue.id for dialogue in splits.gate}


def test_more_people_than_there_are_gives_all_of_them() -> None:
    splits = split_dialogues(load_dialogues("starter", language="en").dialogues, seed=7)
    everyone = starter(dialogues=10_000, per_dialogue=1)
    assert {c.dialogue_id for c in everyone} == {dialogue.id for dialogue in splits.gate}


def test_the_draw_does_not_depend_on_the_order_of_the_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = starter(dialogues=12)
    loaded = load_dialogues("starter", language="en")
    backwards = loaded._replace(dialogues=loaded.dialogues[::-1])
    monkeypatch.setattr("benchmarks.heldout.load_dialogues", lambda *_, **__: backwards)
    assert starter(dialogues=12) == before


def test_more_people_keep_those_drawn_before() -> None:
    few = {context.dialogue_id for context in starter(dialogues=6)}
    assert few < {context.dialogue_id for context in starter(dialogues=12)}


def test_a_file_of_contexts_is_taken_as_it_is(tmp_path: Path) -> None:
    write_contexts(tmp_path / "x.jsonl", ALL)
    found = heldout_contexts(
        str(tmp_path / "x.jsonl"),
        source="esconv",
        path=None,
        language="zh",
        dialogues=1,
        per_dialogue=1,
        seed=1,
    )
    assert found == ALL


def test_metadata_names_the_person() -> None:
    assert sample_metadata(ANN_LATER)["dialogue_id"] == "ann"
