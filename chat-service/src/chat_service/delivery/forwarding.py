"""Moves every stream that is followed here forward, whatever hints get lost.

A stored row arrives by a commit of this process, by a hint from another replica, or by the comparison: the check of all
last numbers, once a second, in one query to PostgreSQL. Followers get it once and in order, whichever is first.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from prometheus_client import Counter

from chat_service.delivery import history
from chat_service.delivery.history import StreamHead
from chat_service.delivery.streams import Follower, NumberedStream, RoomStream
from chat_service.delivery.subscription import Subscription
from chat_service.push import StreamKey
from shared.background import Backoff, PollingLoop
from shared.data.database import Database
from shared.problems import ServiceUnavailable

FILLED = Counter("flotilla_chat_filled_total", "Frames that no hint brought, read from PostgreSQL.")

_READERS: Final = 4  # concurrent history reads, so that a crowd of reconnecting clients leaves connections to senders
_GAP_S: Final = 0.05  # how long a missing number may still be on its way
_RETRY: Final = Backoff(first_s=0.25, most_s=0.5)
_WELCOME_S: Final = 1.0  # a database that hangs does not delay the welcome
_COMPARE_PAUSE_S: Final = 0.1

RoomCompared = Callable[[RoomStream, StreamHead], Awaitable[bool]]
"""Receives a room's position in the database; returns whether its stream continues from where it was."""


class Forwarding:
    """`on_room` is called for every followed room at each comparison."""

    def __init__(self, database: Database, poll_s: float, on_room: RoomCompared) -> None:
        self._database, self._on_room = database, on_room
        self._streams: dict[StreamKey, NumberedStream] = {}
        self._readers = asyncio.Semaphore(_READERS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.comparing = PollingLoop("compare", self._compare, every_s=poll_s)
        """Asks where all streams are, every `poll_s` seconds, and reads those that are behind."""

    # followers

    def stream(self, key: StreamKey) -> NumberedStream | None:
        """The stream, if a connection of this process follows it."""
        return self._streams.get(key)

    def follow(self, stream: NumberedStream, follower: Follower) -> None:
        self._streams[stream.key] = stream
        stream.followers.add(follower)

    def unfollow(self, stream: NumberedStream, follower: Follower) -> bool:
        """Stop following; returns whether no connection of this process follows the stream any longer."""
        stream.followers.discard(follower)
        if stream.followers or self._streams.get(stream.key) is not stream:
            return False
        del self._streams[stream.key]
        return True

    async def begin(self, stream: NumberedStream) -> None:
        """Find where a person's stream begins; while the database is unavailable the comparison does."""
        with suppress(ServiceUnavailable, TimeoutError):
            async with asyncio.timeout(_WELCOME_S):
                stream.begin_at(await history.last_notification(self._database, stream.key))

    # moving a stream forward

    def offer(self, key: StreamKey, seq: int, frame: bytes) -> None:
        """A row was committed, here or elsewhere."""
        stream = self._streams.get(key)
        if stream is None:
            return
        stream.offer(seq, frame)
        if stream.has_gap:
            asyncio.get_running_loop().call_later(_GAP_S, self._fill_if_gap, stream)

    def compare_soon(self) -> None:
        """Hints may have been missed: compare in a moment, once for all the streams that say so."""
        asyncio.get_running_loop().call_later(_COMPARE_PAUSE_S, self.comparing.wake)

    async def _compare(self) -> None:
        if not self._streams:
            return
        keys = tuple(self._streams)
        found = {last.key: last for last in await history.last_numbers(self._database, keys)}
        for key in keys:
            stream = self._streams.get(key)
            if stream is None:
                continue
            if key in found:
                await self._compare_stream(stream, found[key])
            else:
                stream.begin_at(0)  # a person who was never notified has no row

    async def _compare_stream(self, stream: NumberedStream, last: StreamHead) -> None:
        stream.begin_at(last.last_seq)
        if isinstance(stream, RoomStream) and not await self._on_room(stream, last):
            return
        if stream.is_behind(last.last_seq) or stream.has_gap:
            self._fill(stream)

    def _fill_if_gap(self, stream: NumberedStream) -> None:
        if stream.has_gap:
            self._fill(stream)

    def _fill(self, stream: NumberedStream) -> None:
        if not stream.filling and stream.head is not None and stream.followers:
            stream.filling = True
            self._start(self._read_on(stream), self._tasks)

    async def _read_on(self, stream: NumberedStream) -> None:
        """Read what follows the stream's head until nothing does."""
        try:
            rows: Sequence[tuple[int, bytes]] = [(0, b"")] * history.PAGE
            while len(rows) == history.PAGE and stream.followers:
                async with self._readers:
                    rows = await history.frames_after(self._database, stream.key, stream.head or 0)
                for seq, frame in rows:
                    stream.offer(seq, frame)
                FILLED.inc(len(rows))
        except ServiceUnavailable:
            pass  # the next comparison begins again
        finally:
            stream.filling = False

    # a subscription's history

    def catch_up(self, subscription: Subscription) -> None:
        """Give the subscription its history, as fast as its reader reads, until it is live."""
        self._start(self._catch_up(subscription), subscription.connection.tasks)

    async def _catch_up(self, subscription: Subscription) -> None:
        connection, failures = subscription.connection, 0
        while not subscription.ended and not connection.outgoing.ended:
            await connection.outgoing.drained()
            subscription.hold_from_here()
            try:
                async with self._readers:
                    rows = await history.frames_after(self._database, subscription.stream.key, subscription.position)
            except ServiceUnavailable:
                await asyncio.sleep(_RETRY.wait_s(failures))
                failures += 1
                continue
            async with connection.catching_up:
                await subscription.give_history(rows)
            if len(rows) < history.PAGE and subscription.go_live():
                return

    def _start(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)
