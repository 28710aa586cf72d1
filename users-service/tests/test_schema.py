"""The tables as PostgreSQL has them: secured, owned as they should be, and what the models say."""

from sqlalchemy import text

from shared.data import migrations
from shared.data.database import Database
from shared.data.models import Base
from shared.data.policies import catalogue_errors
from shared.ids import new_id
from shared.testing import People
from shared.testing.databases import Template

# Across tenants: a tenant by slug, a person's memberships, both for the revocation feed, and the pruning of old rows.
FLEET_TABLES = frozenset({"tenants", "memberships", "invitations", "idempotency_keys"})


async def test_every_table_is_secured(postgres_admin_url: str, database_name: str, service: object) -> None:
    engine = migrations.owner_engine(postgres_admin_url, database_name, "users")
    async with engine.connect() as connection:
        assert await catalogue_errors(connection, "users", FLEET_TABLES) == []
    await engine.dispose()


async def test_the_migrations_make_what_the_models_say(postgres_admin_url: str, template: Template) -> None:
    assert await migrations.differences(postgres_admin_url, template.name, "users", Base.metadata) == []


async def test_a_tenant_cannot_write_a_row_of_another(database: Database, as_user: People, acme: None) -> None:
    """What the policies are for: even a statement that names another tenant does nothing there."""
    async with database.transaction(new_id()) as db:
        touched = await db.execute(text("UPDATE memberships SET roles = '{admin}'"))
        assert touched.rowcount == 0  # type: ignore[attr-defined]  # an UPDATE's result has it
        assert await db.scalar(text("SELECT count(*) FROM tenants")) == 0
