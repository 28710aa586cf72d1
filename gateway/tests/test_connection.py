"""Bytes from clients: malformed, ambiguous, oversized and slow requests."""

import asyncio
from typing import Any

import pytest

from gateway.edge import server
from shared.web import connection


@pytest.mark.parametrize(
    "data",
    [
        b"GET /readyz HTTP/1.1\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b'GET /readyz HTTP/1.1\r\nHost: a";for=127.0.0.1\r\n\r\n',
        b"GET /readyz HTTP/1.1\r\nHost: a@b\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: \r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        b"GET /readyz HTTP/1.1\nHost: a\n\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /readyz HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /readyz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n",
        b"GET http://b/readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://b@a/readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /readyz HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET /a\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
    ],
)
async def test_an_ambiguous_request_is_a_400(raw: Any, data: bytes) -> None:
    response = await raw(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert response.status == 400


async def test_http_1_0_without_host_is_accepted(raw: Any) -> None:
    assert (await raw(b"GET /livez HTTP/1.0\r\n\r\n")).status == 200


async def test_http_1_0_is_sent_no_chunks(raw: Any, sign_in: Any, upstream: Any) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one ", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    upstream.handler = service
    token = sign_in("ann")["Authorization"].encode()
    response = await raw(b"GET /api/v1/rooms HTTP/1.0\r\nAuthorization: " + token + b"\r\n\r\n")
    assert (response.status, response.body) == (200, b"one two")
    assert b"transfer-encoding" not in response.head


async def test_headers_that_do_not_end_are_a_408(open_edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    edge = await open_edge()
    for start in (b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: "):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writer.write(start)
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
            writer.close()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: a\r\n" + b"X-More: and more\r\n" * 10_000, id="without an end"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", id="whole"),
        pytest.param(
            b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"X: " + b"x" * 70_000 + b"\r\n\r\n",
            id="a handshake",
        ),
        pytest.param(b"\r\n" * 50_000, id="empty lines"),
    ],
)
async def test_headers_over_the_limit_are_a_431(edge: Any, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(data)
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
    writer.close()


@pytest.mark.parametrize("line", [b"POST /ws HTTP/1.1", b"GET /ws HTTP/1.1\r\nX: " + b"x" * 20_000])
async def test_a_malformed_handshake_is_answered_and_closed(raw: Any, line: bytes) -> None:
    response = await raw(line + b"\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert response.status in (400, 405, 431)


def posting(sign_in: Any, *headers: bytes) -> bytes:
    token = sign_in("ann")["Authorization"].encode()
    return b"\r\n".join([b"POST /api/v1/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: " + token, *headers, b"", b""])


async def test_trailers_are_dropped(raw: Any, sign_in: Any) -> None:
    head = posting(sign_in, b"Transfer-Encoding: chunked", b"Connection: close")
    trailers = b"X-Trailer: 1\r\nContent-Type: text/html\r\nAuthorization: Bearer other\r\nHost: b\r\n"
    response = await raw(head + b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")
    assert response.status == 200
    assert b'"body":"abc"' in response.body
    assert b"x-trailer" not in response.body
    assert b"text/html" not in response.body


async def test_oversized_trailers_close_the_connection(edge: Any, sign_in: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(posting(sign_in, b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n")
    async with asyncio.timeout(10):
        for _ in range(60):
            writer.write(b"X-Trailer: " + b"x" * 10_000 + b"\r\n")
            await writer.drain()
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
    writer.close()


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"]
)
async def test_an_unsupported_upgrade_is_ignored(raw: Any, sign_in: Any, framing: bytes) -> None:
    """Java's client asks for HTTP/2 so. The body belongs to the request and is not parsed as another request."""
    first = posting(sign_in, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    second = posting(sign_in, b"Connection: close", b"Content-Length: 2")
    response = await raw(first.removesuffix(b"\r\n") + framing + second + b"de")
    assert response.data.count(b"HTTP/1.1 200") == 2
    assert b'"body":"abc"' in response.data
    assert b'"body":"de"' in response.data


async def test_a_pipelined_body_may_arrive_late(
    edge: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch, raw: Any
) -> None:
    """A response lingers for the rest of its own request's body, not for that of the next request."""
    monkeypatch.setattr(connection, "_LINGER_S", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + posting(sign_in, b"Content-Length: 6") + b"abc")
    async with asyncio.timeout(10):
        await reader.readuntil(b'{"status":"ok"}')
        await raw(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")  # several turns of the loop later
        writer.write(b"def")
        assert b'"body":"abcdef"' in await reader.readuntil(b'"abcdef"')
    writer.close()


async def test_a_malformed_request_is_not_answered_inside_a_response(edge: Any, sign_in: Any, upstream: Any) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    upstream.handler = service
    token = sign_in("ann")["Authorization"].encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /api/v1/jobs/1/events HTTP/1.1\r\nHost: a\r\nAuthorization: " + token + b"\r\n\r\n")
    async with asyncio.timeout(10):
        await reader.readuntil(b"data: 1\n\n\r\n")
        writer.write(b"nonsense\r\n\r\n")
        assert await reader.read() == b""
    writer.close()


async def test_an_idle_connection_is_closed(open_edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_KEEP_ALIVE_S", 0.3)
    edge = await open_edge()
    for noise in (b"", b"\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b'{"status":"ok"}')
            writer.write(noise)
            assert await reader.read() == b""
        writer.close()


async def test_pipelined_requests_are_answered_in_order(raw: Any, sign_in: Any, upstream: Any, helpers: Any) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await helpers.reply(send, 200, scope["raw_path"])

    upstream.handler = service
    token = sign_in("ann")["Authorization"].encode()
    requests = [
        b"GET /api/v1/rooms/%d HTTP/1.1\r\nHost: a\r\nAuthorization: %s\r\n%s\r\n"
        % (number, token, b"Connection: close\r\n" if number == 3 else b"")
        for number in (1, 2, 3)
    ]
    response = await raw(b"".join(requests))
    positions = [response.data.index(b"/api/v1/rooms/%d" % number) for number in (1, 2, 3)]
    assert positions == sorted(positions)
