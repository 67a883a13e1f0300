import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.contexts import Message
from benchmarks.errors import DataError
from selfevo.pairs import PreferencePair, read_pairs, write_pairs
from tests.selfevo.candidates import CHOSEN_ZH, make_pair, make_provenance


def test_id_is_a_function_of_the_content() -> None:
    assert make_pair().id == make_pair().id
    assert len(make_pair().id) == 16


@pytest.mark.parametrize(
    "changes",
    [
        {"chosen": "Another reply."},
        {"turn": 5},
        {"gain_bits": None},
        {"provenance": make_provenance(round=2)},
        {"messages": (Message(role="user", content="Hi."),)},
    ],
)
def test_id_changes_with_the_content(changes: dict[str, object]) -> None:
    assert make_pair(**changes).id != make_pair().id


def test_a_pair_with_another_id_is_refused() -> None:
    with pytest.raises(ValidationError, match="does not belong to this content"):
        make_pair(id="0" * 16)


def test_messages_end_with_the_user() -> None:
    with pytest.raises(ValidationError, match="must end with the user's turn"):
        make_pair(messages=(Message(role="assistant", content="Hello."),))


def test_history_and_seeker_words() -> None:
    pair = make_pair()
    assert [m.content for m in pair.messages] == pair.history()
    assert pair.seeker_words() == [pair.history()[0], pair.history()[2]]


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [make_pair(), make_pair(chosen=CHOSEN_ZH, language="zh", gain_bits=None)]
    write_pairs(path, pairs)
    assert read_pairs(path) == pairs
    assert [p.name for p in tmp_path.iterdir()] == ["pairs.jsonl"]
    assert CHOSEN_ZH in path.read_text(encoding="utf-8")


@given(chosen=st.text(), gain=st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_survives_a_line(chosen: str, gain: float | None) -> None:
    pair = make_pair(chosen=chosen, gain_bits=gain)
    line = pair.model_dump_json()
    assert "\n" not in line
    assert PreferencePair.model_validate_json(line) == pair


def test_no_pairs_is_an_empty_file(tmp_path: Path) -> None:
    write_pairs(tmp_path / "pairs.jsonl", [])
    assert read_pairs(tmp_path / "pairs.jsonl") == []


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, [make_pair()])

    def failing() -> object:
        yield make_pair(turn=7)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_pairs(path, failing())  # type: ignore[arg-type]
    assert read_pairs(path) == [make_pair()]


def _line(**changes: object) -> str:
    return json.dumps(json.loads(make_pair().model_dump_json()) | changes)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_line(turn=-1), r"pairs.jsonl:2: field 'turn': Input should be greater than"),
        (_line(extra=1), r"pairs.jsonl:2: field 'extra': Extra inputs are not permitted"),
        (_line(chosen="tampered"), r"pairs.jsonl:2: .*was changed after it was written"),
        ("not json", r"pairs.jsonl:2: Invalid JSON"),
        ("", r"pairs.jsonl:2: Invalid JSON"),
        (_line(), r"pairs.jsonl:2: field 'id': the same pair stands in line 1"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{_line()}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_pairs(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        read_pairs(tmp_path / "none.jsonl")


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_bytes("好".encode("gbk"))
    with pytest.raises(DataError, match=r"pairs\.jsonl: is not UTF-8"):
        read_pairs(path)
