import httpx2
import pytest

from shared.testing import People
from shared.testing.names import UNACCEPTABLE_NAMES

from .calls import Published

pytestmark = pytest.mark.usefixtures("acme", "globex")


@pytest.fixture
def tenant(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}"


async def test_an_admin_renames_the_tenant(
    client: httpx2.AsyncClient, as_user: People, tenant: str, published: Published
) -> None:
    ann = as_user("ann", roles=["admin"])
    shown = await client.get(tenant, headers=ann)
    assert (shown.json()["slug"], shown.json()["name"], shown.json()["tier"]) == ("acme", "Acme", "free")
    reply = await client.patch(tenant, json={"name": "Acme Ltd"}, headers=ann | {"If-Match": shown.headers["etag"]})
    assert (reply.status_code, reply.json()["name"]) == (200, "Acme Ltd")
    stale = await client.patch(tenant, json={"name": "Late"}, headers=ann | {"If-Match": shown.headers["etag"]})
    assert stale.status_code == 412
    same = await client.patch(tenant, json={"name": "Acme Ltd"}, headers=ann)
    assert same.headers["etag"] == reply.headers["etag"]
    events = await published("tenant.updated")
    assert [(row.subject_version, row.data["name"]) for row in events] == [(2, "Acme Ltd")]


async def test_tier_and_status_are_the_operators(
    client: httpx2.AsyncClient, as_user: People, tenant: str, operator: dict[str, str], published: Published
) -> None:
    refused = await client.patch(tenant, json={"tier": "enterprise"}, headers=as_user("ann", roles=["admin"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    raised = await client.patch(tenant, json={"tier": "enterprise", "status": "suspended"}, headers=operator)
    assert (raised.json()["tier"], raised.json()["status"]) == ("enterprise", "suspended")
    await client.patch(tenant, json={"status": "active"}, headers=operator)
    events = [row for row in await published("tenant.") if row.type != "tenant.created.v1"]
    assert [(row.type, row.data["status"]) for row in events] == [
        ("tenant.updated.v1", "active"),
        ("tenant.suspended.v1", "suspended"),
        ("tenant.resumed.v1", "active"),
    ]
    assert [row.subject_version for row in events] == [2, 3, 4]


async def test_what_cannot_be_in_a_tenant_is_refused(
    client: httpx2.AsyncClient, tenant: str, operator: dict[str, str]
) -> None:
    for body, field in [
        ({"name": None}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"tier": "gold"}, "tier"),
        ({"status": "gone"}, "status"),
        ({"slug": "other"}, "slug"),
    ]:
        reply = await client.patch(tenant, json=body, headers=operator)
        assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, f"#/{field}"), body


async def test_one_sees_the_tenants_one_belongs_to(
    client: httpx2.AsyncClient, as_user: People, tenant: str, operator: dict[str, str]
) -> None:
    await client.put(
        f"{tenant}/members/{as_user.id('gil')}", json={"roles": ["user"]}, headers=as_user("ann", roles=["admin"])
    )
    for headers, slugs in [
        (as_user("bob"), ["acme"]),
        (as_user("gil", tenant="globex"), ["acme", "globex"]),
        (operator, ["acme", "globex", "operations"]),
        (as_user("eve", tenant="initech"), []),
    ]:
        reply = await client.get("/api/v1/tenants", params={"sort": "slug"}, headers=headers)
        assert [one["slug"] for one in reply.json()["items"]] == slugs


@pytest.mark.parametrize("name", UNACCEPTABLE_NAMES)
async def test_a_name_that_cannot_be_read_is_refused(
    client: httpx2.AsyncClient, as_user: People, tenant: str, name: str
) -> None:
    reply = await client.patch(tenant, json={"name": name}, headers=as_user("ann", roles=["admin"]))
    assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/name")


async def test_a_name_is_stored_composed(client: httpx2.AsyncClient, as_user: People, tenant: str) -> None:
    reply = await client.patch(tenant, json={"name": "  Cafe\u0301  Lee "}, headers=as_user("ann", roles=["admin"]))
    assert reply.json()["name"] == "Caf\u00e9 Lee"
