"""Rows of CSV files as `jsonl.Row`s, so that an error names the file, the line and the column.

Columns without a name (the index that pandas writes) are left out. Cells are text: what is a number
is for the loader to say, and a conversation id of twenty digits stays what it is.
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from benchmarks.errors import DataError
from benchmarks.jsonl import Row

UNNAMED = "Unnamed:"
"""How pandas names a column without a name when it reads and writes it again."""


def read_csv(path: Path) -> list[Row]:
    """Read every row of a CSV file with a header; none at all is an error."""
    text = _read_text(path)
    lines = list(_csv_lines(text, path))
    header = _header(path, lines[0][1]) if lines else []
    rows = [_row(path, line, header, cells) for line, cells in lines[1:] if any(cells)]
    if not rows:
        raise DataError(str(path), "the file has no rows", "write a header and a row an item")
    return rows


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each record, with the line on which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        where = f"{path}:{begins}"
        raise DataError(
            where, f"is not CSV ({error})", "quote texts with commas or lines"
        ) from error


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name and names.count(name) > 1:
            raise DataError(f"{path}:1", "is there twice", "name every column once", field=name)
    return names


def _row(path: Path, line: int, header: list[str], cells: list[str]) -> Row:
    where = f"{path}:{line}"
    if len(cells) != len(header):
        what = f"has {len(cells)} cells, the header has {len(header)}"
        raise DataError(where, what, "give every row a cell a column")
    named = zip(header, cells, strict=True)
    return Row({n: c.strip() for n, c in named if n and not n.startswith(UNNAMED)}, where)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(str(path), "no such file or directory", "check the path") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(str(path), f"cannot be read ({reason})", "check the path") from error
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 (byte {error.object[error.start]:#04x} at {error.start})"
        raise DataError(str(path), what, "save the file as UTF-8") from error
