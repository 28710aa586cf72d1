from typing import Any

import httpx2
import pytest

from shared.data.database import Database
from shared.testing import People
from users_service.members.commands import change_tenant, set_operator
from users_service.members.service import MemberNotFound
from users_service.tenants.service import TenantNotFound

from .calls import Published


async def test_an_operator_is_made_by_the_command_line_alone(
    database: Database, acme: None, published: Published
) -> None:
    assert await set_operator(database, "acme", "Bob", operator=True) == ["system", "user"]
    assert await set_operator(database, "acme", "bob", operator=True) == ["system", "user"]
    assert await set_operator(database, "acme", "bob", operator=False) == ["user"]
    changed = [row.data["roles"] for row in await published("membership.changed")]
    assert changed == [["system", "user"], ["user"]]
    with pytest.raises(MemberNotFound):
        await set_operator(database, "acme", "eve", operator=True)
    with pytest.raises(TenantNotFound):
        await set_operator(database, "globex", "gil", operator=True)


async def test_a_tenants_admin_does_not_take_the_role_away(
    database: Database, acme: None, client: httpx2.AsyncClient, as_user: People
) -> None:
    await set_operator(database, "acme", "bob", operator=True)
    path = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}"
    for roles in (["analyst"], ["analyst"], ["admin", "user"]):
        reply = await client.put(path, json={"roles": roles}, headers=as_user("ann", roles=["admin"]))
        assert (reply.status_code, reply.json()["roles"]) == (200, sorted([*roles, "system"]))
    assert await set_operator(database, "acme", "bob", operator=False) == ["admin", "user"]


async def test_the_command_line_sets_a_tenants_tier_and_status(
    database: Database, acme: None, published: Published
) -> None:
    raised = await change_tenant(database, "acme", {"tier": "enterprise"})
    assert raised == "acme is active and of the tier enterprise"
    suspended = await change_tenant(database, "acme", {"status": "suspended"})
    assert suspended == "acme is suspended and of the tier enterprise"
    assert [row.type for row in (await published("tenant."))[1:]] == ["tenant.updated.v1", "tenant.suspended.v1"]
    with pytest.raises(TenantNotFound):
        await change_tenant(database, "globex", {"tier": "free"})


async def _call(
    client: httpx2.AsyncClient, as_user: People, method: str, name: str = "", **more: Any
) -> httpx2.Response:
    path = f"/internal/operators/{as_user.id(name)}" if name else "/internal/operators"
    return await client.request(method, path, headers=as_user.service("auth"), **more)


async def test_auth_service_makes_an_active_member_an_operator(
    acme: None, client: httpx2.AsyncClient, as_user: People, published: Published
) -> None:
    body = {"tenant_id": str(as_user.tenant_id("acme"))}
    for _ in range(2):
        made = await _call(client, as_user, "PUT", "bob", json=body)
        assert (made.status_code, made.json()["roles"]) == (200, ["system", "user"])
    listed = (await _call(client, as_user, "GET")).json()["items"]
    assert [(one["username"], one["tenant"]["slug"]) for one in listed] == [("bob", "acme")]
    for _ in range(2):
        assert (await _call(client, as_user, "DELETE", "bob")).status_code == 204
    assert (await _call(client, as_user, "GET")).json()["items"] == []
    assert [row.data["roles"] for row in await published("membership.changed")] == [["system", "user"], ["user"]]


async def test_no_one_else_becomes_an_operator_by_that_call(
    acme: None, globex: None, client: httpx2.AsyncClient, as_user: People
) -> None:
    acme_id = as_user.tenant_id("acme")
    admin = as_user("ann", roles=["admin"])
    invited = f"/api/v1/tenants/{acme_id}/members/{as_user.id('gil')}"
    assert (await client.put(invited, json={"roles": ["user"]}, headers=admin)).status_code == 201
    for name in ("gil", "eve"):  # invited, unknown
        refused = await _call(client, as_user, "PUT", name, json={"tenant_id": str(acme_id)})
        assert (refused.status_code, refused.json()["code"]) == (404, "member_not_found")
    elsewhere = await _call(client, as_user, "PUT", "ann", json={"tenant_id": str(as_user.id("ann"))})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "tenant_not_found")
    path, body = f"/internal/operators/{as_user.id('ann')}", {"tenant_id": str(acme_id)}
    for headers in (admin, as_user.service("gateway"), as_user.service("tasks"), as_user.service("chat")):
        assert (await client.put(path, json=body, headers=headers)).status_code == 403
        assert (await client.get("/internal/operators", headers=headers)).status_code == 403
        assert (await client.delete(path, headers=headers)).status_code == 403
