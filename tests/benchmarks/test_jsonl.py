from pathlib import Path

import pytest

from benchmarks.errors import DataError
from benchmarks.jsonl import Row, read_rows


def write(folder: Path, content: str | bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_keep_their_numbers_across_blank_lines(tmp_path: Path) -> None:
    path = write(tmp_path, '{"a": "1"}\n\n{"a": "2"}\r\n')
    assert [(row.where, row.text("a")) for row in read_rows(path)] == [
        (f"{path}:1", "1"),
        (f"{path}:3", "2"),
    ]


def test_an_array_is_read_with_indices(tmp_path: Path) -> None:
    path = write(tmp_path, '\n[{"a": "1"},\n {"a": "2"}]')
    assert [row.where for row in read_rows(path)] == [f"{path}[0]", f"{path}[1]"]


def test_a_byte_order_mark_is_not_data(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, b'\xef\xbb\xbf{"a": "1"}'))[0].text("a") == "1"


def test_a_line_separator_inside_a_text_does_not_end_the_line(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, '{"a": "x\u2028y"}'))[0].text("a") == "x\u2028y"


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["rows.jsonl: the file is empty", "write one JSON object a line"]),
        (" \n\n", ["rows.jsonl: the file is empty"]),
        ("[]", ["rows.jsonl: the file is empty"]),
        (
            '{"a": 1}\n{"a": \n',
            ["rows.jsonl:2: is not JSON (Expecting value at column 7)", "JSONL"],
        ),
        ('[{"a": 1},\n {"a" 2}]', ["rows.jsonl: is not JSON", "at line 2 column 7"]),
        ('{"a": 1}\n["b"]', ["rows.jsonl:2: is a list, not a JSON object"]),
        ('[{"a": 1}, 7]', ["rows.jsonl[1]: is a number; make it an object"]),
        (b'{"a": "x"}\n{"a": "\xff"}', ["rows.jsonl:2: is not UTF-8 (byte 0xff at column 8)"]),
        (
            b'[{"a": "x"},\n{"a": "\xe9"}]',
            ["rows.jsonl:2: is not UTF-8 (byte 0xe9", "save the file"],
        ),
        ('{"a": "x"}\n'.encode("utf-16"), ["rows.jsonl:1: is not UTF-8"]),
        ("[" * 100_000, ["rows.jsonl: is not usable JSON"]),
        ('{"a": ' + "9" * 5000 + "}", ["rows.jsonl:1: is not usable JSON"]),
    ],
)
def test_a_damaged_file_is_named_with_its_line(
    tmp_path: Path, content: str | bytes, parts: list[str]
) -> None:
    with pytest.raises(DataError) as caught:
        read_rows(write(tmp_path, content))
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"nowhere\.jsonl: no such file or directory; check the path"
    ):
        read_rows(tmp_path / "nowhere.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_rows(tmp_path)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda row: row.text("b"), "f:1: field 'b': is missing (the row has a, list, o); add it"),
        (lambda row: row.text("list"), "f:1: field 'list': is a list; make it text"),
        (lambda row: row.optional_text("a"), "f:1: field 'a': is a number; make it text"),
        (lambda row: row.texts("a"), "f:1: field 'a': is a number; make it text"),
        (lambda row: row.row("a"), "f:1: field 'a': is a number; make it an object"),
        (lambda row: row.rows("o"), "f:1: field 'o': is an object; make it a list of objects"),
        (lambda row: row.rows("list"), "f:1: field 'list[1]': is null; make it an object"),
        (
            lambda row: row.row("o").rows("empty"),
            "f:1: field 'o.empty': is empty; remove this row or fill the list",
        ),
        (
            lambda row: row.row("o").row("inner").text("x"),
            "f:1: field 'o.inner.x': is true/false; make it text",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_path(read, message: str) -> None:  # type: ignore[no-untyped-def]
    row = Row({"a": 1, "list": [{}, None], "o": {"empty": [], "inner": {"x": True}}}, "f:1")
    with pytest.raises(DataError) as caught:
        read(row)
    assert str(caught.value) == message


def test_optional_fields_may_be_missing_null_or_blank() -> None:
    row = Row(
        {"null": None, "blank": "  ", "text": " x ", "one": "x", "many": ["x", "", "y"]}, "f:1"
    )
    assert [row.optional_text(name) for name in ("none", "null", "blank", "text")] == [
        None,
        None,
        None,
        "x",
    ]
    assert [row.texts(name) for name in ("none", "null", "one", "many")] == [
        (),
        (),
        ("x",),
        ("x", "y"),
    ]
