"""Whatever comes in over WebSocket gets its documented error frame or close code."""

import asyncio
from typing import Final
from urllib.parse import urlsplit

import pytest
from people import Town
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

MIB: Final = 1024 * 1024

BAD_FRAMES: Final = {
    "no JSON": "ahoy",
    "NaN": '{"type": "ping", "ref": NaN}',
    "a list": "[]",
    "no type": "{}",
    "an unknown type": '{"type": "shout"}',
    "an unknown field": '{"type": "ping", "loud": true}',
    "a wrong type": '{"type": "subscribe", "room_id": 7}',
    "NUL": '{"type": "typing", "room_id": "\\u0000", "is_typing": true}',
    "half a surrogate pair": '{"type": "renew", "token": "\\ud800"}',
    "too deep": '{"type": "ping", "ref": ' + "[" * 500 + "]" * 500 + "}",
}


async def test_frames_that_cannot_be_read_are_answered_with_an_error(town: Town) -> None:
    cy = await town.founder()
    async with cy.socket() as socket:
        codes = {}
        for what, text in list(BAD_FRAMES.items())[:9]:
            await socket.wire.send(text)
            codes[what] = (await socket.next("error"))["code"]
        assert codes == dict.fromkeys(codes, "invalid_frame") | {"an unknown type": "unknown_type"}
        await socket.send(type="ping")
        await socket.next("pong")
        await socket.wire.send(BAD_FRAMES["too deep"])
        assert await socket.closed() == 4000  # ten in a minute: it does not speak the protocol


@pytest.mark.parametrize(
    ("frame", "text", "code"),
    [(b"\0\1", False, 1003), (b"\xff\xfe", True, 1007), (b" " * (2 * MIB), True, 1009)],
    ids=["binary", "not UTF-8", "too big"],
)
async def test_frames_that_end_the_connection(town: Town, frame: bytes, text: bool, code: int) -> None:
    cy = await town.founder()
    async with cy.socket() as socket:
        await socket.wire.send(frame, text=text)
        assert await socket.closed() == code


async def test_handshakes_that_cannot_be_accepted(town: Town) -> None:
    url = urlsplit(town.urls[0])._replace(scheme="ws", path="/ws").geturl()
    assert await refused(url, "other.v1") == 4000
    assert await refused(url, "flotilla.v1", "bearer.none") == 4001
    assert await refused(f"{url}?ticket=none", "flotilla.v1") == 4001


async def refused(url: str, *subprotocols: str) -> int | None:
    """The code of the close that follows at once."""
    offered = [Subprotocol(name) for name in subprotocols]
    async with connect(url, subprotocols=offered, open_timeout=15) as wire:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(wire.recv(), 10)
        return wire.close_code
