"""One table of a tenant that moves, on both sides: copying its rows, following its changes, comparing."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy import Table

from shared.data.roles import identifier

BATCH: Final = 10_000
"""Rows that one transaction copies or deletes."""

Progress = Callable[[str, int, int], None]
"""Called with the table's name, the rows that are copied and those that there are."""


class Different(Exception):
    """The two sides of a table do not have the same rows."""


# ruff: noqa: S608 - every name in these statements is of the catalogue or of the models
@dataclass(frozen=True)
class TableCopy:
    """Statements run on `connection`, as the owner, who sees the rows of all tenants."""

    connection: "asyncpg.Connection[Any]"
    name: str
    source: str
    target: str
    tenant_id: UUID
    key: tuple[str, ...]
    """The columns of the primary key after tenant_id."""
    columns: tuple[str, ...]
    """All columns but the generated ones, which PostgreSQL computes again."""

    @classmethod
    async def of(
        cls, connection: "asyncpg.Connection[Any]", table: Table, source: str, target: str, tenant_id: UUID
    ) -> "TableCopy":
        found = await connection.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0"
            " AND NOT attisdropped AND attgenerated = '' ORDER BY attname",
            qualified(source, table),
        )
        columns = tuple(identifier(row["attname"]) for row in found)
        key = tuple(identifier(column.name) for column in table.primary_key if column.name != "tenant_id")
        sides = qualified(source, table), qualified(target, table)
        return cls(connection, table.name, *sides, tenant_id, key, columns)

    async def fill(self, progress: Progress) -> None:
        """Copy all rows, in the order of the primary key."""
        done, total = 0, await count(self.connection, self.source, self.tenant_id)
        progress(self.name, done, total)
        last: list[Any] | None = None
        while (last := await self._copy_after(last)) is not None:
            done = min(done + BATCH, total)
            progress(self.name, done, total)

    async def _copy_after(self, last: list[Any] | None) -> list[Any] | None:
        """Copy the next batch; the key of its last row, None if there was none."""
        key, columns = ", ".join(self.key), ", ".join(self.columns)
        values = ", ".join(f"${number}" for number in range(2, 2 + len(self.key)))
        after = "" if last is None else f"AND ({key}) > ({values})"
        descending = ", ".join(f"{name} DESC" for name in self.key)
        row = await self.connection.fetchrow(
            f"WITH copied AS (INSERT INTO {self.target} ({columns}) SELECT {columns} FROM {self.source}"
            f" WHERE tenant_id = $1 {after} ORDER BY {key} LIMIT {BATCH} RETURNING {key})"
            f" SELECT {key} FROM copied ORDER BY {descending} LIMIT 1",
            *(self.tenant_id, *(last or ())),
        )
        return None if row is None else list(row.values())

    async def remove(self, keys: list[str]) -> None:
        """Delete the target's rows with these keys that the source no longer has."""
        if keys:
            await self.connection.execute(
                f"DELETE FROM {self.target} copy USING ({self._keys}) changed"
                f" WHERE copy.tenant_id = $1 AND {self._same('copy')}"
                f" AND NOT EXISTS"
                f" (SELECT FROM {self.source} origin WHERE origin.tenant_id = $1 AND {self._same('origin')})",
                *(self.tenant_id, _array(keys)),
            )

    async def replace(self, keys: list[str]) -> None:
        """Copy the rows with these keys that the source has."""
        if keys:
            columns, origins = ", ".join(self.columns), ", ".join(f"origin.{name}" for name in self.columns)
            await self.connection.execute(
                f"INSERT INTO {self.target} ({columns}) SELECT {origins} FROM {self.source} origin"
                f" JOIN ({self._keys}) changed ON {self._same('origin')} WHERE origin.tenant_id = $1"
                f" ON CONFLICT (tenant_id, {', '.join(self.key)})"
                f" DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in self.columns)}",
                *(self.tenant_id, _array(keys)),
            )

    @property
    def _keys(self) -> str:
        return (
            f"SELECT DISTINCT {', '.join(self.key)} FROM jsonb_populate_recordset(NULL::{self.source}, $2::text::jsonb)"
        )

    def _same(self, side: str) -> str:
        return " AND ".join(f"{side}.{name} = changed.{name}" for name in self.key)

    async def compare(self) -> None:
        """Raises Different unless both sides have the same number of rows and the same checksum over them."""
        row = f"ROW({', '.join(self.columns)})::text"
        seen = [
            await self.connection.fetchrow(
                f"SELECT count(*), sum(hashtextextended({row}, 0)) FROM {side} WHERE tenant_id = $1", self.tenant_id
            )
            for side in (self.source, self.target)
        ]
        if seen[0] != seen[1]:
            raise Different(self.name)


def qualified(home: str, table: Table) -> str:
    """The table's name with its schema."""
    return f"{identifier(home)}.{identifier(table.name)}"


async def count(connection: "asyncpg.Connection[Any]", table: str, tenant_id: UUID) -> int:
    return int(await connection.fetchval(f"SELECT count(*) FROM {table} WHERE tenant_id = $1", tenant_id))


async def delete(connection: "asyncpg.Connection[Any]", table: str, tenant_id: UUID) -> None:
    """Delete the tenant's rows of a table, a batch a transaction."""
    some = f"SELECT ctid FROM {table} WHERE tenant_id = $1 LIMIT {BATCH}"
    while await connection.execute(f"DELETE FROM {table} WHERE ctid IN ({some})", tenant_id) != "DELETE 0":
        pass


def _array(keys: list[str]) -> str:
    return json.dumps([json.loads(key) for key in keys])
