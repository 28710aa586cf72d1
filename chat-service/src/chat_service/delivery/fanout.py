"""Hints between replicas over the cache's publish/subscribe: fast, and allowed to get lost.

Every stream has a channel, so a replica receives only the hints of streams that it serves. While the cache is
unavailable there are none, and the once-a-second check of last numbers (forwarding.py) finds stored rows.
"""

import asyncio
from typing import Any, Final, Protocol

from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat_service.delivery import hints
from chat_service.delivery.hints import Hint
from chat_service.push import StreamKey
from shared.background import Backoff, PollingLoop, Progress
from shared.ids import new_id

DROPPED = Counter("flotilla_chat_hints_dropped_total", "Hints dropped because the cache was unavailable or slow.")


class HintListener(Protocol):
    """Receives what the fan-out brings; neither waits nor raises."""

    def on_hint(self, key: StreamKey, hint: Hint) -> None:
        """Another replica reports something about a stream that is followed here."""

    def on_gap(self) -> None:
        """Hints may have been missed."""


_QUEUE: Final = 2_000
_BATCH: Final = 100
_PING_AFTER_S: Final = 2.0
_GIVE_UP_S: Final = 6.0  # a connection that is silent although it was pinged is dead
_BACKOFF: Final = Backoff(first_s=0.1, most_s=0.5)
_ALWAYS: Final = "chat:always"  # one subscription that never ends keeps the connection in subscribed state


class Fanout:
    """Publishes hints, and hands those of other replicas to its listener."""

    def __init__(self, cache: Redis, url: str) -> None:
        self._cache, self._url = cache, url
        self._listeners: list[HintListener] = []
        self._origin = new_id().bytes  # precedes each payload, so that a replica skips its own
        self._followed: dict[str, StreamKey] = {}
        self._changed = asyncio.Event()
        self._outbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_QUEUE)
        outages = (RedisError, OSError)
        self.sending = PollingLoop("hints", self._send, every_s=0, backoff=_BACKOFF, outages=outages)
        self.receiving = PollingLoop("fan-out", self._receive, every_s=0, backoff=_BACKOFF, outages=outages)

    def listen(self, listener: HintListener) -> None:
        """Hand the hints of other replicas to `listener` from now on."""
        self._listeners.append(listener)

    def follow(self, key: StreamKey) -> None:
        self._followed[hints.channel(key)] = key
        self._changed.set()

    def unfollow(self, key: StreamKey) -> None:
        self._followed.pop(hints.channel(key), None)
        self._changed.set()

    def publish(self, key: StreamKey, hint: bytes) -> None:
        """Send soon, in order; never waits."""
        try:
            self._outbox.put_nowait((hints.channel(key), self._origin + hint))
        except asyncio.QueueFull:
            DROPPED.inc()

    async def _send(self) -> Progress:
        """Publish what is queued, many in one round trip; dropped while the cache is unavailable."""
        batch = [await self._outbox.get()]
        while len(batch) < _BATCH and not self._outbox.empty():
            batch.append(self._outbox.get_nowait())
        pipeline = self._cache.pipeline(transaction=False)
        for channel, payload in batch:
            pipeline.publish(channel, payload)
        try:
            await pipeline.execute()
        except (RedisError, OSError):
            DROPPED.inc(len(batch))
            raise
        return Progress.MORE

    async def _receive(self) -> None:
        """Receive on one connection until it is lost. Raises RedisError or OSError."""
        client = Redis.from_url(
            self._url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,  # _read watches the connection; with one, sending may lose this task's cancellation
            socket_connect_timeout=1,
        )
        try:
            async with client, client.pubsub() as pubsub:
                await self._serve(pubsub)
        except ExceptionGroup as errors:
            lost, unexpected = errors.split((RedisError, OSError))
            if unexpected is not None or lost is None:
                raise
            raise ConnectionError(str(lost.exceptions[0])) from lost

    async def _serve(self, pubsub: PubSub) -> None:
        subscribed = self._wanted()
        await pubsub.subscribe(*subscribed)
        self.receiving.recovered()
        self._report_gap()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(pubsub))
            group.create_task(self._keep_subscribed(pubsub, subscribed))

    async def _keep_subscribed(self, pubsub: PubSub, subscribed: set[str]) -> None:
        while True:
            if new := self._wanted() - subscribed:
                await pubsub.subscribe(*new)
                subscribed |= new
                self._report_gap()
            if old := subscribed - self._wanted():
                await pubsub.unsubscribe(*old)
                subscribed -= old
            self._changed.clear()
            if self._wanted() == subscribed:
                await self._changed.wait()

    async def _read(self, pubsub: PubSub) -> None:
        clock = asyncio.get_running_loop().time
        received_at = clock()
        while True:
            message: dict[str, Any] | None = await pubsub.get_message(timeout=_PING_AFTER_S)
            if message is None:
                if clock() - received_at > _GIVE_UP_S:
                    raise ConnectionError("silent")
                await pubsub.ping()
                continue
            received_at = clock()
            if message["type"] == "message" and not message["data"].startswith(self._origin):
                self._on_message(message["channel"].decode(), message["data"][len(self._origin) :])

    def _on_message(self, channel: str, payload: bytes) -> None:
        key, hint = self._followed.get(channel), hints.parse(payload)
        if key is not None and hint is not None:
            for listener in self._listeners:
                listener.on_hint(key, hint)

    def _report_gap(self) -> None:
        for listener in self._listeners:
            listener.on_gap()

    def _wanted(self) -> set[str]:
        return {_ALWAYS, *self._followed}
