"""Alembic, run by the service itself: `migrate` brings the schema to head (revisions.py: which one that is).

A service's migrations/env.py is one call: `run()`. A migration must let the release before it go on running: expand,
backfill, contract (a contraction ships one release later).
"""

from pathlib import Path

from alembic import command, context
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from shared.data.roles import role_name

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
        connection=options["connection"], target_metadata=options.get("metadata"), transaction_per_migration=True
    )
    with context.begin_transaction():
        context.run_migrations()


async def upgrade(owner_url: str, database: str, service: str, folder: Path) -> None:
    """Bring `database` to head as the service's owner role; a second one waits for the first."""
    engine = owner_engine(owner_url, database, service)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_upgrade, folder)
    finally:
        await engine.dispose()  # the session, and with it the lock, ends here


def owner_engine(owner_url: str, database: str, service: str) -> AsyncEngine:
    """An engine whose connections own the service's tables; its pool holds one."""
    url = make_url(owner_url).set(drivername="postgresql+asyncpg", database=database)
    settings = {"role": role_name(service, "owner"), "lock_timeout": LOCK_TIMEOUT, "timezone": "UTC"}
    return create_async_engine(url, pool_size=1, max_overflow=0, connect_args={"server_settings": settings})


def _upgrade(connection: Connection, folder: Path) -> None:
    connection.execute(text("SET lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_lock(hashtext('flotilla migrate'))"))
    connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.commit()
    options = config(folder)
    options.attributes["connection"] = connection
    command.upgrade(options, "head")
    connection.commit()


async def differences(owner_url: str, database: str, service: str, metadata: MetaData) -> list[str]:
    """How the migrated database differs from the models, one line each; empty when they agree."""

    def compare(connection: Connection) -> list[str]:
        options = {"compare_type": True, "compare_server_default": False}
        return [
            str(change) for change in compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
        ]

    engine = owner_engine(owner_url, database, service)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(compare)
    finally:
        await engine.dispose()
