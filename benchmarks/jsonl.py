"""Rows of JSON files, read with errors that name the file, the line and the field.

The one place where a file becomes JSON objects: JSONL (one object a line), or one JSON array of
objects. It knows nothing about dialogues; the loaders ask a `Row` for the fields they need and get
either the value or a `DataError`. Fields that nobody asks for are left alone.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import DataError

NAMES_OF_TYPES = {
    type(None): "null",
    bool: "true/false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One JSON object and where it stands."""

    fields: Mapping[str, object]
    where: str
    """`file:line`, or `file[index]` in a JSON array."""

    prefix: str = ""
    """Path to this object inside its row, such as `dialog[3].`."""

    def error(self, field: str, what: str, fix: str) -> DataError:
        """Build the error for one field of this row."""
        return DataError(self.where, what, fix, field=self.prefix + field)

    def text(self, field: str) -> str:
        """Return a field that must be there and be text."""
        return self._checked(field, self._required(field))

    def optional_text(self, field: str) -> str | None:
        """Return a text field; missing, null and blank are all None."""
        value = self.fields.get(field)
        if value is None:
            return None
        return self._checked(field, value).strip() or None

    def texts(self, field: str) -> tuple[str, ...]:
        """Return an optional field that holds one text or a list of texts."""
        value = self.fields.get(field)
        values = value if isinstance(value, list) else [value]
        return tuple(self._checked(field, item) for item in values if item not in (None, ""))

    def row(self, field: str) -> "Row":
        """Return a field that must be an object."""
        return self._inner(field, self._required(field))

    def rows(self, field: str) -> list["Row"]:
        """Return a field that must be a list of objects, with at least one in it."""
        value = self._required(field)
        if not isinstance(value, list):
            raise self.error(field, f"is {_type_name(value)}", "make it a list of objects")
        if not value:
            raise self.error(field, "is empty", "remove this row or fill the list")
        return [self._inner(f"{field}[{index}]", item) for index, item in enumerate(value)]

    def _required(self, field: str) -> object:
        if field not in self.fields:
            known = ", ".join(sorted(self.fields)[:8]) or "nothing"
            raise self.error(field, f"is missing (the row has {known})", "add it")
        return self.fields[field]

    def _checked(self, field: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.error(field, f"is {_type_name(value)}", "make it text")
        return value

    def _inner(self, field: str, value: object) -> "Row":
        if not isinstance(value, dict):
            raise self.error(field, f"is {_type_name(value)}", "make it an object")
        return Row(value, self.where, f"{self.prefix}{field}.")


def read_rows(path: Path) -> list[Row]:
    """Read every object of a JSONL file or of a JSON array; none at all is an error."""
    raw = _read_bytes(path)
    is_array = raw.lstrip()[:1] == b"["
    rows = list(_array_rows(raw, path) if is_array else _line_rows(raw, path))
    if not rows:
        raise DataError(str(path), "the file is empty", "write one JSON object a line into it")
    return rows


def parse_object(text: str, where: str, field: str | None = None) -> dict[str, object]:
    """Parse the text of one JSON object."""
    value = _parse(text, where, field)
    if not isinstance(value, dict):
        what = f"is {_type_name(value)}, not a JSON object"
        raise DataError(where, what, "write one object {...} a line", field=field)
    return value


def _line_rows(raw: bytes, path: Path) -> Iterator[Row]:
    # Split on b"\n" alone: str.splitlines would also split inside texts that hold U+2028.
    for number, line in enumerate(raw.split(b"\n"), start=1):
        where = f"{path}:{number}"
        text = _decode(line, where)
        if text.strip():
            yield Row(parse_object(text, where), where)


def _array_rows(raw: bytes, path: Path) -> Iterator[Row]:
    for number, line in enumerate(raw.split(b"\n"), start=1):
        _decode(line, f"{path}:{number}")
    values = _parse(_decode(raw, str(path)), str(path), None)
    assert isinstance(values, list)  # the first character was "["
    for index, value in enumerate(values):
        where = f"{path}[{index}]"
        if not isinstance(value, dict):
            raise DataError(where, f"is {_type_name(value)}", "make it an object {...}")
        yield Row(value, where)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except FileNotFoundError:
        raise DataError(str(path), "no such file or directory", "check the path") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(str(path), f"cannot be read ({reason})", "check the path") from error


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.object[error.start]:#04x} at column {error.start + 1})"
        raise DataError(where, what, "save the file as UTF-8") from error


def _parse(text: str, where: str, field: str | None) -> object:
    fix = "write one JSON object a line (JSONL), or one JSON array of objects"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = (
            f"line {error.lineno} column {error.colno}" if "\n" in text else f"column {error.colno}"
        )
        raise DataError(where, f"is not JSON ({error.msg} at {at})", fix, field=field) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; deep nesting
        reason = str(error).split(";")[0]
        raise DataError(where, f"is not usable JSON ({reason})", fix, field=field) from error


def _type_name(value: object) -> str:
    return NAMES_OF_TYPES.get(type(value), type(value).__name__)
