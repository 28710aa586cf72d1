"""Open event streams end with their session, with their token, and with a service that is silent."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from gateway.proxy import aiohttp_client
from shared.testing.waiting import eventually


async def _open_stream(client: Any, headers: dict[str, str], upstream: Any) -> Any:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

    upstream.handler = service
    return client.stream("GET", "/api/v1/jobs/1/events", headers=headers)


async def test_an_open_stream_ends_with_its_session(
    edge: Any, client: Any, sign_in: Any, upstream: Any, auth: Any
) -> None:
    principal = sign_in.principal("ann")
    headers = {"Authorization": f"Bearer {sign_in.token(principal)}"}
    async with await _open_stream(client, headers, upstream) as reply:
        pieces = reply.aiter_raw()
        assert await anext(pieces) == b"data: 1\n\n"
        assert len(edge.gateway.streams) == 1
        auth.end_session(principal.session_id)
        assert [piece async for piece in pieces] == []  # a clean end: the client reconnects and gets 401
    await eventually(lambda: len(edge.gateway.streams) == 0)


async def test_an_open_stream_ends_with_its_token(client: Any, sign_in: Any, upstream: Any) -> None:
    headers = sign_in("ann", lifetime_s=1)
    async with await _open_stream(client, headers, upstream) as reply:
        assert [piece async for piece in reply.aiter_raw()] == [b"data: 1\n\n"]


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(aiohttp_client, "SILENT_STREAM_S", 0.3)
    aiohttp_client._timeout.cache_clear()
    yield
    aiohttp_client._timeout.cache_clear()


async def test_a_stream_whose_service_is_silent_ends(
    client: Any, sign_in: Any, upstream: Any, short_silence: None
) -> None:
    """A frozen service sends no keep-alive; without an end the client would wait forever."""
    async with await _open_stream(client, sign_in("ann"), upstream) as reply:
        pieces = reply.aiter_raw()
        assert await anext(pieces) == b"data: 1\n\n"
        with pytest.raises(httpx2.RemoteProtocolError):
            await anext(pieces)


async def test_a_stream_that_never_begins_is_a_time_out(
    client: Any, sign_in: Any, upstream: Any, short_silence: None
) -> None:
    async def service(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    upstream.handler = service
    reply = await client.get("/api/v1/jobs/1/events", headers=sign_in("ann"))
    assert (reply.status_code, reply.json()["code"]) == (504, "upstream_timeout")
