"""A client that breaks the rules: where it connects, its raw connection, and what it does there."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, TypeAlias
from urllib.parse import urlsplit

_QUIET_S: Final = 0.1  # a server that has said nothing for so long is waiting for the client


@dataclass(frozen=True)
class Target:
    """Where the clients connect, and what a request that the server accepts looks like there."""

    url: str
    sign_in: Callable[[], Mapping[str, str]]
    """Makes the headers of someone who may do all of this; a token may be short-lived."""
    get: str
    post: str
    """Takes JSON, by the method below."""
    method: str = "POST"
    multipart: str | None = None
    """Takes multipart/form-data."""
    stream: str | None = None
    """Answers GET with more than a socket holds, or without an end."""
    websocket: str | None = None
    subprotocol: str = "flotilla.v1"
    operators_url: str | None = None
    """Where `/metrics` is, if not at `url`."""

    def head(self, method: str, path: str, *headers: str) -> bytes:
        """The head of a request, with `headers` as whole lines."""
        replaced = {line.partition(":")[0] for line in headers}
        own = [f"{name}: {value}" for name, value in self.sign_in().items() if name not in replaced]
        return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *own, *headers, "", ""]).encode("latin-1")

    def json(self, body: bytes, *headers: str) -> bytes:
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
        return self.head(self.method, self.post, *lines) + body

    def chunked(self, chunks: bytes) -> bytes:
        return self.head(self.method, self.post, "Transfer-Encoding: chunked") + chunks

    def handshake(self, *headers: str) -> bytes:
        own = (
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Sec-WebSocket-Protocol: {self.subprotocol}",
        )
        replaced = {line.partition(":")[0] for line in headers}
        kept = [line for line in own if line.partition(":")[0] not in replaced]
        return self.head("GET", self.websocket or self.get, *kept, *(line for line in headers if ": " in line))

    def at(self, path: str) -> "Target":
        """The same, with another path of the WebSocket."""
        return replace(self, websocket=path)

    def plain_handshake(self) -> bytes:
        """A handshake on a path that has no WebSocket."""
        return replace(self, websocket=None).handshake()


class Wire:
    """One raw connection, and everything that it received."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._half_closed = False
        self.received = b""
        self.ended = False
        """Whether the server closed the connection, unasked."""

    @classmethod
    async def opened(cls, url: str) -> "Wire":
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def send(self, data: bytes) -> None:
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def listen(self, quiet_s: float = _QUIET_S) -> bytes:
        """Read until the server closes, or says nothing more for `quiet_s`."""
        with suppress(ConnectionError, TimeoutError):
            while True:
                async with asyncio.timeout(quiet_s):
                    piece = await self._reader.read(65536)
                if not piece:
                    self.ended = not self._half_closed
                    break
                self.received += piece
        return self.received

    async def answered(self) -> None:
        """Read the beginning of an answer."""
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(5):
                self.received += await self._reader.read(65536)

    def half_close(self) -> None:
        self._half_closed = True
        with suppress(OSError):
            self._writer.write_eof()

    def reset(self) -> None:
        """Close so that the peer gets RST, whatever was sent or is unread."""
        held: socket.socket = self._writer.get_extra_info("socket")
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


Script: TypeAlias = Callable[[Wire, Target], Awaitable[None]]


@dataclass(frozen=True)
class BrokenClient:
    name: str
    script: Script
    needs: str = "get"
    """The field of the target without which the client has nothing to do."""

    def __str__(self) -> str:
        return self.name


def sends(name: str, data: Callable[[Target], bytes], needs: str = "get") -> BrokenClient:
    """A client that sends bytes, listens for a while, and closes."""

    async def script(wire: Wire, target: Target) -> None:
        await wire.send(data(target))
        await wire.listen()

    return BrokenClient(name, script, needs)


def vanishes(name: str, data: Callable[[Target], bytes], *, reset: bool, needs: str = "get") -> BrokenClient:
    """A client that sends bytes and is gone."""

    async def script(wire: Wire, target: Target) -> None:
        await wire.send(data(target))
        if reset:
            wire.reset()

    return BrokenClient(f"{name}, then {'a reset' if reset else 'gone'}", script, needs)
