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
