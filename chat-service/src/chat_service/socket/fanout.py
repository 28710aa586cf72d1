"""Hints between replicas over the cache's publish/subscribe: fast, and free to get lost.

Every line has a channel, so a replica hears only of what it serves. While the cache is away nothing is told; the
comparison finds what was stored.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chat_service.push import LineKey
from chat_service.socket import hints
from chat_service.socket.hints import Hint
from shared.ids import new_id

log = structlog.get_logger(__name__)

DROPPED = Counter("flotilla_chat_hints_dropped_total", "Hints that were not sent because the cache was away or slow.")

OnHint = Callable[[LineKey, Hint], None]

_QUEUE: Final = 2_000
_BATCH: Final = 100
_SILENT_S: Final = 2.0
_GIVE_UP_S: Final = 6.0  # a connection that is silent although it was pinged is dead
_PAUSE_S: Final = 0.25
_ALWAYS: Final = "chat:always"  # a subscription that is never given up keeps the connection in subscribed state


class Fanout:
    def __init__(self, cache: Redis, url: str, on_hint: OnHint, on_back: Callable[[], None]) -> None:
        """`on_hint` gets the line and what is said of it; `on_back` is called when more is heard than before: some was
        missed."""
        self._cache, self._on_hint, self._on_back = cache, on_hint, on_back
        self._url, self._away = url, False
        self._origin = new_id().bytes  # stands before each payload, so that nobody hears themselves
        self._followed: dict[str, LineKey] = {}
        self._changed = asyncio.Event()
        self._outbox: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_QUEUE)

    def follow(self, key: LineKey) -> None:
        self._followed[hints.channel(key)] = key
        self._changed.set()

    def unfollow(self, key: LineKey) -> None:
        self._followed.pop(hints.channel(key), None)
        self._changed.set()

    def publish(self, key: LineKey, hint: bytes) -> None:
        """Send soon, in order; never waits."""
        try:
            self._outbox.put_nowait((hints.channel(key), self._origin + hint))
        except asyncio.QueueFull:
            DROPPED.inc()

    async def send(self) -> None:
        """Publish what is queued, for ever, many in one round trip."""
        while True:
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

    async def receive(self) -> None:
        """Listen, for ever, over any number of outages."""
        while True:
            client = Redis.from_url(
                self._url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=None,  # _read looks after that; with one, sending may lose this task's cancellation
                socket_connect_timeout=1,
            )
            try:
                async with client, client.pubsub() as pubsub:
                    await self._listen(pubsub)
            except* (RedisError, OSError) as errors:
                if not self._away:
                    log.warning("fanout_away", reason=type(errors.exceptions[0]).__name__)
                self._away = True
            await asyncio.sleep(_PAUSE_S)

    async def _listen(self, pubsub: PubSub) -> None:
        subscribed = self._wanted()
        await pubsub.subscribe(*subscribed)
        if self._away:
            log.info("fanout_back")
        self._away = False
        self._on_back()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read(pubsub))
            group.create_task(self._keep_subscribed(pubsub, subscribed))

    async def _keep_subscribed(self, pubsub: PubSub, subscribed: set[str]) -> None:
        while True:
            if new := self._wanted() - subscribed:
                await pubsub.subscribe(*new)
                subscribed |= new
                self._on_back()
            if old := subscribed - self._wanted():
                await pubsub.unsubscribe(*old)
                subscribed -= old
            self._changed.clear()
            if self._wanted() == subscribed:
                await self._changed.wait()

    async def _read(self, pubsub: PubSub) -> None:
        clock = asyncio.get_running_loop().time
        heard_at = clock()
        while True:
            message: dict[str, Any] | None = await pubsub.get_message(timeout=_SILENT_S)
            if message is None:
                if clock() - heard_at > _GIVE_UP_S:
                    raise ConnectionError("silent")
                await pubsub.ping()
                continue
            heard_at = clock()
            if message["type"] == "message" and not message["data"].startswith(self._origin):
                self._heard(message["channel"].decode(), message["data"][len(self._origin) :])

    def _heard(self, channel: str, payload: bytes) -> None:
        key, hint = self._followed.get(channel), hints.parse(payload)
        if key is not None and hint is not None:
            self._on_hint(key, hint)

    def _wanted(self) -> set[str]:
        return {_ALWAYS, *self._followed}
