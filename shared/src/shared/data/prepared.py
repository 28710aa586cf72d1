"""Statements of a hot path: SQLAlchemy writes the SQL once, asyncpg runs it, in one round trip with its commit.

The ORM compiles, binds, fetches and maps at each call, and BEGIN and COMMIT are round trips of their own; a request
that runs thousands of times a second pays more for that than for the statement. `Database.first` runs these.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import asyncpg
from sqlalchemy import Label, Select
from sqlalchemy.dialects import postgresql
from sqlalchemy.inspection import inspect

from shared.data.models import Base

M = TypeVar("M", bound=Base)

Row = asyncpg.Record

_DIALECT: Final = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's


class Prepared:
    """One SELECT with `bindparam`s, as SQL. Writes are CTEs of it; PostgreSQL commits them with it."""

    def __init__(self, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
        self.sql: Final = str(compiled)
        self._names: Final[Sequence[str]] = compiled.positiontup or ()
        self._defaults: Final[Mapping[str, Any]] = compiled.params

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """The statement's arguments in order. `values` are those of its `bindparam`s, by name."""
        return [values[name] if name in values else self._defaults[name] for name in self._names]


class Columns(Generic[M]):
    """The columns of a model in a prepared statement's row, from `start` on; the next one's begin at `end`."""

    def __init__(self, model: type[M], start: int = 0) -> None:
        mapper = inspect(model)
        columns = model.__table__.columns
        self.all: Final[Sequence[Label[Any]]] = [
            column.label(f"{column.table.name}_{column.name}") for column in columns
        ]
        self.start, self.end = start, start + len(self.all)
        self._new: Final[Callable[[], Any]] = mapper.class_manager.new_instance
        self._names = [mapper.get_property_by_column(column).key for column in columns]
        types = {name: column.type.dialect_impl(_DIALECT) for name, column in zip(self._names, columns, strict=True)}
        self._parsed = {name: parse for name, kind in types.items() if (parse := kind.result_processor(_DIALECT, None))}

    def read(self, row: Row) -> M:
        """The object that the row describes; it belongs to no session, and what changes in it is not stored."""
        instance: M = self._new()
        values = dict(zip(self._names, row[self.start : self.end], strict=True))
        for name, parse in self._parsed.items():  # JSON comes as text
            values[name] = parse(values[name])
        instance.__dict__.update(values)
        return instance
