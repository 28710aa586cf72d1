"""Requests that outlast the drain are cut off: their connections end without an answer, and the log has one line."""

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect

from shared.app import Service
from shared.settings import ServiceSettings
from shared.testing import eventually
from shared.testing.people import People
from shared.testing.running import serving_service
from shared.web.router import Router
from shared.web.session import Db
from shared.web.sockets import SocketProtocol

router = Router()
"""Operations that do not end by themselves."""

begun: set[str] = set()


@router.get("/waiting-pages")
async def wait() -> None:
    begun.add("waiting")
    await asyncio.Event().wait()


@router.get("/sleeping-pages")
async def sleep_in_the_database(db: Db) -> None:
    begun.add("sleeping")
    await db.execute(text("SELECT pg_sleep(60)"))


@router.get("/streamed-pages")
async def stream() -> StreamingResponse:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        begun.add("streaming")
        await asyncio.Event().wait()

    return StreamingResponse(pieces())


@pytest.fixture
def app(service: Service, settings: ServiceSettings) -> FastAPI:
    made = service.create_app(settings)
    made.include_router(router)
    return made


async def test_what_outlasts_the_drain_is_cut_off_without_an_answer(
    app: FastAPI, as_user: People, caplog: pytest.LogCaptureFixture
) -> None:
    received: dict[str, bytes] = {}

    async def request(client: httpx2.AsyncClient, path: str) -> None:
        async with client.stream("GET", path, headers=as_user("ann")) as reply:
            received[path] = b""
            async for piece in reply.aiter_bytes():
                received[path] += piece

    async with httpx2.AsyncClient(timeout=30) as client:
        async with serving_service(app, timeout_graceful_shutdown=0) as served:
            paths = ("/waiting-pages", "/sleeping-pages", "/streamed-pages")
            requests = [asyncio.ensure_future(request(client, served.url + path)) for path in paths]
            await eventually(lambda: len(begun) == 3 and any(received.values()), saying="all three have begun")
        replies = await asyncio.gather(*requests, return_exceptions=True)
    assert [type(reply) for reply in replies] == [httpx2.RemoteProtocolError] * 3
    assert list(received.values()) == [b"first"]
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.msg["event"] for record in loud] == ["requests_cut_off"]
    assert loud[0].msg["requests"] == 3


async def test_a_websocket_whose_end_is_not_noticed_is_cut_off_too(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is sent the close at once, and the application goes on until the drain is over."""

    @app.websocket("/ws")
    async def deaf(socket: WebSocket) -> None:
        await socket.accept()
        await asyncio.Event().wait()

    async with serving_service(app, timeout_graceful_shutdown=0, ws=SocketProtocol) as served:
        client = await connect(served.url.replace("http", "ws") + "/ws")
    await client.wait_closed()
    assert client.close_code == 1012
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.msg["event"] for record in loud] == ["requests_cut_off"]
