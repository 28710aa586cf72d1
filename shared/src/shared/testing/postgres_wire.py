"""Counts what a client sends to PostgreSQL: round trips and statements (PostgreSQL manual, Message Formats)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.engine import make_url

_SSL_REQUEST: Final = 80877103
_LENGTH_BYTES: Final = 4


@dataclass
class Wire:
    """What went over the wire since `clear`."""

    round_trips: int = 0
    queries: list[str] = field(default_factory=list)
    """The texts of simple queries; one may hold several statements."""
    executions: int = 0
    """Prepared statements that were executed."""

    def clear(self) -> None:
        self.round_trips = self.executions = 0
        self.queries.clear()

    def sent(self, kind: bytes, content: bytes) -> None:
        """Count one message: a client waits for an answer after Query, Sync and Flush."""
        self.round_trips += kind in (b"Q", b"S", b"H")
        self.executions += kind == b"E"
        if kind == b"Q":
            self.queries.append(content.rstrip(b"\0").decode())

    async def connected(self, host: str, port: int, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection(host, port)
        try:
            await asyncio.gather(self._count(near, forth), _carry(far, back))
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side has closed
        finally:
            forth.close()
            back.close()

    async def _count(self, near: asyncio.StreamReader, forth: asyncio.StreamWriter) -> None:
        while int.from_bytes((await _message(near, forth))[:4], "big") == _SSL_REQUEST:
            pass  # the server declines, and the client goes on in plain text
        while True:
            kind = await near.readexactly(1)
            forth.write(kind)
            self.sent(kind, await _message(near, forth))


async def _message(near: asyncio.StreamReader, forth: asyncio.StreamWriter) -> bytes:
    """Pass on one message without its type; its content."""
    length = await near.readexactly(_LENGTH_BYTES)
    content = await near.readexactly(int.from_bytes(length, "big") - _LENGTH_BYTES)
    forth.write(length + content)
    return content


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
    raise ConnectionResetError


@asynccontextmanager
async def counted(database_url: str) -> AsyncIterator[tuple[Wire, str]]:
    """A counting wire to the server of `database_url`, and the URL of its near end."""
    url, wire = make_url(database_url), Wire()
    tasks: set[asyncio.Task[None] | None] = set()

    async def connected(near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        tasks.add(task)
        await wire.connected(url.host or "127.0.0.1", url.port or 5432, near, back)
        tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield wire, url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        server.close()
        await asyncio.gather(*(task for task in tasks if task))
