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


@pytest.mark.parametrize(
    ("first", "frame", "last"),
    [
        (b"", PING, b"\x81\x83\0\0\0\0end"),
        (b"", EMPTY_TEXT, b"\x81\x83\0\0\0\0end"),
        (b"\x01\x80\0\0\0\0", b"\x00\x80\0\0\0\0", b"\x80\x83\0\0\0\0end"),
    ],
    ids=["pings", "messages", "fragments"],
)
async def test_a_flood_is_read_at_a_bounded_rate(first: bytes, frame: bytes, last: bytes) -> None:
    """What comes after it arrives when the rate allows it; a piece of the flood may be read ahead."""
    app, frames, piece = Application(), sockets.FRAMES_AT_ONCE + 2000, 1000
    app.may_receive.set()
    async with connected(app) as socket:
        began = asyncio.get_running_loop().time()
        socket.transport.write(first + frame * frames + last)
        await eventually(lambda: "end" in app.received)
        elapsed_s = asyncio.get_running_loop().time() - began
    assert elapsed_s >= (frames - sockets.FRAMES_AT_ONCE - piece) / sockets.FRAMES_PER_S


@pytest.mark.parametrize(
    ("early", "answer"),
    [(PING + EMPTY_TEXT, b"HTTP/1.1 101 "), (b"\x88\x80\0\0\0\0", b"")],
    ids=["ping and message", "close"],
)
async def test_frames_before_the_answer_to_the_handshake_are_no_error(
    early: bytes, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    app, may_accept = Application(), asyncio.Event()
    app.may_receive.set()

    async def late(scope: Any, receive: Any, send: Any) -> None:
        app.protocols.append(sockets.of(scope))
        await may_accept.wait()
        await app(scope, receive, send)

    async with running(late, ws=SocketProtocol, lifespan="off") as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await eventually(lambda: app.protocols)
        writer.write(early)
        await eventually(lambda: app.protocols[0].queue.qsize() > 1, saying="the frames were read")
        may_accept.set()
        assert (await reader.read(8192)).startswith(answer)
        writer.close()
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_a_close_right_after_a_ping_is_answered() -> None:
    app = Application()
    app.may_receive.set()
    async with connected(app) as socket:
        socket.transport.write(PING + b"\x88\x82\0\0\0\0\x0f\xa0")
        assert await close_code(socket) == 4000


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
