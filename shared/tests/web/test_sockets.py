"""The WebSocket protocol on real sockets: what it reads ahead, how fast, and what a client's mistake does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from shared.testing.running import running
from shared.testing.waiting import eventually, until_stable
from shared.web import sockets
from shared.web.sockets import MAX_MESSAGE_BYTES, SocketProtocol

PING = b"\x89\x80\0\0\0\0"
EMPTY_TEXT = b"\x81\x80\0\0\0\0"


class Application:
    """Accepts a WebSocket and receives its messages once it `may_receive`."""

    def __init__(self) -> None:
        self.may_receive = asyncio.Event()
        self.received: list[Any] = []
        self.protocols: list[SocketProtocol] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await receive()
        self.protocols.append(sockets.of(scope))
        await send({"type": "websocket.accept"})
        await self.may_receive.wait()
        while (message := await receive())["type"] == "websocket.receive":
            self.received.append(message.get("text", message.get("bytes")))


@asynccontextmanager
async def connected(app: Application, **options: Any) -> AsyncIterator[ClientConnection]:
    async with (
        running(app, ws=SocketProtocol, lifespan="off", **options) as url,
        connect(url.replace("http", "ws"), compression=None, ping_interval=None, close_timeout=2) as socket,
    ):
        yield socket


async def close_code(socket: ClientConnection) -> int | None:
    async with asyncio.timeout(5):
        with suppress(ConnectionClosed):
            async for _ in socket:
                pass
        await socket.wait_closed()
    return socket.close_code


def fragment(payload: bytes, opcode: int = 0) -> bytes:
    """An unfinished frame of a client, masked with zeros."""
    size = len(payload)
    head = bytes((opcode, 0x80 | size)) if size < 126 else bytes((opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


@pytest.mark.parametrize("messages", [180, 2000])
async def test_a_client_stays_while_its_messages_wait(messages: int) -> None:
    """Whether its pongs are read at once (180) or behind what is not read (2000): the heartbeat goes on."""
    app = Application()
    async with connected(app, ws_ping_interval=0.2, ws_ping_timeout=0.2) as socket:
        for number in range(messages):
            await socket.send(str(number))
        pings = [await eventually(lambda: app.protocols[0].pending_ping_payload) for _ in range(1)]
        for _ in range(3):
            await eventually(lambda: app.protocols[0].pending_ping_payload not in (None, pings[-1]), saying="a ping")
            pings.append(app.protocols[0].pending_ping_payload)
        app.may_receive.set()
        await eventually(lambda: len(app.received) == messages, within_s=10)
        assert app.received == [str(number) for number in range(messages)]


async def test_a_client_that_answers_no_ping_is_dropped_after_its_messages_waited() -> None:
    app = Application()
    async with connected(app, ws_ping_interval=0.2, ws_ping_timeout=0.2) as socket:
        for _ in range(2000):
            await socket.send("")
        await eventually(lambda: app.protocols and app.protocols[0].read_paused)
        socket.transport.pause_reading()
        app.may_receive.set()
        await eventually(lambda: app.protocols[0].disconnected, saying="the connection is dropped")


async def test_what_waits_for_the_application_is_bounded() -> None:
    app = Application()
    async with connected(app) as socket:
        written = 0

        async def flood() -> None:
            nonlocal written
            while True:
                await socket.send("x" * 1000)
                written += 1

        flooding = asyncio.create_task(flood())
        await until_stable(lambda: written)
        assert app.protocols[0].queue.qsize() * 1000 < 2 * sockets.READ_AHEAD_BYTES
        flooding.cancel()
        socket.transport.abort()
        app.may_receive.set()


@pytest.mark.parametrize("frame", [PING, EMPTY_TEXT, fragment(b"")])
async def test_a_flood_is_read_at_a_bounded_rate(frame: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    app, parsed = Application(), 0
    app.may_receive.set()
    pace = SocketProtocol._pace

    def counted(protocol: SocketProtocol, frames: int) -> None:
        nonlocal parsed
        parsed += frames
        pace(protocol, frames)

    monkeypatch.setattr(SocketProtocol, "_pace", counted)
    async with connected(app) as socket:
        began = asyncio.get_running_loop().time()
        if frame == fragment(b""):
            socket.transport.write(fragment(b"", opcode=1))
        socket.transport.write(frame * 50_000)
        await eventually(lambda: parsed > sockets.FRAMES_AT_ONCE)
        await asyncio.sleep(0.5)  # while which only the pace may read on
        elapsed_s = asyncio.get_running_loop().time() - began
        assert parsed <= sockets.FRAMES_AT_ONCE + sockets.FRAMES_PER_S * elapsed_s + 1000
        socket.transport.abort()


async def test_the_sum_of_fragments_is_bounded() -> None:
    app = Application()
    app.may_receive.set()
    async with connected(app) as socket:
        socket.transport.write(fragment(b"x" * 1000, opcode=1) + fragment(b"x" * 1000) * 64)
        socket.transport.write(fragment(b"x" * 1000))
        assert await close_code(socket) == 1009
    assert app.received == []


async def test_a_message_of_tiny_fragments_arrives_whole() -> None:
    app = Application()
    app.may_receive.set()
    async with connected(app) as socket:
        await socket.send(["a", "", "é", "b"])
        await socket.send([b"\0", b"\1"])
        await socket.send("x" * MAX_MESSAGE_BYTES)
        await eventually(lambda: len(app.received) == 3)
    assert app.received == ["aéb", b"\0\1", "x" * MAX_MESSAGE_BYTES]


async def test_text_that_is_not_utf8_is_no_error_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    app = Application()
    app.may_receive.set()
    async with connected(app) as socket:
        socket.transport.write(b"\x81\x82\0\0\0\0\xff\xfe")
        assert await close_code(socket) == 1007
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []
