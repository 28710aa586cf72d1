"""Moving a tenant's content to another home while it is used.

A move has two phases. The tenant's row in `placements` names the current one, so that a move that was killed goes on
when it is started again:

copying    The home is still the old one. Rows are copied in batches, then the rows written meanwhile, until few are
           left. Then the move holds the tenant's lock alone: writes wait, the rest is copied, both sides are compared,
           and one statement changes the home. A move that was killed copies from the beginning.
cleaning   The home is the new one. The old rows are removed once no transaction can read them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Final
from uuid import UUID

import asyncpg
from sqlalchemy.engine import make_url

from shared.data.placement.models import SHARED_HOME, home_of_its_own, placed_tables
from shared.data.placement.table_copy import BATCH, Different, Progress, TableCopy, count, delete, qualified
from shared.data.roles import identifier, role_name

# Alembic is imported by a move alone, not by each process whose command line has one.
_UPGRADE_SCHEMA: Final = "shared.data.migrations:upgrade_schema"
_FEW: Final = 200  # changes that may be left when writes are blocked for the last of them
_ROUNDS: Final = 50
_LOCK_WAIT_S: Final = 1.0  # writes queue behind a wait for the lock
_LOCK_TRIES: Final = 30


class MoveFailed(Exception):
    """The move cannot go on. The tenant is where it was, and the message says what to do."""


@dataclass(frozen=True)
class Moved:
    """Where the tenant is after a move, how many rows it has there, and for how long writes were blocked."""

    home: str
    rows: int
    paused_s: float


@dataclass(frozen=True)
class Owner:
    """A service's database, with a login that may act as its owner: the role that makes schemas and sees all rows."""

    url: str
    database: str
    service: str
    migrations: Path

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["asyncpg.Connection[Any]"]:
        url = make_url(self.url).set(drivername="postgresql", database=self.database)
        settings = {
            "role": role_name(self.service, "owner"),
            "timezone": "UTC",
            "search_path": SHARED_HOME,
            # The statement of a process that was killed ends soon, and with it the locks that writes wait for.
            "client_connection_check_interval": "500ms",
        }
        connection = await asyncpg.connect(
            url.render_as_string(hide_password=False), server_settings=settings, timeout=10
        )
        try:
            yield connection
        finally:
            await connection.close()


def _silent(_table: str, _done: int, _total: int) -> None:
    """No progress is shown."""


async def move(
    owner: Owner,
    tenant_id: UUID,
    *,
    own_schema: bool,
    grace_s: float,
    pause_s: float = 3.0,
    progress: Progress = _silent,
) -> Moved:
    """Move the tenant into a schema of its own, or back to the shared tables.

    A move that was broken off is finished first, or undone if it went to another home. Writes wait for at most
    `pause_s` seconds, and one more for those that are running. The old rows are removed after `grace_s`, which no
    transaction may outlast. Raises MoveFailed.
    """
    target = home_of_its_own(tenant_id) if own_schema else SHARED_HOME
    async with owner.connection() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", f"move {tenant_id}"):
            raise MoveFailed("Another move of this tenant is running.")
        moving = _Move(connection, owner, tenant_id, pause_s, progress)
        await moving.settle(target, grace_s)
        home, paused_s = (await moving.place()).home, 0.0
        if home != target:
            try:
                paused_s = await moving.copy(home, target)
            except MoveFailed:
                await moving.undo(target)
                raise
            await moving.clean(home, grace_s)
        rows = [await count(connection, qualified(target, table), tenant_id) for table in placed_tables()]
        return Moved(target, sum(rows), paused_s)


@dataclass(frozen=True)
class _Place:
    home: str = SHARED_HOME
    other: str | None = None
    phase: str | None = None


@dataclass
class _Move:
    connection: "asyncpg.Connection[Any]"
    owner: Owner
    tenant_id: UUID
    pause_s: float
    progress: Progress

    async def place(self) -> _Place:
        row = await self.connection.fetchrow(
            "SELECT home, other, phase FROM placements WHERE tenant_id = $1", self.tenant_id
        )
        return _Place() if row is None else _Place(**row)

    async def settle(self, target: str, grace_s: float) -> None:
        """Finish or undo what an earlier move has left."""
        match await self.place():
            case _Place(phase="cleaning", other=str(left)):
                await self.clean(left, grace_s)
            case _Place(phase="copying", other=str(begun)) if begun != target:
                await self.undo(begun)

    async def copy(self, source: str, target: str) -> float:
        """Copy everything and change the home; returns for how many seconds writes were blocked."""
        await self._note_writes(source, target)
        await self._remove(target)
        await self._make(target)
        async with self._no_migration():
            tables = placed_tables()
            copies = [await TableCopy.of(self.connection, table, source, target, self.tenant_id) for table in tables]
            for copy in copies:
                await copy.fill(self.progress)
            for _ in range(_ROUNDS):
                if await self._follow(copies) < _FEW:
                    break
            async with self._alone():
                return await self._change_home(copies)

    async def clean(self, left: str, grace_s: float) -> None:
        """Remove the rows of the home that the tenant has left."""
        await asyncio.sleep(grace_s)
        await self._remove(left)
        await self._end()

    async def undo(self, target: str) -> None:
        """Remove what was copied to the target; the home has not changed."""
        await self._remove(target)
        await self._end()

    async def _note_writes(self, source: str, target: str) -> None:
        """From here on, writes are noted: also those of transactions that had begun before."""
        await self._forget_changes()
        await self.connection.execute(
            "INSERT INTO placements (tenant_id, home, other, phase) VALUES ($1, $2, $3, 'copying')"
            " ON CONFLICT (tenant_id) DO UPDATE SET other = $3, phase = 'copying', changed_at = now()",
            *(self.tenant_id, source, target),
        )
        async with self._alone():
            pass

    async def _make(self, target: str) -> None:
        """Make the target's tables, as this release has them."""
        if target == SHARED_HOME:
            return
        owner, schema = self.owner, identifier(target)
        users = ", ".join(role_name(owner.service, role) for role in ("app", "fleet"))
        await self.connection.execute(
            f"CREATE SCHEMA {schema}; GRANT USAGE ON SCHEMA {schema} TO {users};"
            f" ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {users}"
        )
        upgrade: Callable[..., Coroutine[Any, Any, None]] = resolve_name(_UPGRADE_SCHEMA)
        await upgrade(owner.url, owner.database, owner.service, owner.migrations, target)

    async def _follow(self, copies: Sequence[TableCopy]) -> int:
        """Copy the rows that were written since they were copied; returns how many."""
        async with self.connection.transaction():
            changes = await self.connection.fetch(
                "DELETE FROM placement_changes WHERE id IN"
                " (SELECT id FROM placement_changes WHERE tenant_id = $1 ORDER BY id LIMIT $2)"
                " RETURNING table_name, key",
                *(self.tenant_id, BATCH),
            )
            keys = {copy.name: [row["key"] for row in changes if row["table_name"] == copy.name] for copy in copies}
            for copy in reversed(copies):
                await copy.remove(keys[copy.name])
            for copy in copies:
                await copy.replace(keys[copy.name])
        return len(changes)

    async def _change_home(self, copies: Sequence[TableCopy]) -> float:
        """The last step, while the lock is held."""
        began = time.monotonic()
        try:
            async with asyncio.timeout(self.pause_s):
                while await self._follow(copies):
                    pass
                for copy in copies:
                    await copy.compare()
                await self._set("home = other, other = home, phase = 'cleaning'")
        except TimeoutError:
            raise MoveFailed(
                f"Comparing both sides took longer than {self.pause_s:g} s; writes go on where they were. Move again"
                " with a longer pause."
            ) from None
        except Different as table:
            raise MoveFailed(f"{table} differs between both sides; writes go on where they were. Move again.") from None
        return time.monotonic() - began

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Hold the tenant's lock: running writes have ended, and new ones wait."""
        await self._lock()
        try:
            yield
        finally:
            await self.connection.execute("SELECT pg_advisory_unlock(placement_lock($1))", self.tenant_id)

    async def _lock(self) -> None:
        await self.connection.execute(f"SET lock_timeout = {int(_LOCK_WAIT_S * 1000)}")
        for _ in range(_LOCK_TRIES):
            try:
                await self.connection.execute("SELECT pg_advisory_lock(placement_lock($1))", self.tenant_id)
            except asyncpg.LockNotAvailableError:
                await asyncio.sleep(_LOCK_WAIT_S)  # the writes that queued behind this wait go first
            else:
                return
        raise MoveFailed("A transaction that writes in this tenant does not end; see pg_stat_activity. Move again.")

    @asynccontextmanager
    async def _no_migration(self) -> AsyncIterator[None]:
        """Make `migrate` wait: it would change one side before the other."""
        await self.connection.execute("SET lock_timeout = 0")
        await self.connection.execute("SELECT pg_advisory_lock(hashtext('flotilla migrate'))")
        try:
            yield
        finally:
            await self.connection.execute("SELECT pg_advisory_unlock(hashtext('flotilla migrate'))")

    async def _remove(self, home: str) -> None:
        """Remove what the tenant has in a home that is not its own."""
        if home != SHARED_HOME:
            await self.connection.execute("SET lock_timeout = 0")
            await self.connection.execute(f"DROP SCHEMA IF EXISTS {identifier(home)} CASCADE")
            return
        for table in reversed(placed_tables()):
            await delete(self.connection, qualified(home, table), self.tenant_id)

    async def _end(self) -> None:
        await self._set("other = NULL, phase = NULL")
        await self._forget_changes()

    async def _set(self, values: str) -> None:
        changed = f"UPDATE placements SET {values}, changed_at = now() WHERE tenant_id = $1"  # noqa: S608 - constants
        await self.connection.execute(changed, self.tenant_id)

    async def _forget_changes(self) -> None:
        await self.connection.execute("DELETE FROM placement_changes WHERE tenant_id = $1", self.tenant_id)
