"""Brings every line that is followed here forward, whatever gets lost on the way.

A stored row comes by the commit that made it here, by a hint from another replica, or by the comparison once a second,
which asks PostgreSQL for all last numbers in one query. Whichever comes first: followers get it once and in order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from prometheus_client import Counter

from chat_service.push import LineKey
from chat_service.socket import stored
from chat_service.socket.lines import Follower, NumberedLine, RoomLine
from chat_service.socket.stored import LastNumber
from chat_service.socket.subscription import Subscription
from shared.data.database import Database
from shared.problems import ServiceUnavailable

log = structlog.get_logger(__name__)

FILLED = Counter("flotilla_chat_filled_total", "Frames that no hint brought, read from PostgreSQL.")

_READERS: Final = 4  # history is read by so many at once, so that a crowd coming back leaves the pool to senders
_GAP_S: Final = 0.05  # how long a missing number may still be on its way
_AGAIN_S: Final = 0.5
_WELCOME_S: Final = 1.0  # a database that hangs does not keep anybody waiting at the door
_COMPARE_PAUSE_S: Final = 0.1

RoomCompared = Callable[[RoomLine, LastNumber], Awaitable[bool]]
"""Hears where a room is now; answers whether its line goes on from where it was."""


class Delivery:
    """`on_room` hears of every room that is followed, at each comparison."""

    def __init__(self, database: Database, poll_s: float, on_room: RoomCompared) -> None:
        self._database, self._poll_s, self._on_room = database, poll_s, on_room
        self._lines: dict[LineKey, NumberedLine] = {}
        self._readers = asyncio.Semaphore(_READERS)
        self._compare_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._compare_failed = False

    # who follows what

    def line(self, key: LineKey) -> NumberedLine | None:
        """The line, where somebody here follows it."""
        return self._lines.get(key)

    def follow(self, line: NumberedLine, follower: Follower) -> None:
        self._lines[line.key] = line
        line.followers.add(follower)

    def unfollow(self, line: NumberedLine, follower: Follower) -> bool:
        """Whether nobody here follows the line any more."""
        line.followers.discard(follower)
        if line.followers or self._lines.get(line.key) is not line:
            return False
        del self._lines[line.key]
        return True

    async def begin(self, line: NumberedLine) -> None:
        """Find where a person's line begins; with the database away the comparison does."""
        with suppress(ServiceUnavailable, TimeoutError):
            async with asyncio.timeout(_WELCOME_S):
                line.begin_at(await stored.last_notification(self._database, line.key))

    # what brings a line forward

    def offer(self, key: LineKey, seq: int, frame: bytes) -> None:
        """A row was committed, here or elsewhere."""
        line = self._lines.get(key)
        if line is None:
            return
        line.offer(seq, frame)
        if line.has_gap:
            asyncio.get_running_loop().call_later(_GAP_S, self._fill_if_gap, line)

    def compare_soon(self) -> None:
        """Hints may have been missed."""
        self._compare_now.set()

    async def compare(self) -> None:
        """Every second, ask where all lines are and fill what is behind; for ever."""
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._compare_now.wait()
                await asyncio.sleep(_COMPARE_PAUSE_S)
            except TimeoutError:
                pass
            self._compare_now.clear()
            try:
                await self._compare_once()
            except ServiceUnavailable:
                if not self._compare_failed:
                    log.warning("compare_failed")
                self._compare_failed = True
            else:
                self._compare_failed = False

    async def _compare_once(self) -> None:
        if not self._lines:
            return
        keys = tuple(self._lines)
        found = {last.key: last for last in await stored.last_numbers(self._database, keys)}
        for key in keys:
            line = self._lines.get(key)
            if line is None:
                continue
            if key in found:
                await self._compare_line(line, found[key])
            else:
                line.begin_at(0)  # a person who was never notified has no row

    async def _compare_line(self, line: NumberedLine, last: LastNumber) -> None:
        line.begin_at(last.last_seq)
        if isinstance(line, RoomLine) and not await self._on_room(line, last):
            return
        if line.is_behind(last.last_seq) or line.has_gap:
            self._fill(line)

    def _fill_if_gap(self, line: NumberedLine) -> None:
        if line.has_gap:
            self._fill(line)

    def _fill(self, line: NumberedLine) -> None:
        if not line.filling and line.head is not None and line.followers:
            line.filling = True
            self._start(self._read_on(line), self._tasks)

    async def _read_on(self, line: NumberedLine) -> None:
        """Read what follows the line's head until nothing does."""
        try:
            rows: Sequence[tuple[int, bytes]] = [(0, b"")] * stored.PAGE
            while len(rows) == stored.PAGE and line.followers:
                async with self._readers:
                    rows = await stored.frames_after(self._database, line.key, line.head or 0)
                for seq, frame in rows:
                    line.offer(seq, frame)
                FILLED.inc(len(rows))
        except ServiceUnavailable:
            pass  # the next comparison begins again
        finally:
            line.filling = False

    # a subscription's history

    def catch_up(self, subscription: Subscription) -> None:
        """Give the subscription its history, as fast as its reader reads, until it is live."""
        self._start(self._catch_up(subscription), subscription.connection.tasks)

    async def _catch_up(self, subscription: Subscription) -> None:
        connection = subscription.connection
        while not subscription.ended and not connection.outgoing.ended:
            await connection.outgoing.drained()
            subscription.hold_from_here()
            try:
                async with self._readers:
                    rows = await stored.frames_after(self._database, subscription.line.key, subscription.position)
            except ServiceUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            async with connection.catching_up:
                await subscription.give_history(rows)
            if len(rows) < stored.PAGE and subscription.go_live():
                return

    def _start(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
