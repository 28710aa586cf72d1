"""One connection to the cache, shared by all requests: the commands of one turn of the event loop leave in one write.

A call through redis-py costs about 45 µs of CPU, a call here about 3: it is a future in a queue. Only commands and
replies in order are supported; pub/sub, blocking commands and transactions need redis-py.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import hiredis

from shared.background import Backoff, PollingLoop, Progress

DEADLINE_S: Final = 0.05  # how long a request waits for the cache
_DEAD_AFTER_S: Final = 1.0  # without any reply for this long, a connection with pending calls is closed
_CONNECT_S: Final = 1.0
_BACKOFF: Final = Backoff(first_s=0.05, most_s=1.0)

Argument: TypeAlias = str | bytes | int


class CacheError(Exception):
    """The cache did not do what it was asked, or did not confirm it."""


class CacheUnavailable(CacheError):
    """The cache is not connected or did not reply in time; in the second case it may have run the command."""


class CacheRefused(CacheError):
    """The cache replied with an error, whose message this carries."""


@dataclass(frozen=True, slots=True)
class CacheAddress:
    """The parts of a `redis://` or `rediss://` URL."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: bool = False

    @classmethod
    def from_url(cls, url: str) -> "CacheAddress":
        """Raises ValueError for any other text."""
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError("must be redis://host:6379/0, or rediss:// for TLS")
        return cls(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 6379,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            database=int(parts.path.strip("/") or 0),
            tls=parts.scheme == "rediss",
        )

    def greeting(self) -> list[tuple[Argument, ...]]:
        """The commands that open a connection."""
        commands: list[tuple[Argument, ...]] = []
        if self.password is not None:
            commands.append(("AUTH", self.username or "default", self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        return commands


def _packed(command: tuple[Argument, ...]) -> bytes:
    """A command in the cache's protocol (RESP)."""
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # the stub allows one argument only
    return packed


class _Pipeline(asyncio.Protocol):
    """An open connection: writes the commands queued in this turn, and gives each reply to the oldest call."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._reader = hiredis.Reader(replyError=CacheRefused)
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._queued: list[bytes] = []
        self._calls: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._replied_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def call(self, command: tuple[Argument, ...]) -> asyncio.Future[Any]:
        if not self._queued:
            self._loop.call_soon(self._flush)
        self._queued.append(_packed(command))
        future: asyncio.Future[Any] = self._loop.create_future()
        self._calls.append(future)
        return future

    def _flush(self) -> None:
        """Send this turn's commands. One timer serves them all: when the last one has its reply, all have."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(b"".join(self._queued))
        self._queued.clear()
        self._loop.call_later(DEADLINE_S, self._on_deadline, self._calls[-1], len(self._calls))

    def _on_deadline(self, last: "asyncio.Future[Any]", count: int) -> None:
        """A late timer may mean that this process was busy: read the replies that have arrived before judging."""
        if not last.done():
            self._loop.call_later(0, self._expire, last, count)

    def _expire(self, last: "asyncio.Future[Any]", count: int) -> None:
        if last.done():
            return
        for future in list(self._calls)[:count]:
            if not future.done():
                future.set_exception(CacheUnavailable())
            if future is last:
                break
        if self._loop.time() - self._replied_at > _DEAD_AFTER_S:
            self.abort()

    def data_received(self, data: bytes) -> None:
        self._replied_at = self._loop.time()
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
                future.set_exception(CacheUnavailable())
        self._on_lost()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class PipelinedConnection:
    """A connection that is opened again in the background when it is lost. Calls fail at once in the meantime."""

    def __init__(self, url: str, opening: tuple[tuple[Argument, ...], ...] = ()) -> None:
        self._address = CacheAddress.from_url(url)
        self._opening = (*self._address.greeting(), *opening)
        self._pipeline: _Pipeline | None = None
        self._lost = asyncio.Event()
        outages = (OSError, CacheError)
        self._opening_loop = PollingLoop(
            "cache connection", self._open_and_hold, every_s=0, backoff=_BACKOFF, outages=outages
        )

    @property
    def connected(self) -> bool:
        return self._pipeline is not None

    def call(self, *command: Argument) -> "asyncio.Future[Any]":
        """Send a command; its reply arrives within 50 ms or not at all. Raises CacheUnavailable while not connected.

        The future raises CacheUnavailable or CacheRefused.
        """
        if self._pipeline is None:
            raise CacheUnavailable
        return self._pipeline.call(command)

    async def run(self) -> None:
        """Keep the connection open until cancelled."""
        await self._opening_loop.run()

    async def _open_and_hold(self) -> Progress:
        """One connection, from its opening until it is lost. Raises OSError, CacheError."""
        pipeline = await self._open()
        self._opening_loop.recovered()
        await self._hold(pipeline)
        return Progress.MORE

    async def _open(self) -> _Pipeline:
        """A connection whose opening commands have succeeded. Raises OSError, CacheError."""
        self._lost.clear()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, pipeline = await loop.create_connection(
                lambda: _Pipeline(self._on_lost), self._address.host, self._address.port, ssl=self._address.tls or None
            )
        try:
            await asyncio.gather(*(pipeline.call(command) for command in self._opening))
            if self._lost.is_set():
                raise CacheUnavailable
        except (CacheError, asyncio.CancelledError):
            pipeline.abort()
            raise
        return pipeline

    async def _hold(self, pipeline: _Pipeline) -> None:
        """Let calls use the connection until it is lost, and close it when cancelled."""
        self._pipeline = pipeline
        try:
            await self._lost.wait()
        finally:
            pipeline.abort()

    def _on_lost(self) -> None:
        """At once: no reply would come to a call on a connection that is lost."""
        self._pipeline = None
        self._lost.set()
