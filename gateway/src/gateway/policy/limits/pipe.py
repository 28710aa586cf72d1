"""One connection to the cache, shared by all requests: commands of one turn of the event loop leave in one write.

A call of redis-py costs some 45 µs, this about 3: a call is a future in a queue, nothing else. Only what the limiter
needs is here: commands in, replies in order.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import hiredis
import structlog

log = structlog.get_logger()

DEADLINE_S: Final = 0.05  # a request waits this long for the cache, never longer
_LOST_AFTER_S: Final = 1.0  # a connection that answers nothing for so long is cut
_RETRY_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0)


Word: TypeAlias = str | bytes | int


class CacheAway(Exception):
    """The cache did not answer in time, or is not connected; it may still have done what it was asked."""


class CacheRefused(Exception):
    """The cache answered with an error; the message is its own."""


@dataclass(frozen=True, slots=True)
class CacheAddress:
    """Where the cache is: what a `redis://` or `rediss://` URL says."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: bool = False

    @classmethod
    def from_url(cls, url: str) -> "CacheAddress":
        """Raises ValueError for what is no such URL."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError("this takes redis://host:6379/0, or rediss:// for TLS")
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 6379,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            database=int(parts.path.strip("/") or 0),
            tls=parts.scheme == "rediss",
        )

    def greeting(self) -> list[tuple[Word, ...]]:
        """The commands that open a connection."""
        commands: list[tuple[Word, ...]] = []
        if self.password is not None:
            commands.append(("AUTH", self.username or "default", self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands


def packed(command: tuple[Word, ...]) -> bytes:
    """A command as the cache's protocol (RESP) writes it."""
    packed_command: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # the stub knows one word only
    return packed_command


class _Wire(asyncio.Protocol):
    """The connection itself: writes what was queued in this turn, gives each reply to the oldest call."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._reader = hiredis.Reader(replyError=CacheRefused)
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._queued: list[bytes] = []
        self._calls: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._answered_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def call(self, command: bytes) -> asyncio.Future[Any]:
        if not self._queued:
            self._loop.call_soon(self._flush)
        self._queued.append(command)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls.append(future)
        return future

    def _flush(self) -> None:
        """Send this turn's commands, and look after the youngest of them when its time is up: one timer for all."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(b"".join(self._queued))
        self._queued.clear()
        self._loop.call_later(DEADLINE_S, self._second_look, self._calls[-1], len(self._calls))

    def _second_look(self, last: "asyncio.Future[Any]", count: int) -> None:
        """A late timer may mean that we were busy and the replies lie unread: let the loop read before judging."""
        if not last.done():
            self._loop.call_later(0, self._judge, last, count)

    def _judge(self, last: "asyncio.Future[Any]", count: int) -> None:
        if last.done():
            return
        for future in list(self._calls)[:count]:
            if not future.done():
                future.set_exception(CacheAway())
            if future is last:
                break
        if self._loop.time() - self._answered_at > _LOST_AFTER_S and self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._answered_at = self._loop.time()
        reader = self._reader
        reader.feed(data)
        while (reply := reader.gets()) is not False:
            future = self._calls.popleft()
            if future.done():
                continue
            if isinstance(reply, CacheRefused):
                future.set_exception(reply)
            else:
                future.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        calls, self._calls = self._calls, deque()
        for future in calls:
            if not future.done():
                future.set_exception(CacheAway())
        self._on_lost()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Pipe:
    """The connection that is kept: lost, it is made again in the background, and calls fail at once meanwhile."""

    def __init__(self, url: str, opening: tuple[tuple[Word, ...], ...] = ()) -> None:
        self._address = CacheAddress.from_url(url)
        self._opening = (*self._address.greeting(), *opening)
        self._wire: _Wire | None = None
        self._gone = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._wire is not None

    def call(self, *command: Word) -> "asyncio.Future[Any]":
        """Send a command and await its reply for at most 50 ms. Raises CacheAway at once while not connected.

        The future raises CacheAway or CacheRefused.
        """
        if self._wire is None:
            raise CacheAway
        return self._wire.call(packed(command))

    async def run(self) -> None:
        """Keep a connection, for ever."""
        attempt = 0
        while True:
            try:
                await self._connect()
            except (OSError, CacheAway, CacheRefused) as error:
                if attempt == 0:
                    log.warning("cache_away", reason=str(error) or type(error).__name__)
                await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1
                continue
            if attempt:
                log.info("cache_back")
            attempt = 0
            await self._gone.wait()

    def _lost(self) -> None:
        """At once: a call on a wire that is gone would be answered by nobody."""
        self._wire = None
        self._gone.set()

    async def _connect(self) -> None:
        self._gone.clear()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(1.0):
            _, wire = await loop.create_connection(
                lambda: _Wire(self._lost), self._address.host, self._address.port, ssl=self._address.tls or None
            )
        try:
            await asyncio.gather(*(wire.call(packed(command)) for command in self._opening))
        except (CacheAway, CacheRefused):
            wire.abort()
            raise
        if self._gone.is_set():
            raise CacheAway
        self._wire = wire

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()
            self._wire = None
