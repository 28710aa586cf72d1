"""What file_processing finds out, in a child process, with bounded memory whatever the file's size."""

import codecs
import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from tasks_service.kinds.data_operations import Sum
from tasks_service.kinds.problems import FileNotText, ResultNotFinite
from tasks_service.kinds.tables import reported, typed_cells
from tasks_service.kinds.values import Report, answer, is_number

_BLOCK_BYTES: Final = 1024 * 1024
MAX_DISTINCT: Final = 500_000  # per file; beyond it `distinct` is a lower bound, and the profile says so
_SHOWN_CHARACTERS: Final = 200


def process(report: Report, *, file_id: str, operation: str, path: str) -> bytes:
    """The whole result of one job, as JSON."""
    result = _OPERATIONS[operation](Path(path), report)
    return orjson.dumps({"file_id": file_id, "operation": operation, "result": result})


def digest(path: Path, report: Report) -> dict[str, Any]:
    sha256, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            sha256.update(block)
            report(100 * file.tell() / max(1, size), None)
    return {"sha256": sha256.hexdigest(), "size_bytes": size}


def text_statistics(path: Path, report: Report) -> dict[str, Any]:
    """Lines end with LF or with the text; words are what white space separates; characters are code points.

    A byte order mark at the start is none of the text's.
    """
    decoder, size = codecs.getincrementaldecoder("utf-8-sig")(), path.stat().st_size
    lines = words = characters = 0
    in_word, last = False, ""
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK_BYTES)
            text = _decoded(decoder, block)
            characters += len(text)
            lines += text.count("\n")
            words += len(text.split()) - (in_word and bool(text) and not text[0].isspace())
            in_word, last = (not text[-1].isspace(), text[-1]) if text else (in_word, last)
            if not block:
                break
            report(100 * file.tell() / max(1, size), None)
    lines += last not in ("", "\n")
    return {"lines": lines, "words": words, "characters": characters, "bytes": size}


def _decoded(decoder: codecs.IncrementalDecoder, block: bytes) -> str:
    try:
        text = decoder.decode(block, final=not block)
    except UnicodeDecodeError:
        raise FileNotText from None
    if "\0" in text:
        raise FileNotText("The file contains NUL, so it is not text.")
    return text


class _Column:
    """One column's profile, made in one pass.

    `distinct` counts texts by their hashes, so that long ones cost no memory, and numbers as they are: -1 and -2 have
    one hash in Python.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.missing = self._present = self._integers = self._numbers = self._booleans = self._times = 0
        self._distinct: set[int | float] = set()
        self._sum = Sum()
        self._least: Any = None
        self._most: Any = None
        self._first: str | None = None
        self._last: str | None = None

    def add(self, value: Any, *, room: bool) -> bool:
        """Take in a cell's value; whether it was a new distinct one. Without `room` no new ones are counted."""
        if value is None:
            self.missing += 1
            return False
        self._present += 1
        if is_number(value):
            self._add_number(value)
        else:
            self._add_text(value)
        before = len(self._distinct)
        if room:
            self._distinct.add(value if is_number(value) else hash(value))
        return len(self._distinct) > before

    def _add_number(self, value: int | float) -> None:
        self._numbers += 1
        self._integers += isinstance(value, int)
        self._sum.add(value)
        self._least = value if self._least is None else min(self._least, value)
        self._most = value if self._most is None else max(self._most, value)

    def _add_text(self, value: str) -> None:
        self._booleans += value.lower() in ("true", "false")
        self._times += _is_time(value)
        self._first = value if self._first is None else min(self._first, value)
        self._last = value if self._last is None else max(self._last, value)

    @property
    def type(self) -> str:
        """The narrowest type that every present value has."""
        counts = {
            "integer": self._integers, "number": self._numbers, "boolean": self._booleans, "datetime": self._times
        }  # fmt: skip
        if not self._present:
            return "empty"
        return next((name for name, count in counts.items() if count == self._present), "text")

    def profile(self) -> dict[str, Any]:
        numeric = self.type in ("integer", "number")
        least, most = (self._least, self._most) if numeric else (_shown(self._first), _shown(self._last))
        return {
            "name": self.name,
            "type": self.type,
            "missing": self.missing,
            "distinct": len(self._distinct),
            "min": least,
            "max": most,
            "mean": self._mean() if numeric else None,
        }

    def _mean(self) -> int | float | None:
        """None if the numbers are too large to be summed; the rest of the profile is returned."""
        try:
            return answer(self._sum.total() / self._present)
        except ResultNotFinite:
            return None


def _shown(text: str | None) -> str | None:
    return None if text is None else text[:_SHOWN_CHARACTERS]


def _is_time(value: str) -> bool:
    """An ISO 8601 date or time, which sorts as text."""
    if len(value) < 8 or not value[0].isdigit():
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def csv_profile(path: Path, report: Report) -> dict[str, Any]:
    """Each column's type and range. Cells beyond the header are left out; a row that is too short has missing ones."""
    columns: list[_Column] = []
    rows = distinct = 0
    with path.open("rb") as file:
        for header, values in reported(typed_cells(file), file, report):
            if not values:
                columns = [_Column(name) for name in header]
                continue
            rows += 1
            for place, column in enumerate(columns):
                value = values[place] if place < len(values) else None
                distinct += column.add(value, room=distinct < MAX_DISTINCT)
    profile: dict[str, Any] = {"rows": rows, "columns": [column.profile() for column in columns]}
    return {**profile, "distinct_is_exact": distinct < MAX_DISTINCT}


_OPERATIONS: Final[dict[str, Callable[[Path, Report], dict[str, Any]]]] = {
    "hash": digest,
    "text_statistics": text_statistics,
    "csv_profile": csv_profile,
}
