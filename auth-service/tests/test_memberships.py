"""The projection: events bring it forward, in whatever order they come, and never back."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from auth_service.app import service as auth
from auth_service.memberships import events, models
from shared.data.database import Database
from shared.events.event import Envelope
from shared.ids import new_id
from shared.testing.fakes import FakeUsers

from .door import Door, claims_of, problem
from .events import received

handlers = auth.handlers
TENANT, ANN, MEMBERSHIP = new_id(), new_id(), new_id()


async def _told(
    database: Database, kind: str, subject: UUID, version: int, data: dict[str, Any], tenant: UUID = TENANT
) -> None:
    await received(database, kind, subject, version, data, tenant)


async def _place(database: Database) -> tuple[str, list[str], str] | None:
    async with database.transaction(TENANT) as db:
        place = await models.find_membership(db, TENANT, ANN)
    return (place.membership.status, place.membership.roles, place.tenant.slug) if place else None


def _member(*roles: str, status: str = "active") -> dict[str, Any]:
    return {"user_id": str(ANN), "username": "ann", "roles": list(roles), "status": status}


async def _api_key(door: Door, tokens: dict[str, Any]) -> str:
    body = {"name": "a program", "scopes": ["files:read"]}
    reply = await door.client.post("/auth/api-keys", json=body, headers=door.bearer(tokens))
    key: str = reply.json()["key"]
    return key


async def _is_valid(door: Door, key: str) -> bool:
    gateway = door.people.service("gateway")
    reply = await door.client.post("/internal/api-keys/redeem", json={"key": key}, headers=gateway)
    return bool(reply.status_code == 200)


async def test_a_membership_that_ends_takes_its_sessions_and_api_keys_along(door: Door, users: FakeUsers) -> None:
    """Even if the person comes back: who had the old refresh token begins anew."""
    acme, globex = await door.signed_up("ann", slug="acme"), users.add_tenant("globex")
    member = users.add_member("globex", claims_of(acme)["sub"], roles=["user"])
    tokens = (await door.login("ann", tenant="globex")).json()
    keys = [await _api_key(door, session) for session in (acme, tokens)]
    data = {"user_id": claims_of(acme)["sub"], "username": "ann", "roles": ["user"], "status": "ended"}
    where = {"tenant": UUID(globex["id"])}
    await _told(door.database, "membership.revoked", UUID(member["id"]), 2, data, **where)
    sessions = await door.rows("SELECT id::text, end_reason FROM sessions ORDER BY created_at")
    assert sessions == [
        {"id": acme["session_id"], "end_reason": None},
        {"id": tokens["session_id"], "end_reason": "membership_ended"},
    ]
    assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")
    assert await door.rows("SELECT 1 FROM revocations") == []  # the reason is users-service's to tell
    await _told(door.database, "membership.granted", UUID(member["id"]), 3, data | {"status": "active"}, **where)
    assert problem(await door.refresh(tokens["refresh_token"])) == (401, "refresh_refused")

    assert [await _is_valid(door, key) for key in keys] == [True, False]

    newer = (await door.login("ann", tenant="globex")).json()
    await _told(door.database, "membership.revoked", UUID(member["id"]), 2, data, **where)  # said again, late
    assert (await door.refresh(newer["refresh_token"])).status_code == 200


async def test_an_answer_from_before_an_event_does_not_undo_it(door: Door, users: FakeUsers) -> None:
    """users-service answered, the tenant was suspended, and the event overtook the answer."""
    await door.signed_up("ann", slug="acme")
    tenant_id = UUID(users.tenants["acme"]["id"])
    suspended = {"slug": "acme", "name": "Acme", "tier": "free", "status": "suspended"}
    await _told(door.database, "tenant.suspended", tenant_id, 2, suspended, tenant=tenant_id)
    assert users.tenants["acme"]["version"] == 1
    assert problem(await door.login("ann", tenant="acme")) == (403, "tenant_closed")
    users.tenants["acme"]["version"] = 3
    assert (await door.login("ann", tenant="acme")).status_code == 200


ACME = {"slug": "acme", "name": "Acme", "tier": "free", "status": "active"}


async def test_events_bring_it_forward_and_never_back(database: Database) -> None:
    await _told(database, "membership.granted", MEMBERSHIP, 1, _member("user"))
    assert await _place(database) is None  # the tenant's own event is still to come
    await _told(database, "tenant.created", TENANT, 1, ACME)
    assert await _place(database) == ("active", ["user"], "acme")
    await _told(database, "membership.changed", MEMBERSHIP, 3, _member("admin"))
    await _told(database, "membership.changed", MEMBERSHIP, 2, _member("moderator"))
    assert await _place(database) == ("active", ["admin"], "acme")
    await _told(database, "membership.revoked", MEMBERSHIP, 4, _member("admin"))
    assert await _place(database) == ("ended", [], "acme")
    await _told(database, "tenant.suspended", TENANT, 3, {**ACME, "status": "suspended"})
    await _told(database, "tenant.updated", TENANT, 2, {**ACME, "slug": "older"})
    await _told(database, "membership.granted", MEMBERSHIP, 5, _member("user", status="invited"))
    assert await _place(database) == ("invited", ["user"], "acme")
    async with database.transaction() as db:
        assert await db.scalar(text("SELECT status FROM tenants")) == "suspended"


async def test_an_erased_tenant_is_forgotten(database: Database) -> None:
    await _told(database, "tenant.created", TENANT, 1, ACME)
    await _told(database, "membership.granted", MEMBERSHIP, 1, _member("admin"))
    await _told(database, "tenant.erased", TENANT, 2, ACME)
    assert await _place(database) is None
    async with database.transaction(TENANT) as db:
        for table in ("tenants", "memberships"):
            assert await db.scalar(text(f"SELECT count(*) FROM {table}")) == 0  # noqa: S608 - named above


@pytest.mark.parametrize("kind", ["created", "updated", "suspended", "resumed"])
def test_a_tenants_four_events_are_followed(kind: str) -> None:
    handler = handlers.get(f"tenant.{kind}.v1")
    assert handler is not None
    assert handler.latest_only
    assert issubclass(handler.event, events.TenantEvent)


@pytest.mark.parametrize("type_", handlers.types)
def test_the_publishers_examples_can_be_read(type_: str) -> None:
    example = Path(__file__).parents[2] / "users-service" / "contracts" / "events" / f"{type_}.json"
    handler = handlers.get(type_)
    assert handler is not None
    assert handler.event.of(Envelope.decode(example.read_bytes())).tenant_id is not None
