"""The tables as PostgreSQL has them: secured, owned as they should be, and what the models say."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from alembic import command
from sqlalchemy import Connection, text

from shared.app import Service
from shared.data import migrations
from shared.data.models import Base
from shared.data.policies import catalogue_errors
from shared.testing.databases import Template

# Looked at across tenants: the last numbers of all rooms and people that a replica serves, once a second.
FLEET_TABLES = frozenset({"rooms", "recipients", "idempotency_keys"})


async def test_every_table_is_secured(postgres_admin_url: str, database_name: str, service: object) -> None:
    engine = migrations.owner_engine(postgres_admin_url, database_name, "chat")
    async with engine.connect() as connection:
        assert await catalogue_errors(connection, "chat", FLEET_TABLES) == []
    await engine.dispose()


async def test_the_migrations_make_what_the_models_say(postgres_admin_url: str, template: Template) -> None:
    assert await migrations.differences(postgres_admin_url, template.name, "chat", Base.metadata) == []


async def test_the_oldest_of_rooms_with_one_name_gets_its_form(template: Template, service: Service) -> None:
    """Rooms from before names had a form: all stay as they are."""
    async with template.cloned() as name:
        engine = migrations.owner_engine(template.admin_url, name, "chat")
        tenant = uuid4()
        async with engine.connect() as connection:
            await connection.run_sync(lambda found: _downgrade(found, service.migrations, "0002"))
            for made, title in enumerate(("Caf\u00e9", "Cafe\u0301", "Pier")):
                values = {
                    "tenant": tenant,
                    "id": uuid4(),
                    "name": title,
                    "made": datetime(2026, 1, 1 + made, tzinfo=UTC),
                }
                await connection.execute(_OLD_ROOM, values)
            await connection.commit()
        await migrations.upgrade(template.admin_url, name, "chat", service.migrations)
        async with engine.connect() as connection:
            rows = await connection.execute(text("SELECT name, name_key FROM rooms ORDER BY created_at"))
            assert [tuple(row) for row in rows] == [("Caf\u00e9", "caf\u00e9"), ("Cafe\u0301", None), ("Pier", "pier")]
        await engine.dispose()


_OLD_ROOM = text(
    "INSERT INTO rooms (tenant_id, id, kind, name, created_by, epoch, created_at)"
    " VALUES (:tenant, :id, 'public', :name, :id, 'e', :made)"
)


def _downgrade(connection: Connection, folder: Path, revision: str) -> None:
    options = migrations.config(folder)
    options.attributes["connection"] = connection
    command.downgrade(options, revision)
    connection.commit()
