import httpx2
import pytest

from shared.testing import People

pytestmark = pytest.mark.usefixtures("acme", "globex")


async def test_the_directory_shows_active_members_of_the_own_tenant(
    client: httpx2.AsyncClient, as_user: People
) -> None:
    await client.put("/api/v1/profile", json={"full_name": "Bob Ray", "phone": "+4930901820"}, headers=as_user("bob"))
    tenant = f"/api/v1/tenants/{as_user.tenant_id('acme')}"
    await client.put(
        f"{tenant}/members/{as_user.id('gil')}", json={"roles": ["user"]}, headers=as_user("ann", roles=["admin"])
    )
    listed = await client.get("/api/v1/users", params={"sort": "username"}, headers=as_user("bob"))
    assert [(one["username"], one["full_name"], one["roles"]) for one in listed.json()["items"]] == [
        ("ann", None, ["admin"]),
        ("bob", "Bob Ray", ["user"]),
    ]
    assert "phone" not in listed.json()["items"][1]
    one = await client.get(f"/api/v1/users/{as_user.id('bob')}", headers=as_user("ann"))
    assert one.json() == listed.json()["items"][1]
    again = await client.get(
        f"/api/v1/users/{as_user.id('bob')}", headers=as_user("ann") | {"If-None-Match": one.headers["etag"]}
    )
    assert again.status_code == 304
    invited = await client.get(f"/api/v1/users/{as_user.id('gil')}", headers=as_user("bob"))
    assert (invited.status_code, invited.json()["code"]) == (404, "user_not_found")


async def test_the_directory_is_walked_and_filtered(client: httpx2.AsyncClient, as_user: People) -> None:
    first = await client.get("/api/v1/users", params={"limit": 1, "sort": "username"}, headers=as_user("bob"))
    following = {"limit": 1, "sort": "username", "cursor": first.json()["next_cursor"]}
    second = await client.get("/api/v1/users", params=following, headers=as_user("bob"))
    assert [one["username"] for page in (first, second) for one in page.json()["items"]] == ["ann", "bob"]
    assert second.json()["next_cursor"] is None
    for query, names in [({"role": "admin"}, ["ann"]), ({"username": "BOB"}, ["bob"])]:
        found = await client.get("/api/v1/users", params=query, headers=as_user("bob"))
        assert [one["username"] for one in found.json()["items"]] == names
