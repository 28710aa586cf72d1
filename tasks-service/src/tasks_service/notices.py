"""What PostgreSQL's NOTIFY tells this process: one LISTEN connection, and waiters by channel and topic.

A notice is a hint that saves a wait: it is lost while the connection is away, so every waiter polls behind it, and all
of them are woken once the connection is back (PostgreSQL manual, NOTIFY and LISTEN).
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from shared.data.roles import role_name

QUEUE: Final = "flotilla_jobs_queue"  # a job became due
CANCELS: Final = "flotilla_jobs_cancels"  # a running job is to be cancelled
EVENTS: Final = "flotilla_jobs_events"  # a job has a new event; the topic is the job's id
CHANNELS: Final = (QUEUE, CANCELS, EVENTS)

_ALIVE_S: Final = 10.0  # a connection whose peer vanished without a word is found out within this
_PAUSE_S: Final = 0.5

_NOTIFY = text("SELECT pg_notify(:channel, :topic)")

log = structlog.get_logger(__name__)


async def notify(db: AsyncSession, channel: str, topic: str = "") -> None:
    """Tell every listener once the transaction has committed; equal notices of one transaction are one."""
    await db.execute(_NOTIFY, {"channel": channel, "topic": topic})


class Notices:
    """Wakes those who wait for a channel. `run` holds the connection, for ever, over any number of outages."""

    def __init__(self, database: Database, service: str) -> None:
        self._database, self._service = database, service
        self._waiters: dict[tuple[str, str], set[asyncio.Event]] = defaultdict(set)
        self._lost = asyncio.Event()

    @contextmanager
    def waiter(self, channel: str, topic: str = "") -> Iterator[asyncio.Event]:
        """An event that is set by each notice of the channel and topic; the waiter clears it before it looks."""
        key, event = (channel, topic), asyncio.Event()
        self._waiters[key].add(event)
        try:
            yield event
        finally:
            self._waiters[key].discard(event)
            if not self._waiters[key]:
                del self._waiters[key]

    async def run(self) -> None:
        away = False
        while True:
            try:
                await self._listen(away)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                if not away:
                    log.warning("notices_lost", reason=type(error).__name__)
            away = True
            await asyncio.sleep(_PAUSE_S)

    async def _listen(self, was_away: bool) -> None:
        """Hold one connection until it is lost."""
        self._lost.clear()
        connection = await self._connect()
        try:
            connection.add_termination_listener(self._ended)
            for channel in CHANNELS:
                await connection.add_listener(channel, self._told)
            if was_away:
                log.info("notices_back")
            self._wake_all()  # what was told in between has to be looked up
            while not self._lost.is_set():
                try:
                    async with asyncio.timeout(_ALIVE_S):
                        await self._lost.wait()
                except TimeoutError:
                    await connection.execute("SELECT 1", timeout=_ALIVE_S)
        finally:
            connection.terminate()

    async def _connect(self) -> "asyncpg.Connection[Any]":
        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        settings = {"role": role_name(self._service, "app"), "application_name": f"flotilla-{self._service}-notices"}
        return await asyncpg.connect(url, timeout=3, server_settings=settings)

    def _ended(self, _connection: object) -> None:
        self._lost.set()

    def _told(self, _connection: object, _pid: int, channel: str, topic: object) -> None:
        for event in self._waiters.get((channel, str(topic)), ()):
            event.set()

    def _wake_all(self) -> None:
        for events in self._waiters.values():
            for event in events:
                event.set()


async def woken(event: asyncio.Event, within_s: float) -> None:
    """Wait for a notice, `within_s` seconds at most, and forget it."""
    try:
        async with asyncio.timeout(within_s):
            await event.wait()
    except TimeoutError:
        pass  # the poll behind the notice
    event.clear()
