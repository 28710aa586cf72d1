"""Rows out of CSV and JSON files, a row at a time, so that memory stays bounded whatever the file's size."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

import orjson

from tasks_service.kinds.problems import FileNotTabular, FileNotText, FileTooLarge
from tasks_service.kinds.values import Report, Row, of_cell

MAX_JSON_BYTES: Final = 32 * 1024 * 1024  # what is parsed whole (a list, a line) takes about ten times its size
MAX_JSON_DEPTH: Final = 64  # as in a request's body; a result nested more deeply could not be written
MAX_ROW_CHARACTERS: Final = 1024 * 1024
MAX_COLUMNS: Final = 10_000
_DELIMITERS: Final = ",;\t|"
_REPORT_ROWS: Final = 5000


def rows_of(path: str, content_type: str, report: Report) -> Iterator[Row]:
    """The file's rows: CSV by its header, a JSON list of objects, or an object a line.

    Raises FileNotText, FileNotTabular or FileTooLarge.
    """
    with Path(path).open("rb") as file:
        start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        file.seek(0)
        if "json" in content_type or start in (b"[", b"{"):
            rows = json_lines(file) if start == b"{" else json_list(file)
        else:
            rows = (dict(zip(header, cells, strict=False)) for header, cells in typed_cells(file) if cells)
        yield from reported(rows, file, report)


def reported(rows: Iterator[Any], file: IO[bytes], report: Report) -> Iterator[Any]:
    """Yield the rows, and report every few thousand how much of the file was read."""
    size = max(1, file.seek(0, io.SEEK_END))
    file.seek(0)
    for count, row in enumerate(rows, 1):
        if count % _REPORT_ROWS == 0:
            report(min(99.0, 100 * file.tell() / size), f"{count} rows read")
        yield row


def typed_cells(file: IO[bytes]) -> Iterator[tuple[list[str], list[Any]]]:
    """Each row's cells as values, beside the header; the header comes first, without cells."""
    for header, cells in csv_cells(file):
        yield header, [of_cell(cell) for cell in cells]


def csv_cells(file: IO[bytes]) -> Iterator[tuple[list[str], list[str]]]:
    """Each row's cells as texts, beside the header; the header comes first, without cells. Empty lines are left out."""
    with decoded(file) as text:
        lines = _Lines(text)
        first = next(lines, "")
        delimiter = max(_DELIMITERS, key=first.count)
        header: list[str] = []
        try:
            for cells in csv.reader(chain((first,), lines), delimiter=delimiter):
                lines.next_row()
                if header and cells:
                    yield header, cells
                elif cells:
                    header = _names(cells)
                    yield header, []
        except csv.Error:
            raise FileNotTabular("The file is not readable as CSV.") from None


class _Lines:
    """The lines of a CSV file, which is told where each row begins: a row that goes on and on is no row.

    Raises FileNotTabular before such a row fills the memory, whether in one line or, quoted, over many.
    """

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text
        self._room = MAX_ROW_CHARACTERS

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(self._room + 1)
        if not line:
            raise StopIteration
        self._room -= len(line)
        if self._room < 0:
            raise FileNotTabular(f"A row has more than {MAX_ROW_CHARACTERS} characters.")
        return line

    def next_row(self) -> None:
        self._room = MAX_ROW_CHARACTERS


@contextmanager
def decoded(file: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    """The file as text, its line ends as they are; the file stays open. Raises FileNotText."""
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        yield lines
    except UnicodeDecodeError:
        raise FileNotText from None
    finally:
        if not file.closed:  # by a reader of some rows, before the generators that it leaves behind end
            lines.detach()


def _names(cells: list[str]) -> list[str]:
    """A name for each column: an empty one is called by its number, a repeated one gets it as a suffix."""
    if len(cells) > MAX_COLUMNS:
        raise FileNotTabular(f"The header has more than {MAX_COLUMNS} columns.")
    names: dict[str, None] = {}
    for place, cell in enumerate(cells, 1):
        name = cell.strip() or f"column_{place}"
        while name in names:
            name = f"{name}_{place}"
        names[name] = None
    return list(names)


def json_list(file: IO[bytes]) -> Iterator[Row]:
    content = file.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise FileTooLarge(f"A JSON list may have {MAX_JSON_BYTES} bytes; put one object on each line to go beyond.")
    rows = _parsed(content)
    if not isinstance(rows, list):
        raise FileNotTabular
    for row in rows:
        yield _object(row)


def json_lines(file: IO[bytes]) -> Iterator[Row]:
    while line := file.readline(MAX_JSON_BYTES + 1):
        if len(line) > MAX_JSON_BYTES:
            raise FileTooLarge(f"A line of JSON may have {MAX_JSON_BYTES} bytes.")
        if line.strip():
            yield _object(_parsed(line))


def _parsed(content: bytes) -> Any:
    try:
        return orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        raise FileNotTabular("The file is not readable as JSON.") from None


def _object(row: Any) -> Row:
    if not isinstance(row, dict):
        raise FileNotTabular("Each row must be a JSON object.")
    if not _within(MAX_JSON_DEPTH, row):
        raise FileNotTabular(f"A row is nested more than {MAX_JSON_DEPTH} levels deep.")
    return row


def _within(levels: int, value: dict[str, Any] | list[Any]) -> bool:
    items = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_within(levels - 1, item) for item in items if isinstance(item, dict | list))
