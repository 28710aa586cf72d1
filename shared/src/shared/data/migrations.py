"""Alembic, run by the service itself: `migrate` brings the schema to head (revisions.py: which one that is).

A service's migrations/env.py is one call: `run()`. A migration must let the release before it go on running: expand,
backfill, contract (a contraction ships one release later). Tenants with a schema of their own are migrated after the
shared tables, each by itself (shared/data/placement).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alembic import command, context
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.data.placement.migration import TENANT_SCHEMA
from shared.data.revisions import TenantsNotMigrated
from shared.data.roles import role_name

T = TypeVar("T")

LOCK_TIMEOUT = "5s"  # a migration that waits for a lock makes every request behind it wait too


def config(folder: Path) -> Config:
    """Alembic's configuration for the migrations in `folder`."""
    result = Config()
    result.set_main_option("script_location", str(folder).replace("%", "%%"))
    result.set_main_option("path_separator", "os")
    result.attributes["quiet"] = True
    return result


def run() -> None:
    """What every service's env.py calls: migrate on the connection that `upgrade` opened."""
    options = context.config.attributes
    context.configure(
        connection=options["connection"],
        target_metadata=options.get("metadata"),
        transaction_per_migration=True,
        version_table_schema=options.get(TENANT_SCHEMA),
    )
    with context.begin_transaction():
        context.run_migrations()


async def upgrade(owner_url: str, database: str, service: str, folder: Path) -> None:
    """Bring `database` to head as the service's owner role; a second one waits for the first.

    Raises TenantsNotMigrated after every tenant's schema was tried.
    """
    await _as_owner(owner_url, database, service, lambda connection: _upgrade(connection, folder))


async def upgrade_schema(owner_url: str, database: str, service: str, folder: Path, schema: str) -> None:
    """Bring the tables in a tenant's own schema to head."""

    def run(connection: Connection) -> None:
        _lock(connection)
        _upgrade_schema(connection, folder, schema)

    await _as_owner(owner_url, database, service, run)


async def _as_owner(owner_url: str, database: str, service: str, run: Callable[[Connection], T]) -> T:
    engine = owner_engine(owner_url, database, service)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(run)
    finally:
        await engine.dispose()  # the session, and with it the lock, ends here


def owner_engine(owner_url: str, database: str, service: str) -> AsyncEngine:
    """An engine whose connections own the service's tables; its pool holds one."""
    url = make_url(owner_url).set(drivername="postgresql+asyncpg", database=database)
    settings = {"role": role_name(service, "owner"), "lock_timeout": LOCK_TIMEOUT, "timezone": "UTC"}
    return create_async_engine(url, pool_size=1, max_overflow=0, connect_args={"server_settings": settings})


def _lock(connection: Connection) -> None:
    connection.execute(text("SET lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_lock(hashtext('flotilla migrate'))"))
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()


def _upgrade(connection: Connection, folder: Path) -> None:
    _lock(connection)
    _to_head(connection, folder)
    errors = []
    for schema in _tenant_schemas(connection):
        try:
            _upgrade_schema(connection, folder, schema)
        except DBAPIError as error:
            connection.rollback()
            errors.append(f"{schema}: {error.orig}")
    if errors:
        raise TenantsNotMigrated("\n".join(errors))


def _tenant_schemas(connection: Connection) -> list[str]:
    """The schemas that tenants have of their own, also those that are being filled."""
    schemas: list[str] = []
    if connection.scalar(text("SELECT to_regclass('public.placements')")) is not None:
        found = text(
            "SELECT nspname FROM pg_namespace JOIN placements ON nspname IN (home, other)"
            " WHERE nspname <> 'public' ORDER BY nspname"
        )
        schemas = list(connection.scalars(found))
    connection.commit()
    return schemas


def _upgrade_schema(connection: Connection, folder: Path, schema: str) -> None:
    connection.execute(
        text("SELECT set_config('search_path', quote_ident(:schema) || ', public', false)"), {"schema": schema}
    )
    connection.commit()
    try:
        _to_head(connection, folder, schema)
    finally:
        connection.execute(text("SET search_path = public"))
        connection.commit()


def _to_head(connection: Connection, folder: Path, schema: str | None = None) -> None:
    options = config(folder)
    options.attributes["connection"] = connection
    if schema is not None:
        options.attributes[TENANT_SCHEMA] = schema
    command.upgrade(options, "head")
    connection.commit()


async def differences(owner_url: str, database: str, service: str, metadata: MetaData) -> list[str]:
    """How the migrated database differs from the models, one line each; empty when they agree."""

    def compare(connection: Connection) -> list[str]:
        options = {"compare_type": True, "compare_server_default": False}
        return [
            str(change) for change in compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        ]

    return await _as_owner(owner_url, database, service, compare)
