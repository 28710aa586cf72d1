"""The bus on Valkey Streams, for development and tests: a stream and a group per consuming service.

    bus:types:<type>     set of the services bound to a type
    bus:to:<service>     the service's stream; never trimmed, an entry goes when it is acknowledged
    bus:unrouted         types without a consumer, the last 10,000

It needs a Valkey of its own with `appendonly yes` and `appendfsync always`: then a publish that returned is on disk.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, cast

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError, ResponseError

from shared.background import raise_if_cancelled
from shared.events.bus import (
    IN_FLIGHT,
    PUBLISH_TIMEOUT_S,
    UNROUTED_KEPT,
    BusUnavailable,
    MessageRefused,
    OnMessage,
    consume_until_cancelled,
)
from shared.ids import new_id

CLAIM_AFTER_S: Final = 30.0  # an entry that its consumer left alone this long goes to another one
BLOCK_S: Final = 2.0  # how long a read waits; cancelling and closing wait for no more than this
CONNECT_TIMEOUT_S: Final = 2.0
CONSUMER_FORGOTTEN_S: Final = 3600  # a consumer that holds nothing and was silent this long belonged to a past process
MAX_CONNECTIONS: Final = 32  # one fsync serves all that wait for it: more connections at once mean fewer fsyncs each
UNROUTED: Final = "bus:unrouted"

# One script, so that a message reaches every bound service or none.
_PUBLISH: Final = """
local services = redis.call('SMEMBERS', KEYS[1])
if #services == 0 then
    redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], '*', 'id', ARGV[1], 'message', ARGV[2])
end
for _, service in ipairs(services) do
    redis.call('XADD', 'bus:to:' .. service, '*', 'id', ARGV[1], 'message', ARGV[2])
end
return #services
"""

Entry = tuple[bytes, dict[bytes, bytes]]

log = structlog.get_logger(__name__)


class ValkeyBus:
    """Valkey Streams behind the Bus contract: one pool for publishing and one connection for each `consume`."""

    def __init__(
        self, url: str, *, publish_timeout_s: float = PUBLISH_TIMEOUT_S, claim_after_s: float = CLAIM_AFTER_S
    ) -> None:
        self._url = url
        self._publish_timeout_s = publish_timeout_s
        self._claim_after_s = claim_after_s
        self._client = self._connect(publish_timeout_s)
        self._publish = self._client.register_script(_PUBLISH)
        self._declared: dict[str, frozenset[str]] = {}

    async def declare(self, service: str, types: Collection[str]) -> None:
        self._declared[service] = self._declared.get(service, frozenset()) | frozenset(types)
        with _translated():
            await self._make_group(self._client, service)

    async def publish(self, message: bytes, *, event_type: str, event_id: str) -> None:
        with _translated():
            async with asyncio.timeout(self._publish_timeout_s):
                await self._publish(keys=[f"bus:types:{event_type}", UNROUTED], args=[event_id, message, UNROUTED_KEPT])

    async def consume(self, service: str, on_message: OnMessage) -> None:
        await consume_until_cancelled(partial(self._consume_until_lost, service, on_message))

    async def depth(self, service: str) -> int:
        with _translated():
            return int(await self._client.xlen(_stream(service)))

    async def unrouted(self) -> int:
        with _translated():
            return int(await self._client.xlen(UNROUTED))

    async def close(self) -> None:
        await self._client.aclose()

    async def _consume_until_lost(self, service: str, on_message: OnMessage, receiving: Callable[[], None]) -> None:
        client = self._connect(BLOCK_S + self._publish_timeout_s)
        reader = _Reader(client, service, f"{os.getpid()}-{new_id()}", self._claim_after_s)
        try:
            with _translated():
                await self._make_group(client, service)
                await reader.forget_past_consumers()
                receiving()
                while True:
                    raise_if_cancelled()
                    entries = await reader.next_entries()
                    raise_if_cancelled()  # before waiting for the entries: what stores them may have ended already
                    await reader.settle(entries, on_message)
        finally:
            await client.aclose()

    async def _make_group(self, client: Redis, service: str) -> None:
        try:
            # From 0: what was published between the bindings and this line belongs to the group.
            await client.xgroup_create(_stream(service), service, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        for event_type in sorted(self._declared.get(service, ())):
            await client.sadd(f"bus:types:{event_type}", service)

    def _connect(self, timeout_s: float) -> Redis:
        pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=MAX_CONNECTIONS,
            timeout=timeout_s,
            protocol=2,
            socket_timeout=timeout_s,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),  # the loops here retry; redis-py's own ten attempts would hide an outage
        )
        return Redis.from_pool(pool)


class _Reader:
    """One consumer of a service's stream: new entries, and those that others left unacknowledged."""

    def __init__(self, client: Redis, service: str, name: str, claim_after_s: float) -> None:
        self._client, self._service, self._name = client, service, name
        self._claim_after_s = claim_after_s
        self._claim_at = 0.0
        self._claim_from = b"0-0"

    async def next_entries(self) -> list[Entry]:
        """Entries to handle now; an empty list after BLOCK_S, or sooner when a claim is due, without any."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._claim_at and (entries := await self._claim(loop)):
            return entries
        wait_s = min(BLOCK_S, max(0.001, self._claim_at - loop.time()))
        reply = cast(
            list[tuple[bytes, list[Entry]]],
            await self._client.xreadgroup(
                self._service,
                self._name,
                {_stream(self._service): ">"},
                count=IN_FLIGHT,
                block=max(1, int(wait_s * 1000)),
            ),
        )
        return reply[0][1] if reply else []

    async def _claim(self, loop: asyncio.AbstractEventLoop) -> list[Entry]:
        reply = await self._client.xautoclaim(
            _stream(self._service),
            self._service,
            self._name,
            min_idle_time=int(self._claim_after_s * 1000),
            start_id=self._claim_from,
            count=IN_FLIGHT,
        )
        self._claim_from = reply[0]
        if self._claim_from == b"0-0":  # seen to the end; until then the next call continues where this one stopped
            self._claim_at = loop.time() + self._claim_after_s / 2
        return cast(list[Entry], reply[1])

    async def settle(self, entries: list[Entry], on_message: OnMessage) -> None:
        """Hand the entries over side by side; those that were taken are acknowledged and deleted together."""
        taken = await asyncio.gather(*(_handed_over(entry, on_message) for entry in entries))
        done = [entry_id for (entry_id, _), ok in zip(entries, taken, strict=True) if ok]
        if done:
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.xack(_stream(self._service), self._service, *done)
                pipe.xdel(_stream(self._service), *done)
                await pipe.execute()

    async def forget_past_consumers(self) -> None:
        for consumer in await self._client.xinfo_consumers(_stream(self._service), self._service):
            if consumer["pending"] == 0 and consumer["idle"] > CONSUMER_FORGOTTEN_S * 1000:
                await self._client.xgroup_delconsumer(_stream(self._service), self._service, consumer["name"])


async def _handed_over(entry: Entry, on_message: OnMessage) -> bool:
    try:
        await on_message(entry[1][b"message"])
    except Exception as error:  # noqa: BLE001 - one message ends here: recorded, and claimed again after its pause
        log.warning("bus_message_failed", message_id=entry[1].get(b"id", b"").decode(), error=repr(error))
        return False
    return True


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DataError as error:
        raise MessageRefused(repr(error)) from error
    except (RedisError, OSError, TimeoutError) as error:
        raise BusUnavailable(repr(error) if str(error) == "" else str(error)) from error


def _stream(service: str) -> str:
    return f"bus:to:{service}"
