"""Values of rows, one idea of them for JSON and CSV: what is missing, what is a number, what comes before what."""

import math
import re
from collections.abc import Callable
from typing import Any, Final

import orjson

from tasks_service.kinds.problems import FieldNotNumeric, ResultNotFinite

Row = dict[str, Any]

Report = Callable[[float, str | None], None]
"""Reports the progress of work in a child process: percent from 0 to 100, and a short message."""

_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MISSING_WORDS: Final = frozenset({"", "nan", "null"})
_MAX_INTEGER: Final = 2**63 - 1


def of_cell(cell: str) -> Any:
    """A CSV cell as the JSON value that it spells.

    Missing (None) when empty, `NaN` or `null`. A number where JSON would read one, so 007 and 1_000 stay texts, as do
    numbers beyond what a float can hold.
    """
    cell = cell.strip()
    if cell.lower() in _MISSING_WORDS:
        return None
    match = _NUMBER.fullmatch(cell)
    if match is None:
        return cell
    if match[2] is None and match[3] is None and len(cell) < 20:
        return int(cell)
    number = float(cell)
    return number if math.isfinite(number) else cell


def is_number(value: Any) -> bool:
    """JSON's true and false are not numbers, though Python's are."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(value: Any, field: str, row: int) -> int | float:
    """The value to calculate with. Raises FieldNotNumeric, naming the row (from 1)."""
    if not is_number(value):
        raise FieldNotNumeric(f"Row {row} has no number in {field[:100]!r}.")
    found: int | float = value
    return found


def answer(value: int | float) -> int | float:
    """A calculated number as JSON can carry it: integers beyond 64 bits become floats. Raises ResultNotFinite."""
    try:
        result = float(value) if isinstance(value, float) or abs(value) > _MAX_INTEGER else value
    except OverflowError:
        raise ResultNotFinite from None
    if not math.isfinite(result):
        raise ResultNotFinite
    return result


def order(value: Any) -> tuple[int, Any]:
    """Sorts and groups values of any type: numbers, then texts, then booleans, then the rest by its JSON text.

    Values that are equal in JSON are equal here; true and 1 are not.
    """
    if is_number(value):
        return 0, value
    if isinstance(value, str):
        return 1, value
    if isinstance(value, bool):
        return 2, value
    return 3, orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
