"""The tables as PostgreSQL has them: secured, owned as they should be, and what the models say."""

from shared.data import migrations
from shared.data.models import Base
from shared.data.policies import catalogue_errors
from shared.testing.databases import Template

FLEET_TABLES: frozenset[str] = frozenset()  # no table is read across tenants


async def test_every_table_is_secured(postgres_admin_url: str, database_name: str, service: object) -> None:
    engine = migrations.owner_engine(postgres_admin_url, database_name, "orders")
    async with engine.connect() as connection:
        assert await catalogue_errors(connection, "orders", FLEET_TABLES) == []
    await engine.dispose()


async def test_the_migrations_make_what_the_models_say(postgres_admin_url: str, template: Template) -> None:
    assert await migrations.differences(postgres_admin_url, template.name, "orders", Base.metadata) == []
