"""Forwarding over real sockets: bytes in both directions, headers, failures of the client and of the service."""

import asyncio
import hashlib
import time
from typing import Any

import httpx2
import jwt
import orjson
import pytest

from shared.testing.waiting import eventually, until_stable

SIGNED = "/api/v1/rooms/7/messages"


def headers_of(reply: httpx2.Response) -> dict[str, list[str]]:
    """The request headers that the echoing service received."""
    found: dict[str, list[str]] = {}
    for name, value in reply.json()["headers"]:
        found.setdefault(name, []).append(value)
    return found


async def test_method_raw_path_query_and_body_arrive_unchanged(client: Any, sign_in: Any) -> None:
    target = "/api/v1/rooms/caf%C3%A9%20x%3Fy/messages?a=1&b=%2F&a=%20&c"
    body = bytes(range(256)) * 3
    reply = await client.post(target, content=body, headers=sign_in("ann"))
    seen = reply.json()
    assert reply.status_code == 200
    assert (seen["method"], seen["raw_path"], seen["query"]) == (
        "POST",
        "/api/v1/rooms/caf%C3%A9%20x%3Fy/messages",
        "a=1&b=%2F&a=%20&c",
    )
    assert seen["body"].encode("latin-1") == body


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_000])
async def test_a_chunked_body_arrives_complete(client: Any, sign_in: Any, size: int) -> None:
    body = hashlib.shake_128(b"x").digest(size)

    async def pieces() -> Any:
        for start in range(0, size, 10_007):
            yield body[start : start + 10_007]

    reply = await client.post(SIGNED, content=pieces(), headers=sign_in("ann"))
    assert reply.json()["body"].encode("latin-1") == body


async def test_an_upload_of_64_mib_is_streamed_with_bounded_memory(
    client: Any, sign_in: Any, upstream: Any, helpers: Any
) -> None:
    """The service reads nothing until back-pressure has stopped the client."""
    size, piece = 64 * 1024 * 1024, b"p" * 262_144
    received = hashlib.sha256()
    sent_when_reading_began: list[int] = []
    sent = 0

    async def service(scope: Any, receive: Any, send: Any) -> None:
        sent_when_reading_began.append(await until_stable(lambda: sent))
        while True:
            message = await receive()
            received.update(message["body"])
            if not message["more_body"]:
                break
        await helpers.reply(send, 201, received.hexdigest().encode())

    async def pieces() -> Any:
        nonlocal sent
        for _ in range(size // len(piece)):
            yield piece
            sent += len(piece)

    upstream.handler = service
    headers = sign_in("ann") | {"Content-Length": str(size)}
    reply = await client.post("/api/v1/files", content=pieces(), headers=headers)
    expected = hashlib.sha256()
    for _ in range(size // len(piece)):
        expected.update(piece)
    assert (reply.status_code, reply.text) == (201, expected.hexdigest())
    assert sent_when_reading_began[0] < 24 * 1024 * 1024  # the socket buffers of four hops


async def test_a_client_that_does_not_read_pauses_the_service(edge: Any, sign_in: Any, upstream: Any) -> None:
    produced = 0
    piece = b"d" * 262_144

    async def service(scope: Any, receive: Any, send: Any) -> None:
        nonlocal produced
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(256):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            produced += len(piece)
        await send({"type": "http.response.body", "body": b""})

    upstream.handler = service
    async with (
        httpx2.AsyncClient(base_url=edge.url) as client,
        client.stream("GET", "/api/v1/files/1/content", headers=sign_in("ann")) as reply,
    ):
        assert await until_stable(lambda: produced) < 24 * 1024 * 1024
        total = sum([len(part) async for part in reply.aiter_raw()])
    assert total == 256 * len(piece)


async def test_the_response_comes_back_unchanged(edge: Any, sign_in: Any, raw_upstream: Any, open_edge: Any) -> None:
    """Status, order and duplicates of headers, encoded bytes."""
    body = b"\x1f\x8b not really gzip \x00\xff"

    async def service(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 207 Multi-Status\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; Path=/\r\nContent-Encoding: gzip\r\n"
            b"X-Odd: caf\xc3\xa9\r\nContent-Length: %d\r\nKeep-Alive: timeout=5\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
            b"X-User-Id: kept\r\nServer: secret\r\n\r\n" % len(body) + body
        )
        await writer.drain()

    url = await raw_upstream(service)
    other = await open_edge(upstreams={"chat": [url]})
    async with httpx2.AsyncClient(base_url=other.url) as client:
        async with client.stream("GET", SIGNED, headers=sign_in("ann")) as reply:
            assert b"".join([part async for part in reply.aiter_raw()]) == body
        assert reply.status_code == 207
        assert reply.headers.get_list("set-cookie") == ["a=1", "b=2; Path=/"]
        assert reply.headers["content-encoding"] == "gzip"
        assert "x-hop" not in reply.headers
        assert "keep-alive" not in reply.headers
        assert "server" not in reply.headers


async def test_headers_that_claim_an_identity_are_not_forwarded(client: Any, sign_in: Any) -> None:
    lies = {
        "X-User-ID": "admin",
        "X_User_ID": "admin",
        "x-user-roles": "admin",
        "X-Tenant-Name": "acme",
        "X_Tenant_ID": "acme",
        "X-Forwarded-For": "6.6.6.6",
        "X-Forwarded-Host": "evil",
        "Forwarded": "for=6.6.6.6",
        "X-Real-IP": "6.6.6.6",
        "Remote-User": "admin",
        "X-Remote-User": "admin",
        "X-Original-URL": "/internal/x",
        "Proxy-Authorization": "Basic x",
        "TE": "trailers",
        "X-Named": "by connection",
        "Connection": "keep-alive, X-Named, Content-Length, Authorization",
        "X-Passes": "yes",
        "Cookie": "a=1; b=2",
    }
    reply = await client.get(SIGNED, headers=sign_in("ann") | lies)
    seen = headers_of(reply)
    assert seen["x-passes"] == ["yes"]
    assert seen["cookie"] == ["a=1; b=2"]
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert seen["x-forwarded-proto"] == ["http"]
    assert seen["forwarded"][0].startswith("for=127.0.0.1;")
    for name in (
        "x-user-id",
        "x_user_id",
        "x-user-roles",
        "x-tenant-name",
        "x_tenant_id",
        "x-real-ip",
        "remote-user",
        "x-remote-user",
        "x-named",
        "te",
    ):
        assert name not in seen
    assert not {"x-original-url", "proxy-authorization", "keep-alive"} & set(seen)
    assert len(seen["authorization"]) == 1


async def test_the_service_gets_an_internal_token_instead_of_the_clients(
    client: Any, sign_in: Any, people: Any
) -> None:
    headers = sign_in("ann", tenant="acme")
    first = headers_of(await client.get(SIGNED, headers=headers))["authorization"]
    again = headers_of(await client.get(SIGNED, headers=headers))["authorization"]
    other = headers_of(await client.get("/api/v1/jobs", headers=headers))["authorization"]
    assert first == again
    assert first != other
    assert headers["Authorization"] not in first + other
    key = people.keys["gateway"].key.public_key()
    claims = jwt.decode(first[0].removeprefix("Bearer "), key, ["ES256"], audience="chat")
    assert (claims["iss"], claims["sub"], claims["tenant_slug"]) == ("gateway", str(people.id("ann")), "acme")
    assert claims["exp"] - claims["iat"] <= 60
    assert "act" not in claims


async def test_a_public_route_forwards_no_token(client: Any, sign_in: Any) -> None:
    reply = await client.post("/auth/login", json={}, headers=sign_in("ann") | {"X-Tenant-ID": "acme"})
    seen = headers_of(reply)
    assert "authorization" not in seen
    assert seen["x-tenant-id"] == ["acme"]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_response_without_a_body_has_none(client: Any, sign_in: Any, upstream: Any, status: int) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"etag", b'"1"')]})
        await send({"type": "http.response.body", "body": b""})

    upstream.handler = service
    for _ in range(2):
        reply = await client.get(SIGNED, headers=sign_in("ann"))
        assert (reply.status_code, reply.content, reply.headers["etag"]) == (status, b"", '"1"')
        assert "transfer-encoding" not in reply.headers


async def test_head_has_the_length_and_no_body(client: Any, sign_in: Any, upstream: Any) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1234")]})
        await send({"type": "http.response.body", "body": b""})

    upstream.handler = service
    for _ in range(2):
        reply = await client.head("/api/v1/files/1", headers=sign_in("ann"))
        assert (reply.status_code, reply.content, reply.headers["content-length"]) == (200, b"", "1234")


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"])
async def test_a_service_that_fails_within_the_body_cuts_the_response_off(
    sign_in: Any, raw_upstream: Any, open_edge: Any, framing: bytes
) -> None:
    async def service(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"abc")
        await writer.drain()

    edge = await open_edge(upstreams={"chat": [await raw_upstream(service)]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await client.get(SIGNED, headers=sign_in("ann"))


async def test_a_service_that_closes_too_early_is_a_502(sign_in: Any, raw_upstream: Any, open_edge: Any) -> None:
    asked = []

    async def service(reader: Any, writer: Any) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))

    edge = await open_edge(upstreams={"chat": [await raw_upstream(service)]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        reply = await client.post(SIGNED, json={}, headers=sign_in("ann"))
        assert (reply.status_code, reply.json()["code"]) == (502, "bad_upstream")
    assert len(asked) == 1  # a POST is not repeated


async def test_a_get_survives_a_kept_alive_connection_that_the_service_closed(
    sign_in: Any, raw_upstream: Any, open_edge: Any
) -> None:
    """The service responds to one request per connection and closes at the next one without reading it."""

    async def service(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await reader.readexactly(1)

    edge = await open_edge(upstreams={"chat": [await raw_upstream(service)]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        for _ in range(10):
            assert (await client.get(SIGNED, headers=sign_in("ann"))).status_code == 200


async def test_a_repeated_request_takes_a_fresh_connection(sign_in: Any, raw_upstream: Any, open_edge: Any) -> None:
    """Each idle connection is closed in the moment in which it is used again."""
    arrived = []

    async def service(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.append(True)
        await eventually(lambda: len(arrived) >= 4)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        await reader.readexactly(1)

    edge = await open_edge(upstreams={"chat": [await raw_upstream(service)]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:

        async def get() -> int:
            return (await client.get(SIGNED, headers=sign_in("ann"))).status_code

        assert await asyncio.gather(*(get() for _ in range(4))) == [200] * 4
        assert await get() == 200


async def test_a_response_that_is_not_http_is_a_502(sign_in: Any, raw_upstream: Any, open_edge: Any) -> None:
    async def service(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()

    edge = await open_edge(upstreams={"chat": [await raw_upstream(service)]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        reply = await client.get(SIGNED, headers=sign_in("ann"))
        assert (reply.status_code, reply.json()["code"]) == (502, "bad_upstream")


async def test_a_header_that_is_not_utf8_is_a_400(raw: Any, sign_in: Any, upstream: Any) -> None:
    token = sign_in("ann")["Authorization"].encode()
    head = b"GET /api/v1/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: " + token
    assert (await raw(head + b"\r\nX-Odd: caf\xc3\xa9\r\n\r\n")).status == 200
    assert (await raw(head + b"\r\nX-Odd: caf\xe9\r\n\r\n")).status == 400


async def test_an_unreachable_service_is_a_503(sign_in: Any, open_edge: Any) -> None:
    edge = await open_edge(upstreams={"chat": ["http://127.0.0.1:1"]})
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        reply = await client.get(SIGNED, headers=sign_in("ann"))
        assert (reply.status_code, reply.json()["code"]) == (503, "service_unavailable")
        assert int(reply.headers["retry-after"]) >= 1


async def test_a_service_that_is_too_slow_is_a_504(sign_in: Any, open_edge: Any, upstream: Any, tmp_path: Any) -> None:
    gone = asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    upstream.handler = service
    table = {"routes": [{"path": "/slow", "upstream": "chat", "timeout_s": 0.2, "methods": {"GET": "signed_in"}}]}
    (tmp_path / "routes.yaml").write_bytes(orjson.dumps(table))
    edge = await open_edge(routes_file=tmp_path / "routes.yaml")
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        reply = await client.get("/slow", headers=sign_in("ann"))
        assert (reply.status_code, reply.json()["code"]) == (504, "upstream_timeout")
    async with asyncio.timeout(5):
        await gone.wait()


async def test_a_service_learns_the_deadline_from_the_gateway_alone(
    sign_in: Any, open_edge: Any, tmp_path: Any
) -> None:
    quick = {"path": "/quick", "upstream": "chat", "timeout_s": 1, "methods": {"GET": "signed_in"}}
    endless = {"path": "/endless", "upstream": "chat", "streaming": True, "methods": {"GET": "signed_in"}}
    (tmp_path / "routes.yaml").write_bytes(orjson.dumps({"routes": [quick, endless]}))
    edge = await open_edge(routes_file=tmp_path / "routes.yaml")
    own = {"X-Deadline": f"{time.time() + 3000:.3f}", "x_deadline": "1"}
    async with httpx2.AsyncClient(base_url=edge.url) as client:
        began = time.time()
        (passed,) = headers_of(await client.get("/quick", headers=sign_in("ann") | own))["x-deadline"]
        assert began + 0.9 < float(passed) <= time.time() + 1
        assert "x-deadline" not in headers_of(await client.get("/endless", headers=sign_in("ann") | own))


async def test_a_client_that_disconnects_cancels_the_upstream_request(edge: Any, sign_in: Any, upstream: Any) -> None:
    came, gone = asyncio.Event(), asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        came.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    upstream.handler = service
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    token = sign_in("ann")["Authorization"]
    writer.write(f"GET {SIGNED} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
    async with asyncio.timeout(5):
        await came.wait()
        writer.close()
        await gone.wait()


async def test_an_incomplete_body_is_incomplete_at_the_service_too(edge: Any, sign_in: Any, upstream: Any) -> None:
    ends = []
    came, done = asyncio.Event(), asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            came.set()
            if message["type"] == "http.disconnect" or not message["more_body"]:
                ends.append(message["type"])
                done.set()
                return

    upstream.handler = service
    _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    token = sign_in("ann")["Authorization"]
    head = f"POST {SIGNED} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head.encode() + b"3\r\nabc\r\n")
    async with asyncio.timeout(5):
        await came.wait()
        writer.close()
        await done.wait()
    assert ends == ["http.disconnect"]


async def test_a_body_over_the_limit_is_a_413_before_it_is_sent(raw: Any, sign_in: Any, upstream: Any) -> None:
    token = sign_in("ann")["Authorization"]
    head = f"POST {SIGNED} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nConnection: close\r\n"
    declared = await raw(head.encode() + b"Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n")
    assert declared.status == 413
    assert upstream.calls == 0
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    counted = await raw(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20)
    assert counted.status == 413


async def test_a_body_that_does_not_arrive_in_time_is_a_408(sign_in: Any, open_edge: Any, tmp_path: Any) -> None:
    table = {"routes": [{"path": "/slow", "upstream": "chat", "timeout_s": 0.2, "methods": {"POST": "signed_in"}}]}
    (tmp_path / "routes.yaml").write_bytes(orjson.dumps(table))
    edge = await open_edge(routes_file=tmp_path / "routes.yaml")
    token = sign_in("ann")["Authorization"]
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(f"POST /slow HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 3\r\n\r\n".encode())
    async with asyncio.timeout(5):
        response = await reader.read()  # to the end: the connection is closed too
    assert response.startswith(b"HTTP/1.1 408")
    assert b'"code":"request_timeout"' in response
    writer.close()


@pytest.mark.parametrize("name", [b"User-Agent", b"Referer", b"Cookie"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param("a=é".encode(), id="UTF-8"),
        pytest.param(
            b"a=\xe9",
            marks=pytest.mark.xfail(
                strict=True, reason="aiohttp encodes headers as UTF-8 and cannot send other bytes: the request is a 400"
            ),
            id="latin-1",
        ),
    ],
)
async def test_header_bytes_outside_ascii_are_forwarded_untouched(
    raw: Any, sign_in: Any, name: bytes, value: bytes
) -> None:
    """RFC 9110, section 5.5: opaque bytes."""
    token = sign_in("ann")["Authorization"].encode()
    head = b"GET /api/v1/rooms HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: " + token
    response = await raw(head + b"\r\n" + name + b": " + value + b"\r\n\r\n")
    assert response.status == 200
    assert [name.decode().lower(), value.decode("latin-1")] in orjson.loads(response.body)["headers"]


async def test_expect_continue_is_answered_when_the_body_is_read(edge: Any, sign_in: Any) -> None:
    token = sign_in("ann")["Authorization"]
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    head = f"POST {SIGNED} HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: 3\r\n"
    writer.write(head.encode() + b"Expect: 100-continue\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"abc")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_each_event_of_a_stream_arrives_when_it_is_sent(client: Any, sign_in: Any, upstream: Any) -> None:
    may_go_on = asyncio.Event()

    async def service(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await may_go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n"})

    upstream.handler = service
    async with asyncio.timeout(5), client.stream("GET", "/api/v1/jobs/1/events", headers=sign_in("ann")) as reply:
        pieces = reply.aiter_raw()
        assert await anext(pieces) == b"data: 1\n\n"
        may_go_on.set()
        assert await anext(pieces) == b"data: 2\n\n"
