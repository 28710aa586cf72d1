"""What data_processing calculates, in a child process: sum, average, min, max, median, count, group, filter, sort.

A value is missing when its key is absent, null, or an empty CSV cell. Missing values are left out of every
calculation, match no filter but `eq null`, and sort last; how many there were stands in the result as `missing`.
"""

import operator
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Protocol

import orjson

from tasks_service.kinds.problems import FieldNotInRows, ResultTooLarge
from tasks_service.kinds.tables import rows_of
from tasks_service.kinds.values import Report, Row, answer, number, order

MAX_MEDIAN_VALUES: Final = 5_000_000  # they are all held and sorted: about 200 MB
MAX_GROUPS: Final = 100_000


class Aggregate(Protocol):
    """Takes in numbers and says what they come to; None when there were none."""

    def add(self, value: int | float) -> None: ...
    def result(self) -> int | float | None: ...


class Count:
    def __init__(self) -> None:
        self.count = 0

    def add(self, value: object) -> None:
        self.count += 1

    def result(self) -> int:
        return self.count


class Sum(Count):
    """Exact for integers; floats by Neumaier's compensated summation, so that 0.1 ten times is 1."""

    def __init__(self) -> None:
        super().__init__()
        self._whole, self._float, self._lost = 0, 0.0, 0.0

    def add(self, value: int | float) -> None:  # type: ignore[override]  # numbers only
        self.count += 1
        if isinstance(value, int):
            self._whole += value
            return
        total = self._float + value
        larger, smaller = (self._float, value) if abs(self._float) >= abs(value) else (value, self._float)
        self._lost += (larger - total) + smaller
        self._float = total

    def total(self) -> int | float:
        if not self._float and not self._lost:
            return self._whole
        return answer(self._float + self._lost) + answer(self._whole)

    def result(self) -> int | float:  # type: ignore[override]  # a sum may be a float
        return answer(self.total())


class Average(Sum):
    def result(self) -> int | float | None:  # type: ignore[override]  # of nothing there is none
        return answer(_divided(self.total(), self.count)) if self.count else None


class Extreme:
    """The smallest or the largest."""

    def __init__(self, beats: Callable[[int | float, int | float], bool]) -> None:
        self._beats = beats
        self._best: int | float | None = None

    def add(self, value: int | float) -> None:
        if self._best is None or self._beats(value, self._best):
            self._best = value

    def result(self) -> int | float | None:
        return self._best


class Median:
    """The middle value; of an even count the mean of the two in the middle."""

    def __init__(self) -> None:
        self._values = array("d")
        self._whole = True

    def add(self, value: int | float) -> None:
        if len(self._values) == MAX_MEDIAN_VALUES:
            raise ResultTooLarge(f"The median of more than {MAX_MEDIAN_VALUES} values is not calculated.")
        self._whole = self._whole and isinstance(value, int) and abs(value) < 2**53
        self._values.append(value)

    def result(self) -> int | float | None:
        if not self._values:
            return None
        ordered, middle = sorted(self._values), len(self._values) // 2
        found = ordered[middle] if len(ordered) % 2 else ordered[middle - 1] / 2 + ordered[middle] / 2
        return int(found) if self._whole and found.is_integer() else answer(found)


AGGREGATES: Final[dict[str, Callable[[], Aggregate]]] = {
    "count": Count,
    "sum": Sum,
    "average": Average,
    "min": lambda: Extreme(operator.lt),
    "max": lambda: Extreme(operator.gt),
    "median": Median,
}


def _divided(total: int | float, count: int) -> int | float:
    return total / count


def process(
    report: Report,
    *,
    operation: str,
    field: str | None,
    parameters: dict[str, Any],
    max_bytes: int,
    rows: list[Row] | None = None,
    path: str = "",
    content_type: str = "",
) -> bytes:
    """The whole result of one job, as JSON."""
    source = _Source(iter(rows) if rows is not None else rows_of(path, content_type, report), field)
    if operation in AGGREGATES:
        result: Any = _aggregated(source, AGGREGATES[operation](), counts=operation == "count")
    elif operation == "group":
        result = _grouped(source, parameters["by"], parameters["aggregate"])
    elif operation == "filter":
        result = _collected(_filtered(source, parameters["op"], parameters.get("value")), max_bytes)
    else:
        result = _sorted(source, parameters.get("order", "asc"), max_bytes)
    source.check_field()
    answered = {"operation": operation, "field": field, "rows_read": source.rows_read, "missing": source.missing}
    return orjson.dumps({**answered, "result": result})


class _Source:
    """Counts the rows that pass and whether any of them has the field."""

    def __init__(self, rows: Iterator[Row], field: str | None) -> None:
        self._rows, self._field = rows, field
        self._seen = field is None
        self.rows_read = self.missing = 0

    def __iter__(self) -> Iterator[tuple[int, Row, Any]]:
        """Each row with its number (from 1) and the field's value, None where that is missing."""
        for row in self._rows:
            self.rows_read += 1
            value = None
            if self._field is not None:
                self._seen = self._seen or self._field in row
                value = row.get(self._field)
                self.missing += value is None
            yield self.rows_read, row, value

    @property
    def field(self) -> str:
        return self._field or ""

    def check_field(self) -> None:
        if not self._seen and self.rows_read:
            raise FieldNotInRows(f"None of the {self.rows_read} rows has {self.field[:100]!r}.")


def _aggregated(source: _Source, aggregate: Aggregate, *, counts: bool) -> int | float | None:
    for place, _, value in source:
        if counts and (value is not None or not source.field):
            aggregate.add(1)
        elif not counts and value is not None:
            aggregate.add(number(value, source.field, place))
    return aggregate.result()


def _grouped(source: _Source, by: str, aggregate: str) -> list[dict[str, Any]]:
    """A line for each value of `by`, in the order in which they first appear; rows without it are under null."""
    groups: dict[tuple[int, Any], tuple[Any, Count, Aggregate]] = {}
    known = False
    for place, row, value in source:
        known = known or by in row
        key = row.get(by)
        if order(key) not in groups and len(groups) == MAX_GROUPS:
            raise ResultTooLarge(f"There are more than {MAX_GROUPS} groups.")
        _, rows, group = groups.setdefault(order(key), (key, Count(), AGGREGATES[aggregate]()))
        rows.add(1)
        if aggregate == "count" and (value is not None or not source.field):
            group.add(1)
        elif aggregate != "count" and value is not None:
            group.add(number(value, source.field, place))
    if groups and not known:
        raise FieldNotInRows(f"None of the {source.rows_read} rows has {by[:100]!r}.")
    return [{"key": key, "value": group.result(), "rows": rows.count} for key, rows, group in groups.values()]


_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}


def _filtered(source: _Source, op: str, wanted: Any) -> Iterator[Row]:
    for _, row, value in source:
        if _matches(value, op, wanted):
            yield row


def _matches(value: Any, op: str, wanted: Any) -> bool:
    """Values of different types are unequal and never above or below each other."""
    if op == "eq":
        return order(value) == order(wanted)
    if op == "ne":
        return order(value) != order(wanted) and (value is not None or wanted is None)
    if value is None or wanted is None:
        return False
    if op == "contains":
        if isinstance(value, list):
            return any(order(item) == order(wanted) for item in value)
        return isinstance(value, str) and isinstance(wanted, str) and wanted in value
    (left_type, left), (right_type, right) = order(value), order(wanted)
    return left_type == right_type and left_type < 2 and _COMPARISONS[op](left, right)


def _sorted(source: _Source, direction: str, max_bytes: int) -> list[Row]:
    """Stable; rows without the field come last in either direction."""
    rows = _collected((row for _, row, _ in source), max_bytes)
    present = [row for row in rows if row.get(source.field) is not None]
    absent = [row for row in rows if row.get(source.field) is None]
    present.sort(key=lambda row: order(row[source.field]), reverse=direction == "desc")
    return present + absent


def _collected(rows: Iterable[Row], max_bytes: int) -> list[Row]:
    """The rows, as long as their JSON stays below the bound. Raises ResultTooLarge before memory does."""
    kept: list[Row] = []
    size = 0
    for row in rows:
        size += len(orjson.dumps(row)) + 1
        if size > max_bytes:
            raise ResultTooLarge(f"More than {max_bytes} bytes of rows would come out.")
        kept.append(row)
    return kept
