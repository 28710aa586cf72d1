import asyncio
from typing import Any

import httpx2
import pytest

from shared.ids import new_id
from shared.testing import People

from .calls import Published, Register

pytestmark = pytest.mark.usefixtures("acme", "globex")


@pytest.fixture
def members(as_user: People) -> str:
    return f"/api/v1/tenants/{as_user.tenant_id('acme')}/members"


@pytest.fixture
def ann(as_user: People) -> dict[str, str]:
    return as_user("ann", roles=["admin"])


async def accept(client: httpx2.AsyncClient, as_user: People, name: str) -> dict[str, Any]:
    path = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id(name)}/accept"
    reply = await client.post(path, headers=as_user.service("auth"))
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer


async def test_a_person_is_invited_and_becomes_a_member_by_accepting(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str], published: Published
) -> None:
    gil = f"{members}/{as_user.id('gil')}"
    await client.put("/api/v1/profile", json={"full_name": "Gil"}, headers=as_user("gil", tenant="globex"))
    invited = await client.put(gil, json={"roles": ["user"]}, headers=ann)
    again = await client.put(gil, json={"roles": ["user"]}, headers=ann)
    assert (invited.status_code, again.status_code) == (201, 200)
    assert invited.json() == again.json()
    assert (invited.json()["username"], invited.json()["roles"]) == ("gil", ["user"])
    assert invited.json().keys() == {"user_id", "username", "roles", "status", "created_at", "updated_at"}
    assert invited.json()["status"] == "invited"
    assert (await accept(client, as_user, "gil"))["status"] == "active"
    assert (await accept(client, as_user, "gil"))["version"] == 2
    events = [row for row in await published("membership.") if row.data["username"] == "gil"][1:]
    assert [(row.type, row.subject_version, row.data["status"]) for row in events] == [
        ("membership.granted.v1", 1, "invited"),
        ("membership.changed.v1", 2, "active"),
    ]
    assert events[0].subject == events[1].subject


async def test_roles_are_replaced(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str], published: Published
) -> None:
    bob = f"{members}/{as_user.id('bob')}"
    shown = await client.get(bob, headers=ann)
    reply = await client.put(
        bob, json={"roles": ["user", "analyst"]}, headers=ann | {"If-Match": shown.headers["etag"]}
    )
    assert (reply.status_code, reply.json()["roles"], reply.json()["status"]) == (200, ["analyst", "user"], "active")
    stale = await client.put(bob, json={"roles": ["user"]}, headers=ann | {"If-Match": shown.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert (await published("membership.changed"))[-1].data["roles"] == ["analyst", "user"]


async def test_a_condition_tells_a_new_member_from_one_who_is_there(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str]
) -> None:
    gil = f"{members}/{as_user.id('gil')}"
    for header, before, after in [("If-Match", 412, 200), ("If-None-Match", 201, 412)]:
        asked = {"json": {"roles": ["user"]}, "headers": ann | {header: "*"}}
        assert (await client.put(gil, **asked)).status_code == before
        await client.put(gil, json={"roles": ["user"]}, headers=ann)
        assert (await client.put(gil, **asked)).status_code == after
        assert (await client.delete(gil, headers=ann)).status_code == 204


async def test_an_ended_membership_is_taken_up_again_under_its_old_id(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str], published: Published
) -> None:
    bob = f"{members}/{as_user.id('bob')}"
    assert (await client.delete(bob, headers=ann)).status_code == 204
    assert (await client.delete(bob, headers=ann)).json()["code"] == "member_not_found"
    assert (await client.get(bob, headers=ann)).status_code == 404
    internal = f"/internal/memberships/{as_user.tenant_id('acme')}/{as_user.id('bob')}"
    assert (await client.get(internal, headers=as_user.service("chat"))).status_code == 404
    assert (await client.put(bob, json={"roles": ["user"]}, headers=ann)).status_code == 201
    events = [row for row in await published("membership.") if row.data["username"] == "bob"]
    assert [(row.type, row.subject_version) for row in events] == [
        ("membership.granted.v1", 1),
        ("membership.revoked.v1", 2),
        ("membership.granted.v1", 3),
    ]
    assert len({row.subject for row in events}) == 1


async def test_the_last_admin_stays(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str]
) -> None:
    own = f"{members}/{as_user.id('ann')}"
    for reply in [
        await client.delete(own, headers=ann),
        await client.put(own, json={"roles": ["user"]}, headers=ann),
    ]:
        assert (reply.status_code, reply.json()["code"]) == (409, "last_admin")
    # an invited admin cannot let anyone in yet
    await client.put(f"{members}/{as_user.id('gil')}", json={"roles": ["admin"]}, headers=ann)
    assert (await client.delete(own, headers=ann)).status_code == 409
    await accept(client, as_user, "gil")
    assert (await client.delete(own, headers=ann)).status_code == 204


async def test_two_admins_who_remove_each_other_at_once_leave_one(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str]
) -> None:
    await client.put(f"{members}/{as_user.id('bob')}", json={"roles": ["admin"]}, headers=ann)
    bob = as_user("bob", roles=["admin"])
    replies = await asyncio.gather(
        *(client.delete(f"{members}/{as_user.id(name)}", headers=by) for name, by in (("ann", bob), ("bob", ann)))
    )
    assert sorted(reply.status_code for reply in replies) == [204, 401]


async def test_two_admins_who_leave_at_once_leave_one(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str]
) -> None:
    await client.put(f"{members}/{as_user.id('bob')}", json={"roles": ["admin"]}, headers=ann)
    bob = as_user("bob", roles=["admin"])
    replies = await asyncio.gather(
        *(client.delete(f"{members}/{as_user.id(name)}", headers=by) for name, by in (("ann", ann), ("bob", bob)))
    )
    assert sorted(reply.status_code for reply in replies) == [204, 409]


async def test_members_are_listed_page_by_page(
    client: httpx2.AsyncClient, as_user: People, register: Register, members: str, ann: dict[str, str]
) -> None:
    for name in ("cy", "dee", "eli"):
        await register(name)
    seen: list[str] = []
    query = {"limit": "2", "sort": "-username"}
    while query.get("cursor", "") is not None:
        page = (await client.get(members, params=query, headers=ann)).json()
        seen += [one["username"] for one in page["items"]]
        query["cursor"] = page["next_cursor"]
    assert seen == ["eli", "dee", "cy", "bob", "ann"]
    admins = await client.get(members, params={"role": ["admin", "analyst"]}, headers=ann)
    assert [one["username"] for one in admins.json()["items"]] == ["ann"]
    first, last = [one["created_at"] for one in (await client.get(members, headers=ann)).json()["items"]][
        :: len(seen) - 1
    ]
    between = await client.get(members, params={"created_after": last, "created_before": first}, headers=ann)
    assert {one["username"] for one in between.json()["items"]} == {"bob", "cy", "dee"}


async def test_a_list_refuses_what_it_does_not_know(
    client: httpx2.AsyncClient, members: str, ann: dict[str, str]
) -> None:
    for query, parameter in {
        "limit=201": "limit",
        "limit=0": "limit",
        "colour=red": "colour",
        "sort=roles": "sort",
        "sort=created_at,created_at": "sort",
        "cursor=%00": "cursor",
        "cursor=W10": "cursor",
        "created_after=yesterday": "created_after",
        "role=king": "role",
    }.items():
        reply = await client.get(f"{members}?{query}", headers=ann)
        assert (reply.status_code, reply.json()["errors"][0]["parameter"]) == (422, parameter), query


async def test_whom_nobody_knows_cannot_be_made_a_member(
    client: httpx2.AsyncClient, members: str, ann: dict[str, str]
) -> None:
    reply = await client.put(f"{members}/{new_id()}", json={"roles": ["user"]}, headers=ann)
    assert (reply.status_code, reply.json()["code"]) == (404, "person_not_found")


async def test_roles_that_no_tenant_grants_are_refused(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str]
) -> None:
    for roles in (["system"], [], ["user", "user"], "user", [None], ["king"]):
        reply = await client.put(f"{members}/{as_user.id('bob')}", json={"roles": roles}, headers=ann)
        assert reply.status_code == 422, roles
        assert reply.json()["errors"][0]["pointer"].startswith("#/roles")


async def test_an_ordinary_member_may_neither_see_nor_change_members(
    client: httpx2.AsyncClient, as_user: People, members: str
) -> None:
    bob = as_user("bob")
    own = f"{members}/{as_user.id('bob')}"
    for reply in [
        await client.get(members, headers=bob),
        await client.get(own, headers=bob),
        await client.put(own, json={"roles": ["admin"]}, headers=bob),
        await client.delete(f"{members}/{as_user.id('ann')}", headers=bob),
    ]:
        assert (reply.status_code, reply.json()["code"]) == (403, "insufficient_scope")


async def test_a_persons_memberships_are_told_to_auth_service(
    client: httpx2.AsyncClient, as_user: People, members: str, ann: dict[str, str]
) -> None:
    await client.put(f"{members}/{as_user.id('gil')}", json={"roles": ["user"]}, headers=ann)
    reply = await client.get(
        "/internal/memberships", params={"user_id": str(as_user.id("gil"))}, headers=as_user.service("auth")
    )
    found = [(one["tenant"]["slug"], one["roles"], one["status"]) for one in reply.json()["items"]]
    assert found == [("globex", ["admin"], "active"), ("acme", ["user"], "invited")]
