"""`Connection: close` on the last response of a connection (RFC 9112, section 9.6)."""

import asyncio
from typing import Any

import pytest

from shared.testing.waiting import eventually
from shared.web import connection

_CLOSES = b"\r\nconnection: close"
_REST = b"x" * 1000


def posting(sign_in: Any, *headers: bytes, path: bytes = b"/api/v1/rooms") -> bytes:
    token = sign_in("ann")["Authorization"].encode()
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1\r\nHost: a\r\nAuthorization: " + token, *headers, b"", b""])


async def last_response(edge: Any, data: bytes, then: bytes = b"") -> bytes:
    """Send `data`, wait for a response's head, send `then`, and read until the gateway closes."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
            return head.lower() + await reader.read()
        finally:
            writer.close()


def closes(response: bytes, status: int) -> bool:
    return response.startswith(b"http/1.1 %d " % status) and _CLOSES in response.partition(b"\r\n\r\n")[0]


@pytest.mark.parametrize("framing", [b"Content-Length: 200000000", b"Transfer-Encoding: chunked"])
async def test_an_early_413_is_the_last_response(edge: Any, sign_in: Any, framing: bytes) -> None:
    data = posting(sign_in, framing)
    if b"chunked" in framing:
        data += b"%x\r\n" % (200 * 1024 * 1024) + b"x" * (17 * 1024 * 1024)
    assert closes(await last_response(edge, data, _REST), 413)


async def test_what_follows_the_last_response_is_not_executed(edge: Any, sign_in: Any, upstream: Any) -> None:
    data = posting(sign_in, b"Transfer-Encoding: chunked", path=b"/nowhere")
    response = await last_response(edge, data, b"1\r\nx\r\n0\r\n\r\n" + posting(sign_in, b"Content-Length: 0"))
    assert closes(response, 404)
    assert response.count(b"HTTP/1.1 ") == 0
    assert upstream.calls == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [((b"Content-Length: 9", b"Expect: 100-continue"), 404), ((b"Transfer-Encoding: chunked",), 404)],
)
async def test_a_response_before_an_unbounded_body_is_the_last(
    edge: Any, sign_in: Any, headers: tuple[bytes, ...], status: int
) -> None:
    assert closes(await last_response(edge, posting(sign_in, *headers, path=b"/nowhere")), status)


async def test_a_services_early_response_is_the_last(edge: Any, sign_in: Any, upstream: Any, helpers: Any) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await helpers.reply(send, 413, b"too large")

    upstream.handler = service
    data = posting(sign_in, b"Transfer-Encoding: chunked", path=b"/api/v1/files") + b"3\r\nabc\r\n"
    assert closes(await last_response(edge, data, b"3\r\nabc\r\n"), 413)


async def test_a_short_body_may_follow_its_response(edge: Any, sign_in: Any) -> None:
    """Most clients send head and body apart: a refusal may be written before the body arrives."""
    next_request = posting(sign_in, b"Content-Length: 2", b"Connection: close") + b"de"
    data = await last_response(edge, posting(sign_in, b"Content-Length: 3", path=b"/nowhere"), b"abc" + next_request)
    assert _CLOSES not in data.partition(b"\r\n\r\n")[0]
    assert b'"body":"de"' in data


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
    ],
)
async def test_other_last_responses(edge: Any, data: bytes, status: int) -> None:
    assert closes(await last_response(edge, data), status)


async def test_a_late_head_is_a_last_408(open_edge: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    assert closes(await last_response(await open_edge(), b"GET /livez HT"), 408)


async def test_a_refused_handshake_is_the_last_response(edge: Any, sign_in: Any) -> None:
    handshake = (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer x\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        b"Sec-WebSocket-Protocol: flotilla.v1\r\n\r\n"
    )
    assert closes(await last_response(edge, handshake), 401)


async def test_a_response_while_draining_is_the_last(edge: Any, sign_in: Any, upstream: Any, helpers: Any) -> None:
    came, may_answer = asyncio.Event(), asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        came.set()
        await may_answer.wait()
        await helpers.reply(send, 503, b"not now")

    upstream.handler = service
    asked = asyncio.create_task(last_response(edge, posting(sign_in, b"Content-Length: 0")))
    await came.wait()
    edge.server.should_exit = True
    await eventually(lambda: edge.gateway.checks.draining)
    may_answer.set()
    assert closes(await asked, 503)


async def test_not_ready_while_draining_is_the_last_response(edge: Any) -> None:
    edge.gateway.checks.draining = True
    assert closes(await last_response(edge, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"), 503)


@pytest.mark.parametrize("first", [b"", b"3\r\nabc\r\n"])
async def test_a_stalled_body_is_a_last_408(open_edge: Any, sign_in: Any, tmp_path: Any, first: bytes) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text(
        "routes:\n  - {path: /api/v1/rooms, upstream: chat, timeout_s: 0.5, methods: {POST: {public: true}}}\n"
    )
    edge = await open_edge(routes_file=routes)
    response = await last_response(edge, posting(sign_in, b"Transfer-Encoding: chunked") + first)
    assert closes(response, 408)
    assert b'"code":"request_timeout"' in response
