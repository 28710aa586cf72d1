"""Lists: opaque cursors over a keyset, page mode, sorting and ranges, one grammar for every list.

A cursor holds the sort and the last row's values, so a list can be walked while rows come and go: nothing twice,
nothing left out. It also holds a digest of what it was made for: the list, its tenant and its filters.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache, partial
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from shared.field_errors import NUL_CHARACTER, FieldRule
from shared.problems import InvalidInput
from shared.web.times import Moment

T = TypeVar("T")
Columns = Mapping[str, InstrumentedAttribute[Any]]

_MAX_LIMIT = 200
_DEFAULT_LIMIT = 50
MAX_PAGED: Final = 10_000
"""How deep page mode reaches, and how far it counts: the database reads what it skips."""
_BIG: Final = "bigint"
_VALUES: Final[Mapping[Any, Any]] = {
    datetime: Moment,
    str: Annotated[str, Field(strict=True, pattern=r"^[^\x00]*$")],
    int: Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)],
    _BIG: Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)],
}
"""The types of a cursor's values: a client may write anything, and PostgreSQL would refuse what it cannot store."""

INVALID_CURSOR: Final = FieldRule(
    "invalid_cursor",
    "Must be the `next_cursor` of the previous page, unchanged, of the same list with the same filters and `sort`.",
)
ONE_MODE: Final = FieldRule("one_mode", "Send either `cursor` and `limit`, or `page` and `size`.")
PAGE_TOO_DEEP: Final = FieldRule("page_too_deep", "Pages reach to row 10,000; use `cursor` and `limit`, or filter.")
INVALID_SORT: Final = FieldRule("invalid_sort", "Must be one or more of {fields}, each once.")


class PageQuery(BaseModel):
    """The query parameters of every list, and all that a list in memory takes."""

    model_config = ConfigDict(extra="forbid")

    cursor: str | None = Field(default=None, max_length=1024, description="The `next_cursor` of the previous page.")
    limit: int = Field(default=_DEFAULT_LIMIT, ge=1, le=_MAX_LIMIT)

    @field_validator("*")
    @classmethod
    def _can_be_stored(cls, value: Any) -> Any:
        if any(isinstance(text, str) and "\0" in text for text in (value if isinstance(value, list) else [value])):
            raise NUL_CHARACTER.broken()
        return value


class ListQuery(PageQuery):
    """The query parameters of every list of rows; a list adds its own filters by extending it."""

    sort: str = Field(default="-created_at", max_length=200, description="Fields, `-` for descending: -created_at,name")
    created_after: Moment | None = None
    created_before: Moment | None = None


class PagedQuery(ListQuery):
    """The query parameters of a list that has page mode besides: `page` or `size` selects it."""

    page: int | None = Field(default=None, ge=1, description="The number of the page, from 1; page mode.")
    size: int | None = Field(
        default=None, ge=1, le=_MAX_LIMIT, description="Rows of a page, 50 if left out; page mode."
    )

    @property
    def numbered(self) -> bool:
        return self.page is not None or self.size is not None

    @property
    def number(self) -> int:
        return self.page or 1

    @property
    def rows_a_page(self) -> int:
        return self.size or _DEFAULT_LIMIT


class CursorPage(BaseModel, Generic[T]):
    items: list[T]
    next_cursor: str | None = Field(description="Null on the last page.", examples=["WyJlMGY2…"])


class Pagination(BaseModel):
    """Where a page is. `total` counts to 10,000: with `total_is_estimate` there are more."""

    page: int
    size: int
    total: int
    pages: int
    has_next: bool
    has_prev: bool
    total_is_estimate: bool = False


class NumberedPage(BaseModel, Generic[T]):
    items: list[T]
    pagination: Pagination


async def by_cursor(
    db: AsyncSession,
    rows: Select[T],
    query: ListQuery,
    sortable: Columns,
    tie: InstrumentedAttribute[UUID],
    *,
    within: UUID | None = None,
) -> tuple[Sequence[T], str | None]:
    """One page of `rows` and the cursor of the next (None on the last). `sortable` names the allowed sort fields.

    `tie` is a unique column that makes the order total. `within` is the object that the list belongs to, such as a
    room; the tenant is the transaction's. Raises InvalidInput for an invalid sort or cursor.
    """
    scope = partial(_scope, query, tie.class_.__tablename__, db.info.get("tenant_id"), within)
    order = _order(query.sort, sortable)
    if "created_at" in sortable:
        rows = _in_range(rows, query, sortable["created_at"])
    if query.cursor is not None:
        rows = rows.where(_after(order, tie, _decoded(query.cursor, scope(), query.sort)))
    ordering = [column.desc() if descending else column.asc() for _, column, descending in order]
    found = (await db.scalars(rows.order_by(*ordering, tie.asc()).limit(query.limit + 1))).all()
    if len(found) <= query.limit:
        return found, None
    last = found[query.limit - 1]
    values = [getattr(last, column.key) for _, column, _ in order]
    return found[: query.limit], _encoded(scope(), query.sort, [*values, getattr(last, tie.key)])


def by_name(items: Iterable[T], query: PageQuery, name: Callable[[T], str]) -> tuple[list[T], str | None]:
    """One page of `items`, which are in memory and have unique names, and the cursor of the next."""
    scope = _scope(query, "names")
    after = _decoded(query.cursor, scope, "name") if query.cursor is not None else [""]
    if len(after) != 1 or not isinstance(after[0], str):
        raise _cursor_refused()
    left = sorted((item for item in items if name(item) > after[0]), key=name)
    page = left[: query.limit]
    return page, _encoded(scope, "name", [name(page[-1])]) if len(left) > len(page) else None


async def by_page(db: AsyncSession, rows: Select[T], page: int, size: int) -> tuple[Sequence[T], Pagination]:
    """Page `page` (from 1) of `size` rows, with the total up to MAX_PAGED."""
    counted = rows.order_by(None).limit(MAX_PAGED + 1).subquery()
    total = await db.scalar(select(func.count()).select_from(counted)) or 0
    found = (await db.scalars(rows.limit(size).offset((page - 1) * size))).all()
    known = min(total, MAX_PAGED)
    pages = -(-known // size)
    return found, Pagination(
        page=page,
        size=size,
        total=known,
        pages=pages,
        has_next=page < pages,
        has_prev=page > 1 and known > 0,
        total_is_estimate=total > MAX_PAGED,
    )


async def by_query(
    db: AsyncSession, rows: Select[T], query: PagedQuery, sortable: Columns, tie: InstrumentedAttribute[UUID]
) -> tuple[Sequence[T], str | Pagination | None]:
    """One page of `rows` in the mode that the query asks for: with the next cursor, or with the pagination.

    Raises InvalidInput as `by_cursor`, for both modes at once, and for a page too deep.
    """
    if not query.numbered:
        return await by_cursor(db, rows, query, sortable, tie)
    if {"cursor", "limit"} & query.model_fields_set:
        raise InvalidInput(errors=[ONE_MODE.at(parameter="page")])
    if query.number * query.rows_a_page > MAX_PAGED:
        raise InvalidInput(errors=[PAGE_TOO_DEEP.at(parameter="page")])
    order = [column.desc() if descending else column.asc() for _, column, descending in _order(query.sort, sortable)]
    if "created_at" in sortable:
        rows = _in_range(rows, query, sortable["created_at"])
    return await by_page(db, rows.order_by(*order, tie.asc()), query.number, query.rows_a_page)


def shown_page(items: list[T], following: str | Pagination | None) -> CursorPage[T] | NumberedPage[T]:
    """The answer of a list in the mode of `by_query`."""
    if isinstance(following, Pagination):
        return NumberedPage(items=items, pagination=following)
    return CursorPage(items=items, next_cursor=following)


_Order = list[tuple[str, InstrumentedAttribute[Any], bool]]


def _order(sort: str, sortable: Columns) -> _Order:
    names = [name.strip() for name in sort.split(",") if name.strip()]
    order = [(name.removeprefix("-"), name.startswith("-")) for name in names]
    if not order or any(name not in sortable for name, _ in order) or len({name for name, _ in order}) < len(order):
        fields = ", ".join(sorted(sortable))
        raise InvalidInput(errors=[INVALID_SORT.at(parameter="sort", fields=fields)])
    return [(name, sortable[name], descending) for name, descending in order]


def _in_range(rows: Select[T], query: ListQuery, created_at: InstrumentedAttribute[datetime]) -> Select[T]:
    if query.created_after is not None:
        rows = rows.where(created_at > query.created_after)
    if query.created_before is not None:
        rows = rows.where(created_at < query.created_before)
    return rows


def _after(order: _Order, tie: InstrumentedAttribute[UUID], values: list[Any]) -> ColumnElement[bool]:
    """Rows behind the cursor: behind in the first field, or equal in it and behind in the next, and so on."""
    columns = [(column, descending) for _, column, descending in order] + [(tie, False)]
    if len(values) != len(columns):
        raise _cursor_refused()
    alternatives = []
    for index, (column, descending) in enumerate(columns):
        value = _typed(column, values[index])
        equal = [before == _typed(before, values[place]) for place, (before, _) in enumerate(columns[:index])]
        alternatives.append(and_(*equal, column < value if descending else column > value))
    return or_(*alternatives)


def _typed(column: InstrumentedAttribute[Any], value: Any) -> Any:
    """The value as the column stores it. Raises InvalidInput for one that the column cannot hold."""
    try:
        return _adapter(_BIG if isinstance(column.type, BigInteger) else column.type.python_type).validate_python(value)
    except ValidationError:
        raise _cursor_refused() from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(_VALUES.get(kind, kind))


def _scope(query: PageQuery, *parts: object) -> str:
    """What a cursor is valid for: the list, its tenant and its filters."""
    filters = query.model_dump(mode="json", exclude={"cursor", "limit", "sort"})
    made_for = orjson.dumps([type(query).__name__, *parts, filters], default=str)
    return hashlib.blake2b(made_for, digest_size=8).hexdigest()


def _encoded(scope: str, sort: str, values: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([scope, sort, *values], default=str)).decode().rstrip("=")


def _decoded(cursor: str, scope: str, sort: str) -> list[Any]:
    try:
        decoded: Any = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        made_for, made_for_sort, *values = list(decoded)
    except (ValueError, TypeError):
        raise _cursor_refused() from None
    if (made_for, made_for_sort) != (scope, sort):
        raise _cursor_refused()
    return values


def _cursor_refused() -> InvalidInput:
    return InvalidInput(errors=[INVALID_CURSOR.at(parameter="cursor")])
