import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import text

from shared.data.database import Database
from shared.events.event import Envelope
from shared.ids import new_id
from shared.testing import People
from users_service.app import service as users

from .calls import Published, Register

TakeBack = Callable[[str], Awaitable[httpx2.Response]]


async def test_who_brings_a_tenant_is_its_admin(register: Register, published: Published, as_user: People) -> None:
    answer = await register("ann", tenant="acme")
    membership = answer["membership"]
    assert answer["user_id"] == membership["user_id"] == str(as_user.id("ann"))
    assert (membership["roles"], membership["status"], membership["version"]) == (["admin"], "active", 1)
    assert membership["tenant"] == {
        "id": str(as_user.tenant_id("acme")),
        "slug": "acme",
        "name": "Acme",
        "tier": "free",
        "settings": {},
        "status": "active",
        "version": 1,
    }
    tenant, granted = await published()
    assert (tenant.type, tenant.subject, tenant.tenant_id) == ("tenant.created.v1", tenant.tenant_id, tenant.subject)
    assert (granted.type, str(granted.subject), granted.subject_version) == (
        "membership.granted.v1",
        membership["id"],
        1,
    )
    assert granted.data == {
        "user_id": str(as_user.id("ann")),
        "username": "ann",
        "roles": ["admin"],
        "status": "active",
    }


async def test_who_brings_none_joins_the_default_tenant(register: Register) -> None:
    await register("ann", tenant="acme")
    membership = (await register("bob"))["membership"]
    assert (membership["tenant"]["slug"], membership["roles"], membership["status"]) == ("acme", ["user"], "active")


async def test_birth_date_and_newsletter_are_in_the_profile(
    register: Register, client: httpx2.AsyncClient, as_user: People
) -> None:
    await register("ann", tenant="acme", birth_date="1990-02-28", newsletter=True)
    await register("ann", tenant="acme", birth_date="1991-02-28", newsletter=False)  # a repeat changes nothing
    await register("bob")
    profiles = [(await client.get("/api/v1/profile", headers=as_user(name))).json() for name in ("ann", "bob")]
    shown = [(profile["birth_date"], profile["newsletter"]) for profile in profiles]
    assert shown == [("1990-02-28", True), (None, False)]
    patched = await client.patch("/api/v1/profile", json={"newsletter": None}, headers=as_user("ann"))
    assert patched.json()["newsletter"] is False
    assert patched.json()["birth_date"] == "1990-02-28"


async def test_a_registration_may_join_a_tenant_as_a_user(
    client: httpx2.AsyncClient, as_user: People, register: Register
) -> None:
    """As a sign-up through the tenant's own identity provider does."""
    await register("ann", tenant="acme")
    headers, tenant_id = as_user.service("auth"), str(as_user.tenant_id("acme"))
    body = {"username": "bob", "tenant": None, "join": tenant_id}
    reply = await client.put(f"/internal/registrations/{new_id()}", json=body, headers=headers)
    membership = reply.json()["membership"]
    assert (membership["tenant"]["id"], membership["roles"], membership["status"]) == (tenant_id, ["user"], "active")
    nowhere = await client.put(
        f"/internal/registrations/{new_id()}", json=body | {"username": "cy", "join": str(new_id())}, headers=headers
    )
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "tenant_not_found")


async def test_without_a_default_tenant_there_is_no_membership(
    register: Register, published: Published, as_user: People
) -> None:
    assert await register("bob") == {"user_id": str(as_user.id("bob")), "membership": None}
    assert await published() == []


async def test_a_repeat_answers_the_same_and_publishes_nothing(register: Register, published: Published) -> None:
    first = await asyncio.gather(*(register("ann", tenant="acme") for _ in range(4)))
    assert all(answer == first[0] for answer in first)
    assert len(await published()) == 2


async def test_a_slug_has_one_tenant(client: httpx2.AsyncClient, as_user: People, register: Register) -> None:
    await register("ann", tenant="acme")
    body = {"username": "eve", "tenant": {"id": str(new_id()), "name": "Acme", "slug": "acme"}}
    reply = await client.put(f"/internal/registrations/{new_id()}", json=body, headers=as_user.service("auth"))
    assert (reply.status_code, reply.json()["code"]) == (409, "slug_taken")


async def test_reserved_and_malformed_slugs_are_refused(client: httpx2.AsyncClient, as_user: People) -> None:
    wanted = {
        "admin": "slug_reserved",
        "www": "slug_reserved",
        "Acme": "string_pattern_mismatch",
        "a": "string_pattern_mismatch",
    }
    for slug, code in wanted.items():
        body = {"username": "eve", "tenant": {"id": str(new_id()), "name": "Acme", "slug": slug}}
        reply = await client.put(f"/internal/registrations/{new_id()}", json=body, headers=as_user.service("auth"))
        assert reply.status_code == 422
        assert reply.json()["errors"][0] | {"detail": ""} == {"detail": "", "code": code, "pointer": "#/tenant/slug"}


async def test_only_auth_service_registers(client: httpx2.AsyncClient, as_user: People) -> None:
    body = {"username": "eve", "tenant": None}
    for headers, status in [(as_user.service("chat"), 403), (as_user("ann", roles=["admin"]), 403), ({}, 401)]:
        path = f"/internal/registrations/{new_id()}"
        assert (await client.put(path, json=body, headers=headers)).status_code == status
        assert (await client.delete(path, headers=headers)).status_code == status


@pytest.fixture
def take_back(client: httpx2.AsyncClient, as_user: People) -> TakeBack:
    """Takes back the registration of someone as auth-service does."""

    async def call(name: str) -> httpx2.Response:
        path = f"/internal/registrations/{as_user.id(name)}"
        return await client.delete(path, headers=as_user.service("auth"))

    return call


async def test_a_registration_taken_back_leaves_nothing_and_frees_the_slug(
    client: httpx2.AsyncClient,
    register: Register,
    take_back: TakeBack,
    published: Published,
    database: Database,
    as_user: People,
) -> None:
    await register("ann", tenant="acme")
    before = len(await published())
    for _ in range(2):
        assert (await take_back("ann")).status_code == 204
    revoked, erased = (await published())[before:]
    assert (revoked.type, revoked.subject_version) == ("membership.revoked.v1", 2)
    assert (erased.type, erased.subject, erased.subject_version) == (
        "tenant.erased.v1",
        as_user.tenant_id("acme"),
        2,
    )
    async with database.transaction(as_user.tenant_id("acme")) as db:
        for table in ("tenants", "memberships", "profiles", "people"):
            assert await db.scalar(text(f"SELECT count(*) FROM {table}")) == 0, table  # noqa: S608 - named above

    body = {"username": "eve", "tenant": {"id": str(new_id()), "name": "Acme", "slug": "acme"}}
    assert (await _put(client, as_user, new_id(), body)).json()["membership"]["tenant"]["slug"] == "acme"


async def test_in_a_tenant_of_others_only_the_person_goes(
    register: Register, take_back: TakeBack, client: httpx2.AsyncClient, as_user: People, published: Published
) -> None:
    await register("ann", tenant="acme")
    await register("gil", tenant="globex")
    await register("bob")
    path = f"/api/v1/tenants/{as_user.tenant_id('globex')}/members/{as_user.id('bob')}"
    gil = as_user("gil", tenant="globex", roles=["admin"])
    assert (await client.put(path, json={"roles": ["admin"]}, headers=gil)).status_code == 201
    assert (await take_back("bob")).status_code == 204
    assert [event.type for event in await published("tenant.")] == ["tenant.created.v1"] * 2
    assert len(await published("membership.revoked")) == 2
    for tenant, admin in (("acme", "ann"), ("globex", "gil")):
        members = f"/api/v1/tenants/{as_user.tenant_id(tenant)}/members"
        reply = await client.get(members, headers=as_user(admin, tenant=tenant, roles=["admin"]))
        assert [one["username"] for one in reply.json()["items"]] == [admin]


async def test_a_call_that_comes_after_the_end_makes_nothing(
    client: httpx2.AsyncClient, take_back: TakeBack, published: Published, as_user: People
) -> None:
    assert (await take_back("ann")).status_code == 204
    body = {"username": "ann", "tenant": {"id": str(new_id()), "name": "Acme", "slug": "acme"}}
    reply = await _put(client, as_user, as_user.id("ann"), body)
    assert (reply.status_code, reply.json()["code"]) == (409, "registration_ended")
    assert await published() == []


async def test_of_calls_at_once_the_end_is_the_last_word(
    client: httpx2.AsyncClient, take_back: TakeBack, database: Database, as_user: People
) -> None:
    body = {"username": "ann", "tenant": {"id": str(as_user.tenant_id("acme")), "name": "Acme", "slug": "acme"}}
    puts = [_put(client, as_user, as_user.id("ann"), body) for _ in range(5)]
    ends = [take_back("ann") for _ in range(3)]
    replies = await asyncio.gather(*puts, *ends)
    assert {reply.status_code for reply in replies[:5]} <= {200, 409}
    assert {reply.status_code for reply in replies[5:]} == {204}
    async with database.transaction(as_user.tenant_id("acme")) as db:
        assert await db.scalar(text("SELECT count(*) FROM tenants")) == 0


async def test_an_active_account_is_not_taken_back(
    register: Register, take_back: TakeBack, database: Database, published: Published, as_user: People
) -> None:
    await register("ann", tenant="acme")
    handler = users.handlers.get("account.registered.v1")
    assert handler is not None
    example = Path(__file__).parents[2] / "auth-service" / "contracts" / "events" / "account.registered.v1.json"
    told = Envelope.decode(example.read_bytes()).model_copy(update={"subject": as_user.id("ann")})
    async with database.transaction(told.tenantid) as db:
        await handler.handle(db, handler.event.of(told))
    reply = await take_back("ann")
    assert (reply.status_code, reply.json()["code"]) == (409, "registration_confirmed")
    assert len(await published()) == 2
    assert (await register("ann", tenant="acme"))["membership"]["status"] == "active"


async def _put(client: httpx2.AsyncClient, as_user: People, user_id: UUID, body: dict[str, Any]) -> httpx2.Response:
    return await client.put(f"/internal/registrations/{user_id}", json=body, headers=as_user.service("auth"))
