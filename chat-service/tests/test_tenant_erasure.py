"""A tenant that users-service has erased leaves nothing here."""

import httpx2
import pytest
from sqlalchemy import text

from shared.data import tenant_erasure
from shared.data.database import Database
from shared.events import Bus
from shared.resources import Resources
from shared.testing import eventually

from .bus import envelope, publish
from .conftest import MakeRoom, Members, Said


async def rows_of(database: Database, members: Members) -> dict[str, int]:
    """How many rows of the tenant each table with tenants has."""
    counted = {}
    async with database.transaction(members.tenant_id) as db:
        for table in tenant_erasure.tenanted_tables():
            counted[table.name] = await db.scalar(text(f"SELECT count(*) FROM {table.name}")) or 0  # noqa: S608 - a model's name
    return counted


async def test_rooms_messages_and_notifications_go(
    client: httpx2.AsyncClient,
    resources: Resources,
    database: Database,
    members: Members,
    make_room: MakeRoom,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenant_erasure, "BATCH", 2)
    other = Members(members.people, f"{members.slug}-other")
    bus = resources.get(Bus)
    for tenant in (members, other):
        made = await client.post("/api/v1/rooms", json={"kind": "public", "name": "harbor"}, headers=tenant("ann"))
        assert made.status_code == 201
    await said(await make_room("ann", "bob"), 5)
    done = envelope("job.completed.v1", members.id("x"), members.tenant_id, user_id=str(members.id("ann")), kind="wait")
    await publish(bus, done)
    await eventually(lambda: _has(database, members, "notifications"), saying="the notification is stored")
    before = await rows_of(database, other)
    await publish(bus, envelope("tenant.erased.v1", members.tenant_id, members.tenant_id, slug=members.slug))

    async def nothing_is_left() -> bool:
        return not any((await rows_of(database, members)).values())

    await eventually(nothing_is_left, within_s=30, every_s=0.2, saying="all rows of the tenant are deleted")
    assert await rows_of(database, other) == before
    assert before["rooms"] == 1


async def _has(database: Database, members: Members, table: str) -> bool:
    return (await rows_of(database, members))[table] > 0
