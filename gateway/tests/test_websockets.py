"""WebSockets through the gateway: handshakes, messages in both directions, close codes, back-pressure, revocation."""

import asyncio
from contextlib import suppress
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.proxy import tunnel
from shared.testing.waiting import eventually, until_stable

FLOTILLA = "flotilla.v1"

closings: list[int] = []
"""The close codes that `echoing` received from clients."""


async def echoing(scope: Any, receive: Any, send: Any) -> None:
    """Accepts, sends the handshake's query and headers, then echoes each message; `close N` closes with code N."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
    headers = [f"{name.decode()}={value.decode()}" for name, value in scope["headers"]]
    await send({"type": "websocket.send", "text": "\n".join([scope["query_string"].decode(), *headers])})
    while (message := await receive())["type"] == "websocket.receive":
        text = message.get("text")
        if text is not None and text.startswith("close "):
            await send({"type": "websocket.close", "code": int(text.split()[1]), "reason": "as asked"})
            return
        await send({"type": "websocket.send", "text": text, "bytes": message.get("bytes")})
    closings.append(message["code"])


@pytest.fixture(autouse=True)
def _service(upstream: Any) -> None:
    upstream.handler = echoing
    closings.clear()


def opened(edge: Any, path: str = "/ws", subprotocols: Any = (FLOTILLA,), headers: Any = None, **options: Any) -> Any:
    return connect(
        edge.ws_url + path, subprotocols=list(subprotocols), additional_headers=headers, proxy=None, **options
    )


async def close_of(socket: Any) -> tuple[int, str]:
    """The code and reason with which the gateway closes; messages before that are ignored."""
    async with asyncio.timeout(10):
        with suppress(ConnectionClosed):
            async for _ in socket:
                pass
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def test_messages_are_carried_unchanged_in_both_directions(edge: Any, sign_in: Any) -> None:
    async with opened(edge, headers=sign_in("ann")) as socket:
        assert socket.subprotocol == FLOTILLA
        assert "x-request-id" in socket.response.headers
        await socket.recv()
        for message in ("", "text", "é😀" * 1000, b"", b"\x00\xff" * 1000, "x" * 60_000):
            await socket.send(message)
            assert await socket.recv() == message


@pytest.mark.parametrize("by", ["authorization", "subprotocol", "ticket"])
async def test_a_credential_opens_the_websocket_and_is_not_forwarded(
    edge: Any, sign_in: Any, upstream: Any, auth: Any, by: str
) -> None:
    token = sign_in.token(sign_in.principal("ann"))
    auth.tickets[("t1", "/ws")] = jwt.decode(token, options={"verify_signature": False})
    path = "/ws?ticket=t1&v=2" if by == "ticket" else "/ws?v=2"
    subprotocols = [FLOTILLA, f"bearer.{token}"] if by == "subprotocol" else [FLOTILLA]
    headers = {"Authorization": f"Bearer {token}"} if by == "authorization" else {"X-User-ID": "evil"}
    async with opened(edge, path, subprotocols, headers) as socket:
        query, *seen = str(await socket.recv()).split("\n")
    assert query == "v=2"
    assert not any(token in line or "evil" in line or "bearer." in line for line in seen)
    assert sum(line.startswith("authorization=Bearer ") for line in seen) == 1
    assert f"sec-websocket-protocol={FLOTILLA}" in seen


@pytest.mark.parametrize(
    ("path", "subprotocols", "code"),
    [
        ("/ws", [FLOTILLA], 4001),
        ("/ws", [FLOTILLA, "bearer.wrong"], 4001),
        ("/ws?ticket=wrong", [FLOTILLA], 4001),
        ("/ws", ["other.v1"], 4000),
    ],
)
async def test_a_browser_is_refused_with_a_close_code(edge: Any, path: str, subprotocols: list[str], code: int) -> None:
    async with opened(edge, path, subprotocols) as socket:
        assert (await close_of(socket))[0] == code


@pytest.mark.parametrize("signed_in", [False, True])
async def test_without_any_subprotocol_it_is_closed_with_4000(edge: Any, sign_in: Any, signed_in: bool) -> None:
    headers = sign_in("ann") if signed_in else None
    async with connect(edge.ws_url + "/ws", additional_headers=headers, proxy=None) as socket:
        assert (await close_of(socket))[0] == 4000


async def test_a_missing_scope_is_forbidden(edge: Any, sign_in: Any) -> None:
    token = sign_in.token(sign_in.principal("ann", scopes=["files:read"]))
    async with opened(edge, subprotocols=[FLOTILLA, f"bearer.{token}"]) as socket:
        assert (await close_of(socket))[0] == 4003


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Authorization": "Bearer wrong"}, 401), ("no scope", 403), ("another tenant", 403)],
)
async def test_a_header_credential_is_refused_with_a_status(edge: Any, sign_in: Any, headers: Any, status: int) -> None:
    if headers == "no scope":
        headers = sign_in("ann", scopes=["files:read"])
    elif headers == "another tenant":
        headers = sign_in("ann", tenant="acme") | {"X-Tenant-ID": "globex"}
    with pytest.raises(InvalidStatus) as refused:
        await opened(edge, headers=headers)
    assert refused.value.response.status_code == status
    assert refused.value.response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/rooms", "/internal/ws"])
async def test_other_paths_accept_no_websocket(
    edge: Any, sign_in: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await opened(edge, path, headers=sign_in("ann"))
    assert refused.value.response.status_code == 404
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_the_query_of_a_handshake_is_not_logged(edge: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        async with opened(edge, "/ws?access_token=hush-hush") as socket:
            assert (await close_of(socket))[0] == 4001
    assert "hush-hush" not in caplog.text


@pytest.mark.parametrize("code", [1000, 1003, 1011, 1012, 1013, 4000, 4001, 4003, 4008, 4029])
async def test_the_service_s_close_reaches_the_client(edge: Any, sign_in: Any, code: int) -> None:
    async with opened(edge, headers=sign_in("ann")) as socket:
        await socket.send(f"close {code}")
        assert await close_of(socket) == (code, "as asked")


@pytest.mark.parametrize("code", [1000, 1001, 3999, 4999])
async def test_the_client_s_close_reaches_the_service(edge: Any, sign_in: Any, code: int) -> None:
    async with opened(edge, headers=sign_in("ann")) as socket:
        await socket.close(code)
    await eventually(lambda: closings == [code])


async def test_a_lost_client_connection_is_not_a_clean_close(edge: Any, sign_in: Any) -> None:
    socket = await opened(edge, headers=sign_in("ann"))
    await socket.recv()
    socket.transport.abort()
    await eventually(lambda: closings)
    assert closings[0] in (1005, 1006)  # uvicorn's codes for a lost connection


async def test_a_client_that_is_gone_before_the_answer_leaves_nothing(
    edge: Any, sign_in: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    came, may_accept, left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        came.set()
        await may_accept.wait()
        await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
        await receive()
        left.set()

    upstream.handler = slow
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    lines = (
        "GET /ws HTTP/1.1",
        "Host: a",
        f"Authorization: {sign_in('ann')['Authorization']}",
        "Connection: upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: {FLOTILLA}",
    )
    writer.write("\r\n".join([*lines, "", ""]).encode())
    await came.wait()
    writer.transport.abort()
    await eventually(lambda: not edge.server.server_state.connections, saying="the gateway has seen it")
    may_accept.set()
    await asyncio.wait_for(left.wait(), 5)
    await eventually(lambda: len(edge.gateway.streams) == 0)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_lost_service_closes_with_a_code_for_reconnecting(edge: Any, sign_in: Any, upstream: Any) -> None:
    async def dies(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
        raise ConnectionResetError

    upstream.handler = dies
    async with opened(edge, headers=sign_in("ann")) as socket:
        assert (await close_of(socket))[0] in (1000, 1011, 1012, 1013)


async def test_an_unreachable_service_closes_with_try_again_later(open_edge: Any, sign_in: Any) -> None:
    edge = await open_edge(upstreams={"chat": ["http://127.0.0.1:1"]})
    token = sign_in.token(sign_in.principal("ann"))
    async with opened(edge, subprotocols=[FLOTILLA, f"bearer.{token}"]) as socket:
        assert (await close_of(socket))[0] == 1013
    with pytest.raises(InvalidStatus) as refused:
        await opened(edge, headers=sign_in("ann"))
    assert refused.value.response.status_code == 503


async def test_an_ended_session_closes_with_4001_and_an_ended_membership_with_4003(
    edge: Any, sign_in: Any, auth: Any, users: Any
) -> None:
    ann, bob = sign_in.principal("ann"), sign_in.principal("bob")
    async with (
        opened(edge, headers={"Authorization": f"Bearer {sign_in.token(ann)}"}) as hers,
        opened(edge, headers={"Authorization": f"Bearer {sign_in.token(bob)}"}) as his,
    ):
        auth.end_session(ann.session_id)
        assert await close_of(hers) == (4001, "session")
        users.revoke("membership", tenant_id=str(bob.tenant_id), user_id=str(bob.user_id), roles=None, version=2)
        assert await close_of(his) == (4003, "membership")
    await eventually(lambda: len(edge.gateway.streams) == 0)


async def test_changed_roles_close_with_4001(edge: Any, sign_in: Any, users: Any) -> None:
    ann = sign_in.principal("ann")
    async with opened(edge, headers={"Authorization": f"Bearer {sign_in.token(ann)}"}) as socket:
        users.revoke("membership", tenant_id=str(ann.tenant_id), user_id=str(ann.user_id), roles=["admin"], version=2)
        assert await close_of(socket) == (4001, "roles")


async def test_a_plain_request_is_a_426(client: Any, sign_in: Any) -> None:
    reply = await client.get("/ws", headers=sign_in("ann"))
    assert (reply.status_code, reply.json()["code"], reply.headers["upgrade"]) == (426, "upgrade_required", "websocket")


async def test_a_gateway_that_shuts_down_closes_with_1012(edge: Any, sign_in: Any) -> None:
    async with opened(edge, headers=sign_in("ann")) as socket:
        await socket.recv()
        edge.server.should_exit = True
        assert (await close_of(socket))[0] == 1012


async def test_a_client_that_does_not_read_pauses_the_service(edge: Any, sign_in: Any, upstream: Any) -> None:
    sent = 0

    async def floods(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await receive()
        await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
        for _ in range(4000):
            await send({"type": "websocket.send", "bytes": b"x" * 16_384})
            sent += 1

    upstream.handler = floods
    async with opened(edge, headers=sign_in("ann"), max_queue=1) as socket:
        assert await until_stable(lambda: sent) < 2000
        socket.transport.abort()
    await eventually(lambda: len(edge.gateway.streams) == 0)


async def stalled(edge: Any, upstream: Any, headers: Any) -> Any:
    """A WebSocket whose service sends more than its client reads."""

    async def floods(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 16_384})

    upstream.handler = floods
    socket = await opened(edge, headers=headers, max_queue=1, ping_interval=None)
    await socket.recv()
    return socket


async def test_a_client_that_is_too_slow_is_closed_with_4008(
    edge: Any, sign_in: Any, upstream: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "SLOW_S", 0.5)
    socket = await stalled(edge, upstream, sign_in("ann"))
    connections = edge.server.server_state.connections
    await eventually(lambda: any(one.ended for one in connections), within_s=15, saying="the gateway has closed")
    assert await close_of(socket) == (4008, "too_slow")
    await eventually(lambda: len(edge.gateway.streams) == 0)


async def test_a_session_ends_though_its_client_does_not_read(
    edge: Any, sign_in: Any, upstream: Any, auth: Any
) -> None:
    ann = sign_in.principal("ann")
    socket = await stalled(edge, upstream, {"Authorization": f"Bearer {sign_in.token(ann)}"})
    auth.end_session(ann.session_id)
    await eventually(lambda: not edge.server.server_state.connections, within_s=10, saying="the connection is gone")
    socket.transport.abort()
    await socket.wait_closed()
    await eventually(lambda: len(edge.gateway.streams) == 0, within_s=15, saying="the service is disconnected")


async def test_a_service_that_does_not_read_pauses_the_client(edge: Any, sign_in: Any, upstream: Any) -> None:
    may_read, received = asyncio.Event(), 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal received
        await receive()
        await send({"type": "websocket.accept", "subprotocol": FLOTILLA})
        await may_read.wait()
        while (await receive())["type"] == "websocket.receive":
            received += 1

    upstream.handler = slow
    async with opened(edge, headers=sign_in("ann")) as socket:
        sent = 0

        async def flood() -> None:
            nonlocal sent
            for _ in range(4000):
                await socket.send(b"x" * 16_384)
                sent += 1

        flooding = asyncio.create_task(flood())
        assert await until_stable(lambda: sent) < 2000
        may_read.set()
        await flooding
        await eventually(lambda: received == 4000)


async def test_the_sum_of_a_message_s_fragments_is_bounded(edge: Any, sign_in: Any) -> None:
    """At 64 KiB, before the message is finished."""
    async with opened(edge, headers=sign_in("ann")) as socket:
        fragment = b"\xfe\x03\xe8\0\0\0\0" + b"x" * 1000  # its length of 1,000 bytes, and a mask of zeros
        socket.transport.write(b"\x02" + fragment + (b"\x00" + fragment) * 65)
        assert (await close_of(socket))[0] == 1009


async def test_an_oversized_or_invalid_frame_closes_with_the_standard_code(edge: Any, sign_in: Any) -> None:
    async with opened(edge, headers=sign_in("ann")) as socket:
        await socket.send(b"x" * (2 * 1024 * 1024))
        assert (await close_of(socket))[0] == 1009
    async with opened(edge, headers=sign_in("ann")) as socket:
        socket.transport.write(b"\x81\x82\x00\x00\x00\x00\xff\xfe")
        assert (await close_of(socket))[0] == 1007
