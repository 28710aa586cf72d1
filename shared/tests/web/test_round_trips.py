"""What a request costs in PostgreSQL: every round trip of a warm service is counted on the wire."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from sqlalchemy import Integer, Text, bindparam, false, func, literal, select, text

from shared.data.database import Database, enter_tenant
from shared.data.prepared import Prepared
from shared.ids import new_id
from shared.problems import InvalidInput
from shared.testing.people import People
from shared.testing.postgres_wire import Wire, counted
from shared.testing.running import serving_service

SEEN = text("SELECT current_setting('app.tenant_id', true)")


@dataclass
class Counted:
    client: httpx2.AsyncClient
    database: Database
    wire: Wire


@pytest.fixture
async def probe(service: Any, settings_values: dict[str, Any]) -> AsyncIterator[Counted]:
    """The service over one connection, without background work that would be counted."""
    async with counted(settings_values["database_url"]) as (wire, url):
        one = settings_values["database"] | {"pool_size": 1}
        values = settings_values | {"database_url": url, "database": one}
        app = service.create_app(service.settings(_env_file=None, **values), events=False)
        async with serving_service(app) as served, httpx2.AsyncClient(base_url=served.url, timeout=10) as client:
            yield Counted(client, served.resources.get(Database), wire)


async def test_a_get_of_one_row_takes_three_round_trips(probe: Counted, as_user: People) -> None:
    ann = as_user("ann", scopes=["posts:read"])
    made = await probe.client.post("/pages", json={"title": "a"}, headers=ann)
    path = f"/pages/{made.json()['id']}"
    assert (await probe.client.get(path, headers=ann)).status_code == 200  # PostgreSQL prepares the statement
    probe.wire.clear()
    assert (await probe.client.get(path, headers=ann)).status_code == 200
    assert (probe.wire.round_trips, probe.wire.executions) == (3, 1)
    begin, commit = probe.wire.queries
    assert begin.startswith("BEGIN;SELECT set_config('app.tenant_id', '")
    assert commit == "COMMIT;"


async def test_another_tenant_on_the_same_connection_sees_nothing(probe: Counted, as_user: People) -> None:
    made = await probe.client.post("/pages", json={"title": "a"}, headers=as_user("ann"))
    path = f"/pages/{made.json()['id']}"
    for other in (
        as_user("bob", tenant="globex", scopes=["posts:read"]),
        as_user("cy", tenant=None, scopes=["posts:read"]),
    ):
        assert (await probe.client.get(path, headers=other)).status_code == 404


async def test_a_tenant_ends_with_its_transaction(probe: Counted) -> None:
    tenant, other = new_id(), new_id()
    async with probe.database.transaction(tenant):
        pass  # sends nothing: the tenant must not wait for the next transaction
    async with probe.database.engine().connect() as connection:
        assert not await connection.scalar(SEEN)
    async with probe.database.transaction(tenant) as db:
        async with db.begin_nested():
            assert await db.scalar(SEEN) == str(tenant)
        await enter_tenant(db, other)
        assert await db.scalar(SEEN) == str(other)
    async with probe.database.transaction() as db:
        assert not await db.scalar(SEEN)


async def test_a_prepared_statement_takes_one_round_trip_and_its_tenant_ends_with_it(probe: Counted) -> None:
    tenant = str(new_id())
    entered = func.set_config("app.tenant_id", bindparam("tenant", type_=Text), True).label("entered")
    statement = Prepared(select(entered))
    await probe.database.first(statement, tenant=tenant)
    probe.wire.clear()
    row = await probe.database.first(statement, tenant=tenant)
    assert row is not None
    assert row["entered"] == tenant
    assert (probe.wire.round_trips, probe.wire.executions, probe.wire.queries) == (1, 1, [])
    async with probe.database.transaction() as db:
        assert not await db.scalar(SEEN)
    assert await probe.database.first(Prepared(select(literal(1)).where(false()))) is None


async def test_an_error_of_a_prepared_statement_is_the_problem_it_is(probe: Counted) -> None:
    with pytest.raises(InvalidInput):
        await probe.database.first(Prepared(select(literal(1) / bindparam("by", type_=Integer))), by=0)
