"""A connection on which a transaction begins as one tenant, in one message to PostgreSQL."""

from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

import asyncpg
from sqlalchemy import Connection

if TYPE_CHECKING:  # no circle: the class is generic for the type checker alone
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection


class TenantConnection(_Base):
    """asyncpg's connection, which sends the tenant along with the next BEGIN; savepoints are no BEGIN."""

    tenant_id: UUID | None = None
    entering: ClassVar[str] = "SELECT set_config('app.tenant_id', '{}', true)"

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        if self.tenant_id is not None and query.startswith("BEGIN"):
            query, self.tenant_id = query + self.entering.format(self.tenant_id), None
        return await super().execute(query, *args, timeout=timeout)


class PlacedConnection(TenantConnection):
    """For a service whose tenants may have a home of their own (shared/data/placement)."""

    entering = "SELECT public.enter_tenant('{}')"


def begin_as(connection: Connection, tenant_id: UUID | None) -> None:
    """Let the transaction that `connection` begins next see this tenant; with None it sees none."""
    if not isinstance(tenant_id, UUID | None):
        raise TypeError("a tenant is a UUID")  # it is written into the statement
    _of(connection.connection.dbapi_connection).tenant_id = tenant_id


def forget_tenant(connection: Any, _entry: object) -> None:
    """A pool's `checkin`: a session that sent no statement began nothing."""
    if connection is not None:
        _of(connection).tenant_id = None


def _of(connection: Any) -> TenantConnection:
    driver: TenantConnection = connection.driver_connection
    return driver
