"""`Connection: close` on the last response of a connection (RFC 9112, section 9.6), at a service reached directly."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI

from shared.app import Service
from shared.settings import ServiceSettings
from shared.testing import running_service
from shared.testing.people import People
from shared.web import connection
from shared.web.health import HealthChecks

_REST = b"x" * 1000


@pytest.fixture
def settings_values(settings_values: dict[str, Any]) -> dict[str, Any]:
    return settings_values | {"server": {"body_s": 0.5}}


@pytest.fixture
def health() -> HealthChecks:
    return HealthChecks("probe")


@pytest.fixture
def app(service: Service, settings: ServiceSettings, health: HealthChecks) -> FastAPI:
    return service.create_app(settings, health=health)


def posting(as_user: People, *headers: bytes, path: bytes = b"/pages") -> bytes:
    token = as_user("ann")["Authorization"].encode()
    own = (b"Host: a", b"Authorization: " + token, b"Content-Type: application/json")
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", *own, *headers, b"", b""])


async def last_response(base_url: str, data: bytes, then: bytes = b"") -> bytes:
    """Send `data`, wait for a response's head, send `then`, and read until the service closes."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(base_url).port)
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
            return head.lower() + await reader.read()
        finally:
            writer.close()


def closes(response: bytes, status: int) -> bool:
    return (
        response.startswith(b"http/1.1 %d " % status)
        and response.partition(b"\r\n\r\n")[0].count(b"\r\nconnection: close") == 1
    )


@pytest.mark.parametrize("framing", [b"Content-Length: 200000000", b"Transfer-Encoding: chunked"])
async def test_an_early_413_is_the_last_response(base_url: str, as_user: People, framing: bytes) -> None:
    data = posting(as_user, framing)
    if b"chunked" in framing:
        data += b"%x\r\n" % (4 * 1024 * 1024) + b"x" * (2 * 1024 * 1024)
    assert closes(await last_response(base_url, data, _REST), 413)


@pytest.mark.parametrize("framing", [b"Content-Length: 9\r\nExpect: 100-continue", b"Transfer-Encoding: chunked"])
async def test_a_response_before_an_unbounded_body_is_the_last(base_url: str, as_user: People, framing: bytes) -> None:
    assert closes(await last_response(base_url, posting(as_user, framing, path=b"/nowhere")), 404)


async def test_a_short_body_may_follow_its_response(base_url: str, as_user: People) -> None:
    """Most clients send head and body apart: the connection is kept."""
    following = posting(as_user, b"Content-Length: 2", b"Connection: close", path=b"/nowhere") + b"{}"
    data = await last_response(base_url, posting(as_user, b"Content-Length: 3", path=b"/nowhere"), b"abc" + following)
    assert b"connection: close" not in data.partition(b"\r\n\r\n")[0]
    assert data.count(b"404 Not Found") == 1  # the first one's head is in lower case


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /nowhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"POST /pages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_other_last_responses(base_url: str, data: bytes, status: int) -> None:
    assert closes(await last_response(base_url, data), status)


@pytest.mark.parametrize("start", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_a_late_head_is_a_last_408(monkeypatch: pytest.MonkeyPatch, app: FastAPI, start: bytes) -> None:
    monkeypatch.setattr(connection, "HEAD_S", 0.3)
    async with running_service(app) as url:
        assert closes(await last_response(url, start), 408)


async def test_not_ready_while_draining_is_the_last_response(base_url: str, health: HealthChecks) -> None:
    health.draining = True
    assert closes(await last_response(base_url, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n"), 503)


@pytest.mark.parametrize("framing", [b"Content-Length: 20", b"Content-Length: 200000", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("path", [b"/pages", b"/long-pages"])
async def test_a_stalled_body_is_a_last_408(base_url: str, as_user: People, framing: bytes, path: bytes) -> None:
    first = b"3\r\n{  \r\n" if b"chunked" in framing else b"{  "
    headers = (framing, b"Idempotency-Key: 1") if path == b"/pages" else (framing,)
    response = await last_response(base_url, posting(as_user, *headers, path=path) + first)
    assert closes(response, 408)
    assert b'"code":"request_timeout"' in response
