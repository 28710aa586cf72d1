"""What reaches the gateway as bytes: requests that two servers could read differently, and clients that stall."""

import asyncio
from typing import Any

import pytest

from gateway.edge import connection
from shared.testing.waiting import eventually


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
async def test_a_request_that_can_be_read_in_two_ways_is_a_400(raw: Any, data: bytes) -> None:
    answer = await raw(data.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert answer.status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/rooms/..%2f..%2finternal/x",
        "/api/v1/rooms/%2e%2e/x",
        "//internal/x",
        "/auth/../internal/x",
        "/auth/%00",
    ],
)
async def test_a_path_that_can_be_read_in_two_ways_is_a_400(raw: Any, upstream: Any, path: str) -> None:
    answer = await raw(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.status == 400
    assert b'"code":"malformed_request"' in answer.body
    assert upstream.calls == 0


@pytest.mark.parametrize("path", ["/internal/revocations", "/internal", "/nothing", "/metrics", "/config"])
async def test_what_the_table_does_not_name_is_a_404(client: Any, sign_in: Any, upstream: Any, path: str) -> None:
    reply = await client.get(path, headers=sign_in("ann", roles=["system"]))
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert reply.headers["content-type"] == "application/problem+json"
    assert upstream.calls == 0


async def test_a_method_that_the_table_does_not_name_is_a_405_with_allow(client: Any, sign_in: Any) -> None:
    reply = await client.delete("/auth/login", headers=sign_in("ann"))
    assert (reply.status_code, reply.json()["code"]) == (405, "method_not_allowed")
    assert reply.headers["allow"] == "OPTIONS, POST"
    options = await client.options("/api/v1/profile")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PATCH, PUT")


async def test_an_old_client_without_host_is_answered(raw: Any) -> None:
    assert (await raw(b"GET /livez HTTP/1.0\r\n\r\n")).status == 200


async def test_an_old_client_is_sent_no_chunks(raw: Any, sign_in: Any, upstream: Any) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one ", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    upstream.handler = service
    token = sign_in("ann")["Authorization"].encode()
    answer = await raw(b"GET /api/v1/rooms HTTP/1.0\r\nAuthorization: " + token + b"\r\n\r\n")
    assert (answer.status, answer.body) == (200, b"one two")
    assert b"transfer-encoding" not in answer.head


async def test_headers_that_never_end_are_turned_away(open_edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
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
async def test_headers_over_the_bound_are_turned_away(edge: Any, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(data)
    async with asyncio.timeout(5):
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
    writer.close()


@pytest.mark.parametrize("line", [b"POST /ws HTTP/1.1", b"GET /ws HTTP/1.1\r\nX: " + b"x" * 20_000])
async def test_a_handshake_that_cannot_be_read_is_answered_and_ended(raw: Any, line: bytes) -> None:
    answer = await raw(line + b"\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert answer.status in (400, 405, 431)


def posting(sign_in: Any, *headers: bytes) -> bytes:
    token = sign_in("ann")["Authorization"].encode()
    return b"\r\n".join([b"POST /api/v1/rooms HTTP/1.1\r\nHost: a\r\nAuthorization: " + token, *headers, b"", b""])


async def test_trailers_are_no_headers(raw: Any, sign_in: Any) -> None:
    head = posting(sign_in, b"Transfer-Encoding: chunked", b"Connection: close")
    trailers = b"X-Trailer: 1\r\nContent-Type: text/html\r\nAuthorization: Bearer other\r\nHost: b\r\n"
    answer = await raw(head + b"3\r\nabc\r\n0\r\n" + trailers + b"\r\n")
    assert answer.status == 200
    assert b'"body":"abc"' in answer.body
    assert b"x-trailer" not in answer.body
    assert b"text/html" not in answer.body


async def test_trailers_without_bound_end_the_connection(edge: Any, sign_in: Any) -> None:
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
async def test_an_upgrade_to_what_is_not_spoken_is_passed_over(raw: Any, sign_in: Any, framing: bytes) -> None:
    """As Java's client asks for HTTP/2; the body is the request's, never another request."""
    first = posting(sign_in, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    second = posting(sign_in, b"Connection: close", b"Content-Length: 2")
    answer = await raw(first.removesuffix(b"\r\n") + framing + second + b"de")
    assert answer.data.count(b"HTTP/1.1 200") == 2
    assert b'"body":"abc"' in answer.data
    assert b'"body":"de"' in answer.data


async def test_a_pipelined_body_may_take_its_time(
    edge: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch, raw_upstream: Any
) -> None:
    monkeypatch.setattr(connection, "_LINGER_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n" + posting(sign_in, b"Content-Length: 6") + b"abc")
    async with asyncio.timeout(10):
        await reader.readuntil(b'{"status":"ok"}')
        await asyncio.sleep(0.3)  # longer than the remains of a refused body are waited for
        writer.write(b"def")
        assert b'"body":"abcdef"' in await reader.readuntil(b'"abcdef"')
    writer.close()


async def test_a_broken_request_does_not_run_into_an_answer(edge: Any, sign_in: Any, upstream: Any) -> None:
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


async def test_a_kept_connection_without_a_request_ends(open_edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.3)
    edge = await open_edge()
    for noise in (b"", b"\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        async with asyncio.timeout(10):
            await reader.readuntil(b'{"status":"ok"}')
            writer.write(noise)
            assert await reader.read() == b""
        writer.close()


async def test_a_header_that_is_no_utf8_is_a_400(raw: Any, sign_in: Any, upstream: Any) -> None:
    token = sign_in("ann")["Authorization"].encode()
    head = b"GET /api/v1/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: " + token
    assert (await raw(head + b"\r\nX-Odd: caf\xc3\xa9\r\n\r\n")).status == 200
    assert (await raw(head + b"\r\nX-Odd: caf\xe9\r\n\r\n")).status == 400


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
    answer = await raw(b"".join(requests))
    positions = [answer.data.index(b"/api/v1/rooms/%d" % number) for number in (1, 2, 3)]
    assert positions == sorted(positions)


async def test_a_gateway_that_can_wait_no_longer_says_so(
    edge: Any, client: Any, sign_in: Any, upstream: Any, caplog: pytest.LogCaptureFixture
) -> None:
    came = asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        came.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    upstream.handler = service
    asked = asyncio.create_task(client.get("/api/v1/rooms", headers=sign_in("ann")))
    await came.wait()
    edge.server.should_exit = True
    reply = await asked
    assert (reply.status_code, reply.json()["code"]) == (504, "upstream_timeout")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_draining_gateway_ends_what_is_open_and_finishes_what_is_asked(
    edge: Any, client: Any, sign_in: Any, upstream: Any, helpers: Any
) -> None:
    came = asyncio.Event()
    may_answer = asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        came.set()
        await may_answer.wait()
        await helpers.reply(send, 200, b"whole")

    upstream.handler = service
    asked = asyncio.create_task(client.get("/api/v1/rooms", headers=sign_in("ann")))
    await came.wait()
    edge.server.should_exit = True
    await eventually(lambda: edge.gateway.checks.draining)
    may_answer.set()
    reply = await asked
    assert (reply.status_code, reply.text) == (200, "whole")
