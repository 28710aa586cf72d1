"""Notifications: from an event on the bus to every device, and the list of them."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx2
import pytest

from chat_service.app import service as chat
from shared.data.database import Database
from shared.events import Bus, open_bus
from shared.testing import eventually

from .bus import envelope, publish
from .conftest import Members, Talking

NOTIFICATIONS = "/api/v1/notifications"
ASKED = "notification.requested.v1"


@pytest.fixture
async def bus(bus_url: str, base_url: str) -> AsyncIterator[Bus]:
    opened = open_bus(bus_url)
    await opened.declare("chat", chat.handlers.types)
    yield opened
    await opened.close()


async def test_a_finished_job_is_told_to_every_device(
    bus: Bus, client: httpx2.AsyncClient, members: Members, connected: Talking, second_url: str
) -> None:
    job = uuid4()
    done = envelope("job.completed.v1", job, members.tenant_id, user_id=str(members.id("ann")), kind="file_processing")
    async with connected("ann") as laptop, connected("ann", at=second_url) as phone, connected("bob") as bob:
        await publish(bus, done)
        await publish(bus, done)  # delivered twice
        told = await laptop.expect("notification")
        assert told == await phone.expect("notification")
        assert (told["kind"], told["data"]["job_id"], told["read_at"]) == ("job.completed", str(job), None)
        assert told["title"]
        about = {"user_id": str(members.id("ann")), "kind": "wait", "code": "lost"}
        failed = envelope("job.failed.v1", job, members.tenant_id, **about)
        await publish(bus, failed)
        assert (await phone.expect("notification"))["kind"] == "job.failed"
        assert (await laptop.expect("notification"))["seq"] == told["seq"] + 1
        assert [f for f in bob.heard if f["type"] == "notification"] == []
    listed = (await client.get(f"{NOTIFICATIONS}?unread=true", headers=members("ann"))).json()
    assert [one["kind"] for one in listed["items"]] == ["job.failed", "job.completed"]
    assert {"type": "notification", **listed["items"][1]} == told


async def test_people_are_notified_of_an_occasion_once(
    bus: Bus, client: httpx2.AsyncClient, members: Members, connected: Talking
) -> None:
    """Also where another event asks for it again, and for somebody more."""
    people = [members.id("ann"), members.id("bob")]
    about = {"post_id": str(uuid4()), "author_id": str(members.id("cy"))}
    asked = {"kind": "post.published", "data": about, "occasion_id": str(uuid4())}
    cy = {"user_id": about["author_id"], "username": "cy", "roles": ["user"], "status": "active"}
    await publish(bus, envelope("membership.granted.v1", uuid4(), members.tenant_id, **cy))
    async with connected("ann") as ann, connected("bob") as bob:
        for some in (people[:1], people):
            await publish(
                bus, envelope(ASKED, uuid4(), members.tenant_id, user_ids=[str(one) for one in some], **asked)
            )
        told = await ann.expect("notification")
        assert (told["kind"], told["data"], told["title"]) == ("post.published", about, "New post")
        assert told["body"] in ("cy published a post.", "Someone you follow published a post.")
        await bob.expect("notification")
    for name in ("ann", "bob"):
        listed = (await client.get(f"{NOTIFICATIONS}?kind=post.published", headers=members(name))).json()["items"]
        assert len([one for one in listed if one["data"] == about]) == 1


async def test_five_hundred_people_are_notified_at_once(
    bus: Bus, client: httpx2.AsyncClient, members: Members, connected: Talking
) -> None:
    """Two events with the same people in other orders do not deadlock, and each person's numbers have no gap."""
    crowd = [str(uuid4()) for _ in range(499)]
    about = {"post_id": str(uuid4())}
    async with connected("ann") as ann:
        for some in ([str(members.id("ann")), *crowd], [*crowd[::-1], str(members.id("ann"))]):
            asked = {"user_ids": some, "kind": "post.removed", "data": about, "occasion_id": str(uuid4())}
            await publish(bus, envelope(ASKED, uuid4(), members.tenant_id, **asked))
        seqs = [(await ann.expect("notification"))["seq"] for _ in range(2)]
    assert sorted(seqs) == [min(seqs), min(seqs) + 1]


async def test_a_notification_stays_unread_until_it_is_read(
    bus: Bus, client: httpx2.AsyncClient, members: Members
) -> None:
    ann = members("ann")
    about = {"user_id": str(members.id("ann")), "kind": "wait"}
    await publish(bus, envelope("job.completed.v1", uuid4(), members.tenant_id, **about))

    async def unread() -> list[str]:
        reply = await client.get(f"{NOTIFICATIONS}?unread=true", headers=ann)
        return [one["id"] for one in reply.json()["items"]]

    await eventually(unread, saying="the notification is stored")
    [asked] = await unread()
    for headers in (members("bob"), members("ann", tenant="globex")):
        assert (await client.post(f"{NOTIFICATIONS}/{asked}/read", headers=headers)).status_code == 404
    for _ in range(2):
        assert (await client.post(f"{NOTIFICATIONS}/{asked}/read", headers=ann)).status_code == 204
    assert await unread() == []
    read = (await client.get(f"{NOTIFICATIONS}?unread=false", headers=ann)).json()["items"]
    assert read[0]["read_at"] is not None


async def test_the_end_of_a_membership_takes_the_person_out_of_the_rooms(
    bus: Bus, client: httpx2.AsyncClient, members: Members, connected: Talking, database: Database
) -> None:
    """An older word about the same membership that comes later changes nothing."""
    ann, bob = members("ann"), members.id("bob")
    room = (await client.post("/api/v1/rooms", json={"kind": "private", "name": "a"}, headers=ann)).json()["id"]
    await client.put(f"/api/v1/rooms/{room}/members/{bob}", headers=ann)
    membership = uuid4()
    about = {"user_id": str(bob), "username": "bob", "roles": ["user"]}
    async with connected("bob") as client_of_bob:
        await client_of_bob.subscribe(room)
        ended = envelope("membership.revoked.v1", membership, members.tenant_id, version=3, **about, status="ended")
        await publish(bus, ended)
        assert (await client_of_bob.expect("unsubscribed"))["reason"] == "removed"
    late = envelope("membership.changed.v1", membership, members.tenant_id, version=2, **about, status="active")
    await publish(bus, late)
    again = envelope("membership.granted.v1", membership, members.tenant_id, version=4, **about, status="invited")
    await publish(bus, again)

    async def taken_up() -> bool:
        reply = await client.put(f"/api/v1/rooms/{room}/members/{bob}", headers=ann)
        return reply.status_code == 201

    assert await eventually(taken_up)


async def test_a_removed_member_grants_nothing_with_the_token_from_before(
    bus: Bus, client: httpx2.AsyncClient, members: Members, database: Database
) -> None:
    """The revocation feed has not ended the token yet; membership of a room would outlast it."""
    ann, bob, cy = members("ann"), members("bob"), members.id("cy")
    public = await client.post("/api/v1/rooms", json={"kind": "public", "name": uuid4().hex}, headers=ann)
    room = public.json()["id"]
    assert (await client.put(f"/api/v1/rooms/{room}/members/{members.id('bob')}", headers=bob)).status_code == 201
    about = {"user_id": str(members.id("bob")), "username": "bob", "roles": ["user"], "status": "ended"}
    await publish(bus, envelope("membership.revoked.v1", uuid4(), members.tenant_id, version=3, **about))

    async def taken_out() -> bool:
        listed = (await client.get(f"/api/v1/rooms/{room}/members", headers=ann)).json()["items"]
        return [one["user_id"] for one in listed] == [str(members.id("ann"))]

    await eventually(taken_out)
    attempts = {
        "join": client.put(f"/api/v1/rooms/{room}/members/{members.id('bob')}", headers=bob),
        "add another": client.put(f"/api/v1/rooms/{room}/members/{cy}", headers=bob),
        "make a room": client.post("/api/v1/rooms", json={"kind": "private", "name": "mine"}, headers=bob),
        "take another out": client.delete(f"/api/v1/rooms/{room}/members/{members.id('ann')}", headers=bob),
    }
    refused = {name: (await attempt).json().get("code") for name, attempt in attempts.items()}
    assert refused == dict.fromkeys(attempts, "invalid_token")
    assert await taken_out()
