import httpx2
import pytest

from shared.testing import People

pytestmark = pytest.mark.usefixtures("acme", "globex")

LISTED = {"id", "username", "name", "roles", "status", "created_at"}


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


@pytest.fixture
async def invited(client: httpx2.AsyncClient, as_user: People, ann: dict[str, str]) -> str:
    """The path of gil, who is invited to acme and has not accepted; her name is known in globex."""
    gil = as_user("gil", tenant="globex")
    await client.put("/api/v1/profile", json={"full_name": "Gil Fox", "bio": "Secret."}, headers=gil)
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('gil')}"
    reply = await client.put(member, json={"roles": ["user"]}, headers=ann)
    assert (reply.status_code, reply.json()["status"]) == (201, "invited")
    return f"/api/v1/users/{as_user.id('gil')}"


async def _names(client: httpx2.AsyncClient, headers: dict[str, str], **query: object) -> list[str]:
    reply = await client.get("/api/v1/users", params={"sort": "username", **query}, headers=headers)
    assert reply.status_code == 200, reply.text
    return [one["username"] for one in reply.json()["users"]]


async def test_the_directory_shows_active_members_of_the_own_tenant(
    client: httpx2.AsyncClient, as_user: People, invited: str
) -> None:
    profile = {"full_name": "Bob Ray", "phone": "+4930901820", "bio": "Sails.", "locale": "en"}
    await client.put("/api/v1/profile", json=profile, headers=as_user("bob"))
    listed = await client.get("/api/v1/users", params={"sort": "username"}, headers=as_user("bob"))
    assert listed.json().keys() == {"users", "next_cursor"}
    assert all(one.keys() == LISTED for one in listed.json()["users"])
    assert [(one["username"], one["name"], one["roles"], one["status"]) for one in listed.json()["users"]] == [
        ("ann", None, ["admin"], "active"),
        ("bob", "Bob Ray", ["user"], "active"),
    ]
    bob = f"/api/v1/users/{as_user.id('bob')}"
    one = await client.get(bob, headers=as_user("ann"))
    assert one.json() == listed.json()["users"][1] | {"bio": "Sails.", "locale": "en"}
    again = await client.get(bob, headers=as_user("ann") | {"If-None-Match": one.headers["etag"]})
    assert again.status_code == 304
    hidden = await client.get(invited, headers=as_user("bob"))
    assert (hidden.status_code, hidden.json()["code"]) == (404, "user_not_found")


async def test_the_directory_is_walked_and_filtered(client: httpx2.AsyncClient, as_user: People) -> None:
    first = await client.get("/api/v1/users", params={"limit": 1, "sort": "username"}, headers=as_user("bob"))
    following = {"limit": 1, "sort": "username", "cursor": first.json()["next_cursor"]}
    second = await client.get("/api/v1/users", params=following, headers=as_user("bob"))
    assert [one["username"] for page in (first, second) for one in page.json()["users"]] == ["ann", "bob"]
    assert second.json()["next_cursor"] is None
    ann, bob, gil = (str(as_user.id(name)) for name in ("ann", "bob", "gil"))
    for query, names in [
        ({"role": "admin"}, ["ann"]),
        ({"role": ["admin", "user"]}, ["ann", "bob"]),
        ({"username": "BOB"}, ["bob"]),
        ({"ids": [bob, gil]}, ["bob"]),
        ({"ids": [ann, bob], "role": "user"}, ["bob"]),
        ({"status": "active"}, ["ann", "bob"]),
        ({"created_after": "2999-01-01T00:00:00Z"}, []),
        ({"created_before": "2999-01-01T00:00:00Z"}, ["ann", "bob"]),
    ]:
        assert await _names(client, as_user("bob"), **query) == names, query


async def test_page_mode_counts_the_people(client: httpx2.AsyncClient, as_user: People) -> None:
    query = {"page": 2, "size": 1, "sort": "username"}
    reply = await client.get("/api/v1/users", params=query, headers=as_user("bob"))
    assert reply.json().keys() == {"users", "pagination"}
    assert [(one["username"], one.keys()) for one in reply.json()["users"]] == [("bob", LISTED)]
    pagination = {"page": 2, "size": 1, "total": 2, "pages": 2, "has_next": False, "has_prev": True}
    assert reply.json()["pagination"].items() >= pagination.items()
    both = await client.get("/api/v1/users", params={"page": 1, "limit": 1}, headers=as_user("bob"))
    assert (both.status_code, both.json()["errors"][0]["code"]) == (422, "one_mode")


async def test_people_who_are_not_active_are_shown_to_those_who_manage_them(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str], invited: str
) -> None:
    everyone = {"status": ["invited", "active", "suspended"]}
    assert await _names(client, ann) == ["ann", "bob"]
    assert await _names(client, ann, **everyone) == ["ann", "bob", "gil"]
    assert await _names(client, as_user("ann", scopes=["user:read", "user:write"]), status="invited") == ["gil"]
    assert (await client.get(invited, headers=ann)).json()["status"] == "invited"
    for query in ({"status": "invited"}, everyone):
        refused = await client.get("/api/v1/users", params=query, headers=as_user("bob"))
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    ended = await client.get("/api/v1/users", params={"status": "ended"}, headers=ann)
    assert (ended.status_code, ended.json()["errors"][0]["parameter"]) == (422, "status")


async def test_who_left_shows_no_name_until_they_accept_again(
    client: httpx2.AsyncClient, as_user: People, ann: dict[str, str]
) -> None:
    await client.put("/api/v1/profile", json={"full_name": "Bob Ray", "bio": "Sails."}, headers=as_user("bob"))
    member = f"/api/v1/tenants/{as_user.tenant_id('acme')}/members/{as_user.id('bob')}"
    assert (await client.delete(member, headers=ann)).status_code == 204
    bob = f"/api/v1/users/{as_user.id('bob')}"
    assert (await client.get(bob, headers=ann)).status_code == 404
    assert (await client.put(member, json={"roles": ["user"]}, headers=ann)).status_code == 201
    shown = (await client.get(bob, headers=ann)).json()
    assert (shown["status"], shown["name"], shown["bio"]) == ("invited", None, None)


async def test_too_many_ids_are_refused(client: httpx2.AsyncClient, as_user: People) -> None:
    ids = [str(as_user.id(f"person{number}")) for number in range(101)]
    reply = await client.get("/api/v1/users", params={"ids": ids}, headers=as_user("bob"))
    assert (reply.status_code, reply.json()["errors"][0]["parameter"]) == (422, "ids")


async def test_the_directory_needs_its_scope_and_a_tenant(client: httpx2.AsyncClient, as_user: People) -> None:
    narrow = await client.get("/api/v1/users", headers=as_user("bob", scopes=["profile:read"]))
    assert (narrow.status_code, narrow.json()["code"]) == (403, "insufficient_scope")
    nowhere = await client.get("/api/v1/users", headers=as_user("bob", tenant=None))
    assert (nowhere.status_code, nowhere.json()["code"]) == (403, "no_tenant")
