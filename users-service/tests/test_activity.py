"""The activity log: what the events of all services leave in it, and who reads it."""

import csv
import io
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import func, insert, select

from shared.data.database import Database
from shared.events import EventHandlers
from shared.events.event import Envelope
from shared.ids import new_id
from shared.testing import People, eventually
from users_service.activity.handlers import handlers
from users_service.activity.maintenance import prune
from users_service.activity.models import Activity
from users_service.activity.schemas import ActivityType
from users_service.follows.handlers import handlers as followers
from users_service.tenants.models import Tenant

from .calls import Register

ACTIVITY = "/api/v1/activity"
EXAMPLES = Path(__file__).parents[2]

LOGGED = EventHandlers(handlers, followers)
"""A published post is logged where its author's followers are notified."""

Happen = Callable[..., Awaitable[None]]


@pytest.fixture
def happen(database: Database, as_user: People) -> Happen:
    """`await happen("ann", 3)` puts entries about a person into acme's log, a minute apart, the newest now."""

    async def call(name: str, count: int = 1, *, tenant: str = "acme", days_ago: int = 0) -> None:
        now = datetime.now(UTC) - timedelta(days=days_ago)
        async with database.transaction(as_user.tenant_id(tenant)) as db:
            await db.execute(
                insert(Activity),
                [
                    {
                        "tenant_id": as_user.tenant_id(tenant),
                        "id": new_id(),
                        "user_id": as_user.id(name),
                        "type": "job.completed",
                        "subject_id": new_id(),
                        "data": {"kind": "email"},
                        "created_at": now - timedelta(minutes=number),
                    }
                    for number in range(count)
                ],
            )

    return call


async def test_what_a_person_does_is_logged(client: httpx2.AsyncClient, as_user: People, acme: None) -> None:
    """From the commit through the bus into the log."""
    ann = as_user("ann")
    file = (await client.post("/api/v1/files", files={"file": ("a.txt", b"a")}, headers=ann)).json()
    await client.patch("/api/v1/profile", json={"bio": "Sails."}, headers=ann)

    async def logged() -> dict[str, Any] | None:
        items = (await client.get(ACTIVITY, headers=ann)).json()["items"]
        found = {item["type"]: item for item in items}
        return found if {"file.uploaded", "user.updated", "membership.granted"} <= set(found) else None

    found = await eventually(logged)
    assert found is not None
    uploaded = found["file.uploaded"]
    assert (uploaded["subject_id"], uploaded["user_id"]) == (file["id"], str(as_user.id("ann")))
    assert uploaded["data"] == {"content_type": "text/plain", "size_bytes": 1}
    assert datetime.fromisoformat(uploaded["created_at"]) == datetime.fromisoformat(file["created_at"])


@pytest.mark.parametrize("name", LOGGED.types)
async def test_each_event_is_logged_once(database: Database, name: str) -> None:
    """Also one that is handled again. The publisher's own example is what arrives."""
    [path] = EXAMPLES.glob(f"*/contracts/events/{name}.json")
    handler, envelope = LOGGED.get(name), Envelope.decode(path.read_bytes())
    assert handler is not None
    async with database.transaction(envelope.tenantid) as db:
        db.add(Tenant(tenant_id=envelope.tenantid, slug="example", name="Example"))
    for _ in range(2):
        async with database.transaction(envelope.tenantid) as db:
            await handler.handle(db, handler.event.of(envelope))
    async with database.transaction(envelope.tenantid) as db:
        [row] = await db.scalars(select(Activity))
    assert (row.id, row.subject_id, row.created_at) == (envelope.id, envelope.subject, envelope.time)
    assert row.type in ActivityType.__args__  # type: ignore[attr-defined]  # a Literal has them
    people = {
        envelope.data.get("user_id"),
        envelope.data.get("owner_id"),
        envelope.data.get("author_id"),
        str(envelope.subject),
    }
    assert str(row.user_id) in people
    assert not {"user_id", "owner_id", "author_id", "username"} & set(row.data)


async def test_a_member_reads_their_own_entries_and_an_admin_all(
    client: httpx2.AsyncClient, as_user: People, acme: None, globex: None, happen: Happen
) -> None:
    await happen("ann", 2)
    await happen("bob")
    bob, ann_id = str(as_user.id("bob")), str(as_user.id("ann"))
    only = f"{ACTIVITY}?type=job.completed"

    async def seen(headers: dict[str, str], more: str = "") -> list[str]:
        reply = await client.get(only + more, headers=headers)
        assert reply.status_code == 200, reply.text
        return sorted(item["user_id"] for item in reply.json()["items"])

    member, admin = as_user("bob"), as_user("ann", roles=["admin"])
    assert await seen(member) == [bob]
    assert await seen(member, f"&user_id={bob}") == [bob]
    refused = await client.get(f"{only}&user_id={ann_id}", headers=member)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert len(await seen(admin)) == 3
    assert await seen(admin, f"&user_id={bob}") == [bob]
    assert await seen(as_user("gil", tenant="globex", roles=["admin"]), f"&user_id={bob}") == []


@pytest.mark.parametrize("asked", ["type=job.done", "user_id=ann", "limit=201", "page=1", "sort=type"])
async def test_what_the_list_does_not_take_is_refused(
    client: httpx2.AsyncClient, as_user: People, acme: None, asked: str
) -> None:
    assert (await client.get(f"{ACTIVITY}?{asked}", headers=as_user("ann"))).status_code == 422


async def test_without_the_scope_it_is_refused(client: httpx2.AsyncClient, as_user: People, acme: None) -> None:
    assert (await client.get(ACTIVITY, headers=as_user("ann", scopes=["user:read"]))).status_code == 403


async def test_csv_has_every_entry(client: httpx2.AsyncClient, as_user: People, acme: None, happen: Happen) -> None:
    """More than the longest page, the newest first, as the list has them."""
    await happen("bob", 450)
    await happen("ann")
    bob = as_user("bob")
    async with client.stream("GET", f"{ACTIVITY}?type=job.completed", headers=bob | {"Accept": "text/csv"}) as reply:
        assert reply.headers["content-type"] == "text/csv; charset=utf-8"
        text = "".join([piece async for piece in reply.aiter_text()])
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len({row["id"] for row in rows}) == 450
    assert {row["user_id"] for row in rows} == {str(as_user.id("bob"))}
    assert [row["created_at"] for row in rows] == sorted((row["created_at"] for row in rows), reverse=True)
    listed = (await client.get(f"{ACTIVITY}?type=job.completed&limit=1", headers=bob)).json()["items"]
    assert (listed[0]["id"], rows[0]["data"]) == (rows[0]["id"], '{"kind":"email"}')


async def test_csv_is_refused_as_the_list_is(client: httpx2.AsyncClient, as_user: People, acme: None) -> None:
    """Before the first byte."""
    asked = f"{ACTIVITY}?user_id={as_user.id('ann')}"
    reply = await client.get(asked, headers=as_user("bob") | {"Accept": "text/csv"})
    assert (reply.status_code, reply.headers["content-type"]) == (403, "application/problem+json")


async def test_old_entries_are_forgotten(
    as_user: People, acme: None, globex: None, happen: Happen, database: Database
) -> None:
    for tenant, name in (("acme", "ann"), ("globex", "gil")):
        await happen(name, 3, tenant=tenant, days_ago=31)
        await happen(name, 2, tenant=tenant, days_ago=29)
    await prune(database, keep_days=30)

    async def left(tenant_id: UUID) -> int | None:
        async with database.transaction(tenant_id) as db:
            return await db.scalar(select(func.count()).where(Activity.type == "job.completed"))

    assert [await left(as_user.tenant_id(slug)) for slug in ("acme", "globex")] == [2, 2]


async def test_a_list_of_a_new_member_is_theirs_alone(
    client: httpx2.AsyncClient, as_user: People, acme: None, register: Register, happen: Happen
) -> None:
    await happen("ann", 3)
    await register("cy")
    items = (await client.get(ACTIVITY, headers=as_user("cy"))).json()["items"]
    assert {item["user_id"] for item in items} <= {str(as_user.id("cy"))}
