"""A client of /ws that keeps what it hears, for tests."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, Self
from uuid import uuid4

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from shared.testing import eventually

Frame = dict[str, Any]


class Talk:
    """One connection. `heard` are the frames that came, in order; `expect` waits for one and takes it out."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[Frame] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for text in self.socket:
                self.heard.append(json.loads(text))

    async def say(self, kind: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def expect(self, kind: str, *, within_s: float = 5.0, **fields: Any) -> Frame:
        """The first frame of that type (and with these fields) that was not taken before."""

        def found() -> Frame | None:
            return next((f for f in self.heard if f["type"] == kind and fields.items() <= f.items()), None)

        frame = await eventually(found, within_s=within_s, saying=f"{kind} {fields} among {self.heard[-5:]}")
        assert frame is not None
        self.heard.remove(frame)
        return frame

    async def subscribe(self, room_id: str, **fields: Any) -> Frame:
        await self.say("subscribe", room_id=room_id, **fields)
        return await self.expect("subscribed", room_id=room_id)

    async def send(self, room_id: str, text: str = "ahoy", client_id: str | None = None) -> Frame:
        """Send and wait for the ack."""
        client_id = client_id or uuid4().hex
        await self.say("send", room_id=room_id, text=text, client_id=client_id)
        return await self.expect("ack", client_id=client_id)

    def seqs(self, room_id: str) -> list[int]:
        """The numbers of the room's messages, as they came."""
        return [f["seq"] for f in self.heard if f["type"] == "message" and f["room_id"] == room_id]

    async def reaches(self, room_id: str, seq: int, *, within_s: float = 10.0) -> list[int]:
        """All numbers, once `seq` has come."""
        await eventually(lambda: seq in self.seqs(room_id), within_s=within_s, saying=f"message {seq}")
        return self.seqs(room_id)

    async def closed(self, *, within_s: float = 5.0) -> int:
        """The code that the server closed with."""
        async with asyncio.timeout(within_s):
            await self.socket.wait_closed()
        return self.socket.close_code or 0

    def stop_reading(self) -> None:
        """Leave everything that comes from here on in the kernel, pings too."""
        self.socket.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport can

    async def drop(self) -> None:
        """Go without a word, as a network does."""
        self.socket.transport.abort()
        await self.socket.wait_closed()
        await self._reading

    async def close(self) -> None:
        await self.socket.close()
        await self._reading

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def talk(base_url: str, headers: dict[str, str], protocols: Iterable[str] = ("flotilla.v1",)) -> Talk:
    url = base_url.replace("http", "ws", 1) + "/ws"
    socket = await connect(
        url,
        additional_headers=headers,
        subprotocols=[Subprotocol(name) for name in protocols] or None,
        compression=None,
        ping_interval=None,
        max_size=None,
        max_queue=None,
        close_timeout=2,
    )
    return Talk(socket)


@asynccontextmanager
async def talking(base_url: str, headers: dict[str, str]) -> AsyncIterator[Talk]:
    async with await talk(base_url, headers) as client:
        await client.expect("welcome")
        yield client
