"""How a connection begins and ends: handshakes, tokens, revocations, readers that do not read, a server that goes."""

import asyncio
import time
from dataclasses import replace

import httpx2
import pytest
from websockets.exceptions import InvalidStatus

from chat_service.app import service as chat
from chat_service.delivery.hub import Hub
from chat_service.delivery.outgoing import CLOSED
from shared.resources import Resources
from shared.settings import ServiceSettings
from shared.testing import eventually, running_service, serving_service
from shared.testing.fakes import FakeAuth, FakeUsers
from shared.web.sockets import SocketProtocol

from .conftest import MakeRoom, Members, Said, Talking
from .talk import Talk, talk, talking


async def test_a_refused_handshake_with_authorization_gets_a_status(base_url: str, members: Members) -> None:
    cases = {
        401: {"Authorization": "Bearer nonsense"},
        403: members("ann", scopes=["jobs:read"]),
    }
    for status, headers in cases.items():
        with pytest.raises(InvalidStatus) as refused:
            await talk(base_url, headers)
        assert refused.value.response.status_code == status
        assert refused.value.response.headers["content-type"] == "application/problem+json"
    with pytest.raises(InvalidStatus) as refused:
        await talk(base_url, members("ann", tenant=None))
    assert refused.value.response.status_code == 403


async def test_one_without_authorization_is_accepted_and_closed(base_url: str) -> None:
    async with await talk(base_url, {}) as nobody:
        assert await nobody.closed() == 4001
    async with await talk(base_url, {}, ["flotilla.v1", "bearer.nonsense"]) as nobody:
        assert await nobody.closed() == 4001


async def test_another_protocol_is_closed_with_4000(base_url: str, members: Members) -> None:
    for protocols in ([], ["graphql-ws"]):
        async with await talk(base_url, members("ann"), protocols) as ann:
            assert await ann.closed() == 4000
            assert ann.heard == []


async def ending_soon(base_url: str, members: Members, lifetime_s: int) -> Talk:
    """A connection whose token ends after so many seconds."""
    principal = replace(members.principal("ann"), expires_at=int(time.time()) + lifetime_s)
    token = members.people.signer("gateway").forward(principal, "chat", min(lifetime_s, 60))
    return await talk(base_url, members.people.headers(token))


async def test_the_tokens_end_closes(base_url: str, members: Members) -> None:
    async with await ending_soon(base_url, members, 2) as ann:
        await ann.expect("welcome")
        assert await ann.closed() == 4001


async def test_a_renewed_connection_goes_on(base_url: str, members: Members, auth: FakeAuth) -> None:
    began = time.time()
    async with await ending_soon(base_url, members, 2) as ann:
        await ann.expect("welcome")
        await ann.say("renew", token=auth.access_token(members.principal("ann")), ref=1)
        renewed = await ann.expect("renewed")
        assert renewed["expires_in"] > 500
        await eventually(lambda: time.time() > began + 2.5, saying="the first token has ended")
        await ann.say("ping")
        await ann.expect("pong")


async def test_a_token_of_somebody_else_changes_nothing(base_url: str, members: Members, auth: FakeAuth) -> None:
    bob = auth.access_token(members.principal("bob"))
    elsewhere = auth.access_token(members.principal("ann", tenant="globex"))
    internal = members("ann")["Authorization"].removeprefix("Bearer ")
    operator = auth.access_token(replace(members.principal("ann"), impersonator=members.id("root")))
    bound = auth.access_token(replace(members.principal("ann"), dpop_jkt="x" * 43))  # no proof comes with it
    async with await ending_soon(base_url, members, 3) as ann:
        await ann.expect("welcome")
        for token in (bob, elsewhere, operator, internal, bound, "nonsense"):
            await ann.say("renew", token=token, ref=token[:8])
            assert (await ann.expect("error"))["code"] == "forbidden"
        assert await ann.closed() == 4001


async def test_revocations_close_within_two_seconds(
    members: Members, connected: Talking, auth: FakeAuth, users: FakeUsers, second_url: str
) -> None:
    tenant, bob, cy, dee = members.tenant_id, members.id("bob"), members.id("cy"), members.id("dee")
    session = members.principal("ann").session_id
    async with (
        connected("ann", session_id=session) as ann,
        connected("bob", at=second_url) as bob_on_two,
        connected("cy") as cy_on_one,
        connected("dee") as dee_stays,
    ):
        began = time.monotonic()
        auth.end_session(session)
        users.revoke("membership", tenant_id=str(tenant), user_id=str(bob), roles=None, version=2)
        users.revoke("membership", tenant_id=str(tenant), user_id=str(cy), roles=["moderator"], version=2)
        users.revoke("membership", tenant_id=str(tenant), user_id=str(dee), roles=["user"], version=1)
        assert await ann.closed() == 4001
        assert await bob_on_two.closed() == 4003
        assert await cy_on_one.closed() == 4001  # other roles: come back with a fresh token
        assert time.monotonic() - began < 2
        await dee_stays.say("ping")
        await dee_stays.expect("pong")
        users.revoke("tenant", id=str(tenant), suspended=True)
        assert await dee_stays.closed() == 4003


async def test_a_connection_renewed_with_the_new_version_of_a_membership_goes_on(
    members: Members, connected: Talking, auth: FakeAuth, users: FakeUsers
) -> None:
    async with connected("ann") as ann, connected("bob") as bob:
        await ann.say("renew", token=auth.access_token(members.principal("ann", membership_version=2)))
        await ann.expect("renewed")
        for name in ("ann", "bob"):
            member = {"tenant_id": str(members.tenant_id), "user_id": str(members.id(name))}
            users.revoke("membership", **member, roles=["user"], version=2)
        assert await bob.closed() == 4001
        await ann.say("ping")
        await ann.expect("pong")


async def test_whoever_is_taken_out_of_a_room_hears_no_more_of_it(
    client: httpx2.AsyncClient, members: Members, connected: Talking, make_room: MakeRoom, second_url: str
) -> None:
    room = await make_room("ann", "bob")
    async with connected("ann") as ann, connected("bob", at=second_url) as bob:
        await ann.subscribe(room)
        await bob.subscribe(room)
        path = f"/api/v1/rooms/{room}/members/{members.id('bob')}"
        assert (await client.delete(path, headers=members("ann"))).status_code == 204
        gone = await bob.expect("unsubscribed", within_s=2)
        assert (gone["room_id"], gone["reason"]) == (room, "removed")
        await ann.send(room)
        await bob.say("send", room_id=room, text="ahoy", client_id="1")
        assert (await bob.expect("error"))["code"] == "not_found"
        assert bob.seqs(room) == []


async def test_a_reader_that_stops_is_dropped_and_the_others_go_on(
    base_url: str, members: Members, connected: Talking, make_room: MakeRoom, said: Said, resources: Resources
) -> None:
    """Nothing is held for it beyond its bounds: the connection is gone although it never reads its close."""
    room = await make_room("ann", "bob")
    hub = resources.get(Hub)
    async with connected("ann") as ann:
        before = hub.size
        bob = await talk(base_url, members("bob"))
        await bob.subscribe(room)
        await ann.subscribe(room)
        bob.stop_reading()
        await said(room, 150, "x" * 4000)
        await ann.reaches(room, 150)
        await eventually(lambda: hub.size == before, within_s=10, saying="the stalled connection is gone")
        await bob.drop()


async def test_a_reader_that_was_too_slow_is_told_so(
    base_url: str, members: Members, make_room: MakeRoom, said: Said
) -> None:
    room = await make_room("ann", "bob")
    slow = CLOSED.labels("4008")._value.get
    async with await talk(base_url, members("bob")) as bob:
        before = slow()
        await bob.subscribe(room)
        bob.stop_reading()
        await said(room, 150, "x" * 4000)
        await eventually(lambda: slow() > before, saying="the server has given up")
        bob.socket.transport.resume_reading()  # type: ignore[attr-defined]  # a socket's transport can
        assert await bob.closed() == 4008


async def test_a_long_history_does_not_make_its_reader_slow(
    connected: Talking, make_room: MakeRoom, said: Said
) -> None:
    """A megabyte of history in three pages, through a queue of 64 KiB, while more is said."""
    room = await make_room("ann", "bob")
    await said(room, 250, "x" * 4000)
    async with connected("bob") as bob:
        subscribed = await bob.subscribe(room, after=0)
        await said(room, 5)
        assert await bob.reaches(room, 255) == list(range(1, 256))
        assert subscribed["recovered"] is True


async def test_a_server_that_stops_says_1012_and_leaves_nobody_present(
    settings: ServiceSettings,
    client: httpx2.AsyncClient,
    members: Members,
    make_room: MakeRoom,
    connected: Talking,
) -> None:
    room = await make_room("ann", "bob")
    async with connected("ann") as ann:
        await ann.subscribe(room)
        async with running_service(chat.create_app(settings), ws=SocketProtocol) as third_url:
            bob = await talk(third_url, members("bob"))
            await bob.subscribe(room)
            await ann.expect("user_joined")
        assert await bob.closed() == 1012
        await bob.close()
        assert (await ann.expect("user_left"))["user"]["username"] == "bob"


async def test_a_peer_that_answers_no_ping_is_dropped(
    settings: ServiceSettings, members: Members, make_room: MakeRoom
) -> None:
    """It is absent at once, without the grace period of a close."""
    quick = settings.model_copy(
        update={
            "socket": settings.socket.model_copy(update={"heartbeat_s": 0.2, "answer_s": 0.2}),  # type: ignore[attr-defined]  # ChatSettings
            "presence": settings.presence.model_copy(update={"grace_s": 60.0}),  # type: ignore[attr-defined]  # as above
        }
    )
    room = await make_room("ann", "bob")
    async with serving_service(chat.create_app(quick), ws=SocketProtocol) as served:
        ann, deaf = await talk(served.url, members("ann")), await talk(served.url, members("bob"))
        hub = served.resources.get(Hub)
        await eventually(lambda: hub.size == 2)
        for one in (ann, deaf):
            await one.subscribe(room)
        await ann.expect("user_joined")
        deaf.stop_reading()
        await eventually(lambda: hub.size == 1, saying="the deaf one is gone")
        await ann.expect("user_left")
        await ann.say("ping")
        await ann.expect("pong")
        await deaf.drop()
        await ann.close()


async def test_a_connection_that_ends_amid_its_work_leaves_nothing_running(
    base_url: str, members: Members, make_room: MakeRoom
) -> None:
    room = await make_room("ann")
    for number in range(40):
        async with talking(base_url, members("ann")) as ann:
            await ann.say("subscribe", room_id=room)
            for more in range(5):
                await ann.say("send", room_id=room, text="ahoy", client_id=f"{number}-{more}")
            await asyncio.sleep(number / 4000)  # whatever is under way then is broken off
            await ann.drop()

    def working() -> list[str]:
        names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
        return [name for name in names if name == "Connection.work"]

    await eventually(lambda: not working(), within_s=10, saying="no connection works any more")
