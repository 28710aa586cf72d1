import asyncio

import httpx2

from shared.ids import new_id
from shared.testing import People

from .calls import Published, Register


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
        "status": "active",
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
        reply = await client.put(f"/internal/registrations/{new_id()}", json=body, headers=headers)
        assert reply.status_code == status
