"""Rooms and their members by HTTP."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from sqlalchemy import text

from shared.data.database import Database
from shared.testing.fakes import FakeUsers
from shared.testing.names import UNACCEPTABLE_NAMES

from .conftest import MakeRoom, Members

ROOMS = "/api/v1/rooms"
UNREADABLE = [(422, "invalid_input"), (400, "malformed_request")]  # half a surrogate pair is no JSON text at all


async def test_a_room_is_made_and_read(client: httpx2.AsyncClient, members: Members) -> None:
    made = await client.post(ROOMS, json={"kind": "public", "name": " Harbour "}, headers=members("ann"))
    assert made.status_code == 201
    room = made.json()
    assert (room["name"], room["kind"], room["last_seq"]) == ("Harbour", "public", 0)
    read = await client.get(f"{ROOMS}/{room['id']}", headers=members("bob"))
    assert read.json() == room
    again = {**members("bob"), "If-None-Match": read.headers["etag"]}
    assert (await client.get(f"{ROOMS}/{room['id']}", headers=again)).status_code == 304


# The columns that the release before this one writes.
_OLD_ROOM = text(
    "INSERT INTO rooms (tenant_id, id, kind, name, created_by, epoch)"
    " VALUES (:tenant, gen_random_uuid(), 'public', :name, gen_random_uuid(), 'e')"
)


@pytest.mark.parametrize("same", ["PIER", "\uff50\uff49\uff45\uff52", "pi\u200ber"])
async def test_a_room_of_the_release_before_has_its_name_alone(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, database: Database, same: str
) -> None:
    """During a rolling update that release makes rooms, and knows no `name_key`."""
    await make_room("ann", kind="public", name="Harbour")
    async with database.transaction(members.tenant_id) as db:
        for name in ("Pier", "Har\u200bbour"):
            await db.execute(_OLD_ROOM, {"tenant": members.tenant_id, "name": name})
    for name in (same, "harbour"):
        taken = await client.post(ROOMS, json={"kind": "public", "name": name}, headers=members("bob"))
        assert (taken.status_code, taken.json().get("code")) == (409, "room_name_taken")
    await make_room("ann", kind="public", name="Quay")


async def test_public_names_are_unique_without_regard_to_case(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom
) -> None:
    await make_room("ann", kind="public", name="Harbour")
    taken = await client.post(ROOMS, json={"kind": "public", "name": "harbour"}, headers=members("bob"))
    assert (taken.status_code, taken.json()["code"]) == (409, "room_name_taken")
    private = await client.post(ROOMS, json={"kind": "private", "name": "harbour"}, headers=members("bob"))
    assert private.status_code == 201
    elsewhere = members("eve", tenant="globex-" + uuid4().hex[:6])
    assert (await client.post(ROOMS, json={"kind": "public", "name": "harbour"}, headers=elsewhere)).status_code == 201


async def test_the_same_two_people_get_the_same_direct_room(client: httpx2.AsyncClient, members: Members) -> None:
    first = await client.post(ROOMS, json={"kind": "direct", "user_id": str(members.id("bob"))}, headers=members("ann"))
    again = await client.post(ROOMS, json={"kind": "direct", "user_id": str(members.id("ann"))}, headers=members("bob"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.json()["name"] is None
    listed = await client.get(f"{ROOMS}/{first.json()['id']}/members?sort=username", headers=members("bob"))
    assert [member["username"] for member in listed.json()["items"]] == ["ann", "bob"]
    path = f"{ROOMS}/{first.json()['id']}/members/"
    for answer in (
        await client.put(path + str(members.id("cy")), headers=members("ann")),
        await client.delete(path + str(members.id("bob")), headers=members("ann")),
    ):
        assert answer.status_code in (403, 409)
    assert (await client.get(f"{ROOMS}/{first.json()['id']}", headers=members("cy"))).status_code == 404


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"kind": "public"}, "missing", "#/name"),
        ({"kind": "public", "name": ""}, "visible_character", "#/name"),
        ({"kind": "public", "name": "two\nlines"}, "one_line", "#/name"),
        ({"kind": "direct", "user_id": "x"}, "uuid_parsing", "#/user_id"),
        ({"kind": "direct", "user_id": str(uuid4()), "name": "x"}, "extra_forbidden", "#/name"),
        ({"kind": "secret", "name": "x"}, "literal_error", "#/kind"),
        ({"name": "x"}, "missing", "#/kind"),
    ],
)
async def test_what_is_wrong_with_a_room_is_said_where_it_stands(
    client: httpx2.AsyncClient, members: Members, body: dict[str, Any], code: str, pointer: str
) -> None:
    reply = await client.post(ROOMS, json=body, headers=members("ann"))
    assert [(error["code"], error["pointer"]) for error in reply.json()["errors"]] == [(code, pointer)]
    assert "secret" not in reply.text


async def test_two_people_who_open_their_direct_room_at_once_get_one(
    client: httpx2.AsyncClient, members: Members, second_url: str
) -> None:
    """Nobody has heard of any of them yet, so that each request has the people to store as well."""

    async def open_(http: httpx2.AsyncClient, maker: str, other: str) -> httpx2.Response:
        body = {"kind": "direct", "user_id": str(members.id(other))}
        return await http.post("/api/v1/rooms", json=body, headers=members(maker))

    async with httpx2.AsyncClient(base_url=second_url, timeout=20) as elsewhere:
        for one, two in (("ann", "bob"), ("cy", "dee"), ("ann", "cy"), ("bob", "dee")):
            http = ((client, one, two), (elsewhere, two, one), (client, two, one), (elsewhere, one, two))
            replies = await asyncio.gather(*(open_(*asked) for asked in http))
            assert sorted(reply.status_code for reply in replies) == [200, 200, 200, 201]
            assert len({reply.json()["id"] for reply in replies}) == 1


async def test_a_direct_room_needs_another_person_of_the_tenant(client: httpx2.AsyncClient, members: Members) -> None:
    own = await client.post(ROOMS, json={"kind": "direct", "user_id": str(members.id("ann"))}, headers=members("ann"))
    assert (own.status_code, own.json()["errors"][0]["pointer"]) == (422, "#/user_id")
    nobody = await client.post(ROOMS, json={"kind": "direct", "user_id": str(uuid4())}, headers=members("ann"))
    assert nobody.status_code == 404


async def test_a_repeated_key_makes_one_room(client: httpx2.AsyncClient, members: Members) -> None:
    headers = {**members("ann"), "Idempotency-Key": uuid4().hex}
    made = [await client.post(ROOMS, json={"kind": "public", "name": "pier"}, headers=headers) for _ in range(2)]
    assert [reply.status_code for reply in made] == [201, 201]
    assert made[0].json() == made[1].json()


async def test_the_list_shows_what_one_may_know_of(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom
) -> None:
    public = await make_room("ann", kind="public", name="quay")
    private = await make_room("ann", "bob")
    own = await make_room("ann")

    async def listed(name: str, query: str = "", **token: Any) -> list[str]:
        reply = await client.get(f"{ROOMS}{query}", headers=members(name, **token))
        assert reply.status_code == 200, reply.text
        return [room["id"] for room in reply.json()["items"]]

    assert await listed("ann") == [own, private, public]
    assert await listed("bob") == [private, public]
    assert await listed("bob", "?kind=public&kind=direct") == [public]
    assert await listed("cy", "?sort=created_at") == [public]
    assert await listed("eve", tenant="globex", roles=["admin"]) == []
    page = (await client.get(f"{ROOMS}?limit=2", headers=members("ann"))).json()
    rest = (await client.get(f"{ROOMS}?limit=2&cursor={page['next_cursor']}", headers=members("ann"))).json()
    assert [room["id"] for room in page["items"] + rest["items"]] == [own, private, public]
    assert rest["next_cursor"] is None


async def test_members_come_and_go(client: httpx2.AsyncClient, members: Members, make_room: MakeRoom) -> None:
    room = await make_room("ann")
    path = f"{ROOMS}/{room}/members/"
    bob, cy = path + str(members.id("bob")), path + str(members.id("cy"))
    first, again = [await client.put(bob, headers=members("ann")) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert (await client.put(cy, headers=members("cy"))).status_code == 404  # she does not know the room
    assert (await client.put(cy, headers=members("bob"))).status_code == 201
    assert (await client.delete(cy, headers=members("bob"))).status_code == 403
    assert (await client.delete(cy, headers=members("ann"))).status_code == 204  # who made the room may
    assert (await client.delete(cy, headers=members("ann"))).status_code == 404
    assert (await client.delete(bob, headers=members("bob"))).status_code == 204
    assert (await client.get(f"{ROOMS}/{room}", headers=members("bob"))).status_code == 404


async def test_anyone_joins_a_public_room_and_only_members_add_others(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom
) -> None:
    room = await make_room("ann", kind="public")
    path = f"{ROOMS}/{room}/members/"
    assert (await client.put(path + str(members.id("cy")), headers=members("bob"))).status_code == 403
    assert (await client.put(path + str(members.id("bob")), headers=members("bob"))).status_code == 201
    assert (await client.put(path + str(members.id("cy")), headers=members("bob"))).status_code == 201
    moderator = members("dee", roles=["moderator"])
    assert (await client.delete(path + str(members.id("cy")), headers=moderator)).status_code == 204


async def test_somebody_whom_no_event_told_of_is_asked_for(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, users: FakeUsers
) -> None:
    room, new = await make_room("ann"), uuid4()
    path = f"{ROOMS}/{room}/members/{new}"
    assert (await client.put(path, headers=members("ann"))).status_code == 404
    users.add_member(members.slug, new, roles=["user"], username="newcomer", status="invited")
    added = await client.put(path, headers=members("ann"))
    assert (added.status_code, added.json()["username"]) == (201, "newcomer")


async def test_another_tenants_objects_are_not_found(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom
) -> None:
    room = await make_room("ann", kind="public")
    eve = members("eve", tenant="globex", roles=["admin"])
    ann = str(members.id("ann"))
    message = {"text": "ahoy", "client_id": "1"}
    for method, path, body in (
        ("GET", f"{ROOMS}/{room}", None),
        ("GET", f"{ROOMS}/{room}/members", None),
        ("PUT", f"{ROOMS}/{room}/members/{ann}", None),
        ("DELETE", f"{ROOMS}/{room}/members/{ann}", None),
        ("GET", f"{ROOMS}/{room}/messages", None),
        ("POST", f"{ROOMS}/{room}/messages", message),
        ("GET", f"/api/v1/presence?room_id={room}", None),
        ("POST", ROOMS, {"kind": "direct", "user_id": ann}),
        ("POST", f"/api/v1/notifications/{room}/read", None),
    ):
        reply = await client.request(method, path, json=body, headers=eve)
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), f"{method} {path}"


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"kind": "public"},
        {"kind": "public", "name": ""},
        {"kind": "public", "name": "   "},
        {"kind": "public", "name": "x" * 101},
        {"kind": "public", "name": "a\0b"},
        {"kind": "public", "name": "\ud800"},
        {"kind": "public", "name": 1},
        {"kind": "public", "name": "a", "user_id": str(uuid4())},
        {"kind": "secret", "name": "a"},
        {"kind": "direct"},
        {"kind": "direct", "user_id": "bob"},
        {"kind": "direct", "user_id": str(uuid4()), "name": "a"},
    ],
)
async def test_a_room_that_cannot_be_is_422(client: httpx2.AsyncClient, members: Members, body: Any) -> None:
    headers = {**members("ann"), "Content-Type": "application/json"}
    reply = await client.post(ROOMS, content=json.dumps(body), headers=headers)
    assert (reply.status_code, reply.json()["code"]) in UNREADABLE, reply.text


@pytest.mark.parametrize(
    "path",
    [
        f"{ROOMS}?limit=201",
        f"{ROOMS}?limit=0",
        f"{ROOMS}?colour=red",
        f"{ROOMS}?sort=name",
        f"{ROOMS}?cursor=x",
        f"{ROOMS}?kind=secret",
        f"{ROOMS}/harbour",
        f"{ROOMS}/{uuid4()}/messages?after=-1",
        f"{ROOMS}/{uuid4()}/messages?after=1&before=2",
        f"{ROOMS}/{uuid4()}/messages?limit=201",
        f"{ROOMS}/{uuid4()}/messages?after={2**63}",
        f"{ROOMS}/{uuid4()}/messages?colour=red",
        "/api/v1/presence",
        "/api/v1/presence?room_id=x",
        "/api/v1/notifications?unread=maybe",
        "/api/v1/notifications?limit=201",
    ],
)
async def test_a_query_that_cannot_be_is_422(client: httpx2.AsyncClient, members: Members, path: str) -> None:
    reply = await client.get(path, headers=members("ann"))
    assert (reply.status_code, reply.json()["code"]) == (422, "invalid_input"), reply.text


async def test_scopes_and_tenants_are_asked_for(client: httpx2.AsyncClient, members: Members) -> None:
    assert (await client.get(ROOMS)).status_code == 401
    reader = members("ann", scopes=["chat:read"])
    refused = await client.post(ROOMS, json={"kind": "public", "name": "a"}, headers=reader)
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert (await client.get(ROOMS, headers=members("ann", scopes=["chat:write"]))).status_code == 403
    assert (await client.get(ROOMS, headers=members("ann", tenant=None))).status_code == 403


@pytest.mark.parametrize("kind", ["public", "private"])
async def test_a_name_that_cannot_be_read_is_refused(client: httpx2.AsyncClient, members: Members, kind: str) -> None:
    for name in UNACCEPTABLE_NAMES:
        reply = await client.post(ROOMS, json={"kind": kind, "name": name}, headers=members("ann"))
        assert (reply.status_code, reply.json()["errors"][0]["pointer"]) == (422, "#/name"), ascii(name)


@pytest.mark.parametrize(
    "same",
    [
        "cafe\u0301 a\u0300 paris",  # decomposed
        "  Caf\u00e9  \u00a0\u00c0 Paris",
        "caf\u00e9 \u00e0 p\u200baris",  # a zero width space
        "caf\u00e9 \u00e0 \uff50\uff41\uff52\uff49\uff53",  # full width
        "caf\u00e9 \u00e0 paris\u3164",
    ],
)
async def test_public_names_that_look_the_same_are_one_name(
    client: httpx2.AsyncClient, members: Members, make_room: MakeRoom, same: str
) -> None:
    await make_room("ann", kind="public", name="Caf\u00e9 \u00e0 Paris")
    taken = await client.post(ROOMS, json={"kind": "public", "name": same}, headers=members("bob"))
    assert (taken.status_code, taken.json().get("code")) == (409, "room_name_taken")


async def test_a_name_is_stored_composed(client: httpx2.AsyncClient, members: Members) -> None:
    made = await client.post(ROOMS, json={"kind": "private", "name": "Cafe\u0301"}, headers=members("ann"))
    assert made.json()["name"] == "Caf\u00e9"
