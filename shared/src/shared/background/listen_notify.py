"""PostgreSQL's LISTEN and NOTIFY: a hint that spares a waiter its poll.

A hint is lost while the connection is down, so every waiter polls behind it, and all of them are woken once the
connection is back (PostgreSQL manual, NOTIFY and LISTEN).
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.background.polling import PollingLoop
from shared.data.database import Database
from shared.data.roles import role_name

if TYPE_CHECKING:  # serving processes import this module, and only migrations Alembic
    from alembic.operations import Operations

Wake = Callable[[], object]
"""Wakes a loop or sets an event; neither waits nor raises."""

_ALIVE_S: Final = 10.0
_CONNECT_S: Final = 3.0
_OUTAGES: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

_NOTIFY: Final = text("SELECT pg_notify(:channel, :topic)")
_NOTIFY_CHANNEL: Final = """
    CREATE OR REPLACE FUNCTION notify_channel() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify(TG_ARGV[0], '');
        RETURN NULL;
    END $$
"""


async def notify(db: AsyncSession, channel: str, topic: str = "") -> None:
    """Wake every listener once the transaction has committed; PostgreSQL sends equal ones of a transaction once."""
    await db.execute(_NOTIFY, {"channel": channel, "topic": topic})


def notify_on_change(op: "Operations | ModuleType", table: str, channel: str, *, change: str) -> None:
    """For a migration: each statement that makes the `change` to `table` wakes the listeners of `channel`.

    `change` is a trigger's list of events, such as `INSERT OR UPDATE OF status`.
    """
    op.execute(_NOTIFY_CHANNEL)
    op.execute(
        f"CREATE TRIGGER {channel}_notify AFTER {change} ON {table}"
        f" FOR EACH STATEMENT EXECUTE FUNCTION notify_channel('{channel}')"
    )


class Listener:
    """Holds the process's one LISTEN connection and wakes loops by channel and topic."""

    def __init__(
        self, database: Database, service: str, channels: Collection[str], *, alive_s: float = _ALIVE_S
    ) -> None:
        """A server that stops answering without closing the connection is noticed within twice `alive_s`."""
        self._database, self._service, self._channels, self._alive_s = database, service, channels, alive_s
        self.connected = False
        """Whether each NOTIFY wakes its loops. All of them are woken when the connection is lost or made."""
        self._wakes: dict[tuple[str, str], set[Wake]] = defaultdict(set)
        self._lost = asyncio.Event()
        self.listening = PollingLoop("listen", self._listen, every_s=0, outages=_OUTAGES)
        """Background work: keeps the connection, over any number of outages."""

    @contextmanager
    def waking(self, wake: Wake, channel: str, topic: str = "") -> Iterator[None]:
        """Call `wake` at each NOTIFY of the channel and topic for as long as the block lasts."""
        key = (channel, topic)
        self._wakes[key].add(wake)
        try:
            yield
        finally:
            self._wakes[key].discard(wake)
            if not self._wakes[key]:
                del self._wakes[key]

    async def _listen(self) -> None:
        """Hold one connection until it is lost. Always raises."""
        self._lost.clear()
        connection = await self._connect()
        try:
            connection.add_termination_listener(self._on_lost)
            for channel in self._channels:
                await connection.add_listener(channel, self._on_notify)
            self.connected = True
            self.listening.recovered()
            self._wake_all()  # a NOTIFY may have come before this connection
            while not self._lost.is_set():
                try:
                    async with asyncio.timeout(self._alive_s):
                        await self._lost.wait()
                except TimeoutError:
                    await connection.execute("SELECT 1", timeout=self._alive_s)
        finally:
            connection.terminate()
            if self.connected:
                self.connected = False
                self._wake_all()
        raise ConnectionError("the server closed the connection")

    async def _connect(self) -> "asyncpg.Connection[Any]":
        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        settings = {"role": role_name(self._service, "app"), "application_name": f"flotilla-{self._service}-listen"}
        return await asyncpg.connect(url, timeout=_CONNECT_S, server_settings=settings)

    def _on_lost(self, _connection: object) -> None:
        self._lost.set()

    def _on_notify(self, _connection: object, _pid: int, channel: str, topic: object) -> None:
        for wake in tuple(self._wakes.get((channel, str(topic)), ())):
            wake()

    def _wake_all(self) -> None:
        for wakes in self._wakes.values():
            for wake in tuple(wakes):
                wake()
