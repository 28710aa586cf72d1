"""A service's database: two small pools on one login, and the only way to open a transaction.

The login picks a role as it connects: `app` sees one tenant (row-level security), `fleet` looks across tenants where a
table's policy lets it. Neither owns a table nor bypasses a policy.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import Connection, Executable, event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, SessionTransaction

from shared.data.after_commit import Listeners, run_callbacks, session_info
from shared.data.connections import Connections
from shared.data.errors import problem_of, translated
from shared.data.models import Base, Placed
from shared.data.prepared import Prepared, Row
from shared.data.roles import database_name, role_name
from shared.data.tenant_connection import PlacedConnection, TenantConnection, begin_as, forget_tenant
from shared.problems import DatabaseUnavailable, Problem
from shared.settings import ServiceSettings

T = TypeVar("T")
Role = Literal["app", "fleet"]
_SET_TENANT = text("SELECT set_config('app.tenant_id', :tenant, true)")
_ENTER_TENANT = text("SELECT public.enter_tenant(CAST(:tenant AS uuid))")


class TenantSession(Session):
    """A session that sets its tenant in PostgreSQL at the start of every transaction."""


@event.listens_for(TenantSession, "after_begin")
def _set_tenant(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    if not transaction.nested:
        begin_as(connection, session.info.get("tenant_id"))


async def enter_tenant(db: AsyncSession, tenant_id: UUID) -> None:
    """Go on as `tenant_id` from here: for an entry point that learns its tenant only on the way (a sign-in)."""
    db.info["tenant_id"] = tenant_id
    if db.in_transaction():
        await db.execute(_ENTER_TENANT if db.info["placed"] else _SET_TENANT, {"tenant": str(tenant_id)})


async def _commit(db: AsyncSession) -> None:
    await db.commit()
    run_callbacks(db)


def _hide_row(context: ExceptionContext) -> None:
    """For the same reason: PostgreSQL's DETAIL shows the row or the key that failed."""
    cause = context.original_exception.__cause__
    if isinstance(cause, asyncpg.PostgresError):
        cause.detail = None


class Database:
    """The pools of one service. Open one per process and close it at the end."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._connections = Connections()
        self._placed = any(issubclass(mapper.class_, Placed) for mapper in Base.registry.mappers)
        self._engines: dict[str, AsyncEngine] = {
            "app": self._engine("app", settings.database.pool_size),
            "fleet": self._engine("fleet", settings.database.fleet_pool_size),
        }
        self._autocommit = {
            role: engine.execution_options(isolation_level="AUTOCOMMIT") for role, engine in self._engines.items()
        }
        self._listeners = Listeners()

    @property
    def url(self) -> URL:
        """Where the database is, with the login's password."""
        if self._settings.database_url is None:
            raise LookupError("DATABASE_URL is not set")
        url = make_url(self._settings.database_url.get_secret_value())
        name = self._settings.database.name or database_name(self._settings.service)
        return url.set(drivername="postgresql+asyncpg", database=name)

    def engine(self, role: Role = "app") -> AsyncEngine:
        return self._engines[role]

    def listen(self, kind: type[T], listener: Callable[[T], None]) -> Callable[[], None]:
        """Call `listener` with every value of that type which a transaction announced and committed.

        It must neither wait nor raise. The returned function ends that.
        """
        return self._listeners.add(kind, listener)

    def pool_in_use(self) -> dict[str, int]:
        """Connections taken out of each pool, by role."""
        return {role: engine.pool.checkedout() for role, engine in self._engines.items()}  # type: ignore[attr-defined]  # the pools are QueuePools

    @asynccontextmanager
    async def transaction(self, tenant_id: UUID | None = None, role: Role = "app") -> AsyncIterator[AsyncSession]:
        """One transaction as one tenant; it commits when the block ends and rolls back when the block raises.

        Without a tenant only Global tables are visible. A `Problem` that keeps its writes commits before it is raised.
        Raises DatabaseUnavailable.
        """
        with translated():
            async with AsyncSession(
                self._engines[role],
                sync_session_class=TenantSession,
                expire_on_commit=False,
                info={"tenant_id": tenant_id, "placed": self._placed, **session_info(self._listeners)},
            ) as session:
                try:
                    try:
                        yield session
                    except Problem as problem:
                        if problem.keeps_writes:
                            await _commit(session)
                        raise
                    await _commit(session)
                except TimeoutError:
                    await session.invalidate()  # a rollback would wait for the silent server as well
                    raise

    async def finds(self, anything: Executable, role: Role = "app") -> bool:
        """Whether `anything` (a SELECT EXISTS) is true: one statement and no transaction, for a loop that polls.

        Raises DatabaseUnavailable.
        """
        with translated():
            async with self._autocommit[role].connect() as connection:
                try:
                    return bool(await connection.scalar(anything))
                except TimeoutError:
                    await connection.invalidate()  # as above
                    raise

    async def first(self, statement: Prepared, role: Role = "app", **values: Any) -> Row | None:
        """The first row of a prepared statement, None without one; committed when it returns. One round trip.

        No tenant is set: a statement that reads a Tenanted table sets its own. Raises DatabaseUnavailable.
        """
        with translated():
            pooled = await self._engines[role].raw_connection()
            driver: Any = pooled.driver_connection
            try:
                return await driver.fetchrow(statement.sql, *statement.arguments(values))  # type: ignore[no-any-return]  # asyncpg's
            except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresError) as error:
                if isinstance(error, asyncpg.PostgresError):
                    error.detail = None  # as in `_hide_row`
                if isinstance(problem_of(error), DatabaseUnavailable):
                    self._connections.doubt()
                    driver.terminate()
                raise
            finally:
                pooled.close()

    async def ping(self) -> None:
        """Ask the server for an answer. Where none comes, every pool replaces its connections before their next use."""
        try:
            async with self.engine().connect() as connection:
                driver: Any = (await connection.get_raw_connection()).driver_connection
                try:
                    await driver.execute("SELECT 1")
                except BaseException:
                    driver.terminate()  # a graceful end would keep its place in the pool until the server answers
                    raise
        except BaseException:  # cancelled, too: the health check that asks does not wait for long
            self._connections.doubt()
            raise

    async def close(self) -> None:
        for engine in self._engines.values():
            await engine.dispose()

    def _engine(self, role: Role, pool_size: int) -> AsyncEngine:
        limits = self._settings.database
        server_settings = {
            "role": role_name(self._settings.service, role),
            "application_name": f"flotilla-{self._settings.service}",
            "timezone": "UTC",
            "statement_timeout": str(int(limits.statement_timeout_s * 1000)),
            "idle_in_transaction_session_timeout": str(int(limits.idle_in_transaction_timeout_s * 1000)),
        }
        connect_args: dict[str, Any] = {
            "connection_class": PlacedConnection if self._placed else TenantConnection,
            "server_settings": server_settings,
            "timeout": limits.connect_timeout_s,
            # The server ends a statement itself, unless the connection is lost.
            "command_timeout": limits.statement_timeout_s + limits.connect_timeout_s,
        }
        engine = create_async_engine(
            self.url,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=limits.pool_wait_s,
            connect_args=connect_args,
            hide_parameters=True,  # an error's text is logged, and a statement's values may be secrets
        )
        event.listen(engine.sync_engine, "handle_error", _hide_row)
        event.listen(engine.sync_engine, "checkin", forget_tenant)
        self._connections.follow(engine)
        return engine
