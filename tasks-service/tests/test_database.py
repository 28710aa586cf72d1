from typing import Any

from shared.data.database import Database
from shared.data.migrations import differences, owner_engine
from shared.data.models import Base
from shared.data.policies import catalogue_errors

# The queue is claimed, extended and reaped across tenants; what a job holds is read as its tenant alone.
SEEN_ACROSS_TENANTS = frozenset({"jobs", "idempotency_keys"})


async def test_every_table_keeps_the_houses_rules(postgres_admin_url: str, database_name: str) -> None:
    engine = owner_engine(postgres_admin_url, database_name, "tasks")
    async with engine.connect() as connection:
        assert await catalogue_errors(connection, "tasks", SEEN_ACROSS_TENANTS) == []
    await engine.dispose()


async def test_the_migrations_make_what_the_models_say(postgres_admin_url: str, database_name: str) -> None:
    assert await differences(postgres_admin_url, database_name, "tasks", Base.metadata) == []


async def test_the_queue_is_read_along_its_index(settings: Any, database: Any) -> None:
    """A look at EXPLAIN as `_fleet`: with a thousand waiting jobs a claim reads the few that it wants."""
    await database.execute(
        "INSERT INTO jobs (tenant_id, id, user_id, username, client_id, scopes, kind, input, priority, max_attempts)"
        " SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'a', 'c', '{}', 'wait', '{}', 0, 3"
        " FROM generate_series(1, 1000)"
    )
    opened = Database(settings)
    async with opened.transaction(role="fleet") as fleet:
        plan = await fleet.connection()
        rows = await plan.exec_driver_sql(
            "EXPLAIN SELECT id FROM jobs WHERE tenant_id = gen_random_uuid() AND status = 'pending' AND run_at <= now()"
            " ORDER BY priority DESC, run_at LIMIT 20"
        )
        assert "ix_jobs_queue" in "\n".join(row[0] for row in rows)
    await opened.close()
