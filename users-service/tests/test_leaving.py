"""Members leave by themselves, and an admin hands the tenant over."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from shared.ids import new_id
from shared.testing import People

from .calls import Published

pytestmark = pytest.mark.usefixtures("acme", "globex")


@pytest.fixture
def tenant(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}"


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


def problem(reply: httpx2.Response) -> tuple[int, str]:
    return reply.status_code, reply.json()["code"]


def impersonated(as_user: People, name: str, roles: list[str]) -> dict[str, str]:
    person = replace(as_user.principal(name, roles=roles), impersonator=as_user.id("ops"))
    return as_user.headers(as_user.signer("gateway").forward(person, "users"))


async def test_a_member_leaves(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str], published: Published
) -> None:
    own, bob = f"{tenant}/members/{as_user.id('bob')}", as_user("bob")
    assert (await client.delete(own, headers=bob)).status_code == 204
    assert problem(await client.delete(own, headers=bob)) == (401, "invalid_token")
    assert (await client.get(own, headers=ann)).status_code == 404
    [revoked] = await published("membership.revoked")
    assert revoked.data["username"] == "bob"
    feed = (await client.get("/internal/revocations", headers=as_user.service("auth"))).json()["entries"]
    [entry] = [one for one in feed if one.get("user_id") == str(as_user.id("bob"))]
    assert entry["roles"] is None
    assert (await client.put(own, json={"roles": ["user"]}, headers=ann)).status_code == 201


async def test_a_member_ends_no_other_membership(
    client: httpx2.AsyncClient, as_user: People, tenant: str, published: Published
) -> None:
    bob = as_user("bob")
    for name in ("ann", "nobody"):
        refused = await client.delete(f"{tenant}/members/{as_user.id(name)}", headers=bob)
        assert problem(refused) == (403, "insufficient_scope")
    elsewhere = f"/api/v1/tenants/{as_user.tenant_id('globex')}/members/{as_user.id('bob')}"
    assert problem(await client.delete(elsewhere, headers=bob)) == (403, "insufficient_scope")
    assert problem(await client.delete(elsewhere, headers=as_user("bob", roles=["admin"]))) == (404, "tenant_not_found")
    assert await published("membership.revoked") == []


async def test_leaving_needs_a_scope_and_the_person(client: httpx2.AsyncClient, as_user: People, tenant: str) -> None:
    own = f"{tenant}/members/{as_user.id('bob')}"
    refused = await client.delete(own, headers=as_user("bob", scopes=["profile:read", "user:read"]))
    assert problem(refused) == (403, "insufficient_scope")
    assert problem(await client.delete(own, headers=impersonated(as_user, "bob", ["user"]))) == (
        403,
        "impersonation_refused",
    )
    stale = await client.delete(own, headers=as_user("bob") | {"If-Match": '"7"'})
    assert problem(stale) == (412, "precondition_failed")


async def test_the_last_admin_does_not_leave(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str]
) -> None:
    own = f"{tenant}/members/{as_user.id('ann')}"
    for headers in (ann, as_user("ann", roles=["admin"], scopes=["profile:write"])):
        assert problem(await client.delete(own, headers=headers)) == (409, "last_admin")
    await client.put(f"{tenant}/members/{as_user.id('bob')}", json={"roles": ["admin"]}, headers=ann)
    assert (await client.delete(own, headers=ann)).status_code == 204


async def test_an_admin_hands_the_tenant_over(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str], published: Published
) -> None:
    reply = await client.post(f"{tenant}/transfer", json={"user_id": str(as_user.id("bob"))}, headers=ann)
    assert (reply.status_code, reply.json()["username"], reply.json()["roles"]) == (200, "bob", ["admin"])
    bob = as_user("bob", roles=["admin"])
    shown = (await client.get(f"{tenant}/members/{as_user.id('ann')}", headers=bob)).json()
    assert shown["roles"] == ["user"]
    changed = await published("membership.changed")
    assert [(row.data["username"], row.data["roles"]) for row in changed] == [("bob", ["admin"]), ("ann", ["user"])]
    feed = (await client.get("/internal/revocations", headers=as_user.service("auth"))).json()["entries"]
    assert {one.get("user_id") for one in feed} == {str(as_user.id("ann")), str(as_user.id("bob"))}
    again = await client.post(f"{tenant}/transfer", json={"user_id": str(as_user.id("bob"))}, headers=ann)
    assert problem(again) == (403, "insufficient_scope")


async def test_other_roles_of_the_successor_stay(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str]
) -> None:
    bob = f"{tenant}/members/{as_user.id('bob')}"
    await client.put(bob, json={"roles": ["user", "analyst"]}, headers=ann)
    reply = await client.post(f"{tenant}/transfer", json={"user_id": str(as_user.id("bob"))}, headers=ann)
    assert reply.json()["roles"] == ["admin", "analyst"]


async def test_it_is_handed_to_another_active_member_only(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str], published: Published
) -> None:
    await client.put(f"{tenant}/members/{as_user.id('gil')}", json={"roles": ["admin"]}, headers=ann)
    for user_id, outcome in [
        (as_user.id("gil"), (409, "transfer_refused")),  # invited, not active
        (as_user.id("ann"), (409, "transfer_refused")),
        (new_id(), (404, "member_not_found")),
    ]:
        reply = await client.post(f"{tenant}/transfer", json={"user_id": str(user_id)}, headers=ann)
        assert problem(reply) == outcome
    assert await published("membership.changed") == []


async def test_two_admins_who_hand_over_to_each_other_leave_one(
    client: httpx2.AsyncClient, as_user: People, tenant: str, ann: dict[str, str]
) -> None:
    await client.put(f"{tenant}/members/{as_user.id('bob')}", json={"roles": ["admin"]}, headers=ann)
    bob = as_user("bob", roles=["admin"])
    replies = await asyncio.gather(
        *(
            client.post(f"{tenant}/transfer", json={"user_id": str(as_user.id(name))}, headers=by)
            for name, by in (("ann", bob), ("bob", ann))
        )
    )
    assert {reply.status_code for reply in replies} == {200}  # one after the other: whoever was second is a user
    shown = (await client.get(f"{tenant}/members", headers=as_user("ann", roles=["admin"]))).json()["items"]
    assert sorted(one["roles"] for one in shown) == [["admin"], ["user"]]


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"name": "bob"}, (403, "insufficient_scope")),
        ({"name": "bob", "roles": ["admin"]}, (403, "insufficient_scope")),  # the token says admin, the membership user
        ({"name": "ann", "scopes": ["tenant:write"]}, (403, "insufficient_scope")),  # grants no more than it has
        ({"name": "gil", "tenant": "globex", "roles": ["admin"]}, (404, "tenant_not_found")),
    ],
)
async def test_who_may_not_hand_it_over(
    client: httpx2.AsyncClient, as_user: People, tenant: str, headers: dict[str, Any], outcome: tuple[int, str]
) -> None:
    body = {"user_id": str(as_user.id("bob"))}
    reply = await client.post(f"{tenant}/transfer", json=body, headers=as_user(**headers))
    assert problem(reply) == outcome


async def test_an_impersonation_hands_nothing_over(client: httpx2.AsyncClient, as_user: People, tenant: str) -> None:
    body = {"user_id": str(as_user.id("bob"))}
    reply = await client.post(f"{tenant}/transfer", json=body, headers=impersonated(as_user, "ann", ["admin"]))
    assert problem(reply) == (403, "impersonation_refused")


@pytest.mark.parametrize(
    ("body", "pointer"), [({}, "#/user_id"), ({"user_id": 7}, "#/user_id"), ({"user_id": "x", "roles": []}, "#/roles")]
)
async def test_what_names_nobody_is_refused(
    client: httpx2.AsyncClient, tenant: str, ann: dict[str, str], body: dict[str, Any], pointer: str
) -> None:
    reply = await client.post(f"{tenant}/transfer", json=body, headers=ann)
    assert reply.status_code == 422
    assert pointer in [error["pointer"] for error in reply.json()["errors"]]
