"""The bus on RabbitMQ (3.10 and later): a topic exchange, a quorum queue per consuming service, confirmed publishes.

    flotilla.events ──type──▶ flotilla.<service> ──20 deliveries failed──▶ flotilla.<service>.dead
           └──no binding──▶ flotilla.unrouted (the last 10,000)

Connections are aio-pika's plain ones and are opened again by the two loops here. Its robust ones restore in the
background, on their own clock; this way the loop that needs the connection is also the watchdog over it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import aio_pika
import structlog
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage, AbstractQueue
from aio_pika.connection import make_url
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError, PublishError
from pamqp.common import Arguments

from shared.background import Backoff, raise_if_cancelled
from shared.events.bus import (
    IN_FLIGHT,
    PUBLISH_TIMEOUT_S,
    UNROUTED_KEPT,
    BusUnavailable,
    MessageRefused,
    OnMessage,
    consume_until_cancelled,
)

EXCHANGE: Final = "flotilla.events"
UNROUTED: Final = "flotilla.unrouted"
DELIVERY_LIMIT: Final = 20  # RabbitMQ before 4.0 has no limit of its own: a poisonous message would circle forever
HEARTBEAT_S: Final = 10  # a peer that vanished without a word is noticed after about three of these
REDELIVERY_BACKOFF: Final = Backoff()
SETUP_TIMEOUT_S: Final = 5.0  # tried on 3.10: after a crash a quorum queue may never answer the first basic.consume
WATCH_S: Final = 15.0
CLOSE_TIMEOUT_S: Final = 1.0  # a frozen broker must not delay the close
_LOST = (*CONNECTION_EXCEPTIONS, TimeoutError)

log = structlog.get_logger(__name__)


async def connect(url: str, *, timeout_s: float) -> AbstractConnection:
    """Open a plain connection; one that cannot be opened is closed as well (`_close` says why)."""
    connection = aio_pika.Connection(make_url(url), heartbeat=HEARTBEAT_S)
    try:
        await connection.connect(timeout=timeout_s)
    except BaseException:
        await _close(connection)
        raise
    return connection


class RabbitBus:
    """RabbitMQ behind the Bus contract: one connection for publishing and one for each `consume`."""

    def __init__(self, url: str, *, publish_timeout_s: float = PUBLISH_TIMEOUT_S) -> None:
        self._url = url
        self._publish_timeout_s = publish_timeout_s
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._opening = asyncio.Lock()
        self._declared: dict[str, frozenset[str]] = {}

    async def declare(self, service: str, types: Collection[str]) -> None:
        self._declared[service] = self._declared.get(service, frozenset()) | frozenset(types)
        async with self._channel() as channel, asyncio.timeout(SETUP_TIMEOUT_S):
            await self._service_queue(channel, service)

    async def publish(self, message: bytes, *, event_type: str, event_id: str) -> None:
        envelope = Message(
            message,
            content_type="application/cloudevents+json",
            delivery_mode=DeliveryMode.PERSISTENT,
            message_id=event_id,
            type=event_type,
        )
        exchange: AbstractExchange | None = None
        try:
            async with asyncio.timeout(self._publish_timeout_s):
                exchange = await self._publisher()
                await exchange.publish(envelope, routing_key=event_type)
        except PublishError as error:  # no queue took it, not even the alternate exchange's: declare all of it again
            await self._forget(exchange)
            raise BusUnavailable("the broker has lost its exchanges") from error
        except DeliveryError as error:
            raise MessageRefused(repr(error)) from error
        except _LOST as error:
            await self._forget(exchange)
            raise BusUnavailable(repr(error)) from error

    async def consume(self, service: str, on_message: OnMessage) -> None:
        await consume_until_cancelled(partial(self._consume_until_lost, service, on_message))

    async def depth(self, service: str) -> int:
        return await self._count(_queue_name(service))

    async def unrouted(self) -> int:
        return await self._count(UNROUTED)

    async def close(self) -> None:
        self._exchange = None
        await self._close_publisher()

    async def _publisher(self) -> AbstractExchange:
        async with self._opening:
            if self._exchange is None:
                await self._close_publisher()
                connection = await self._connect()
                try:
                    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                    self._exchange = await _declare_exchanges(channel)
                except BaseException:
                    await _close(connection)
                    raise
                self._connection = connection
                # An idle publisher learns of a lost broker here, and the next publish opens a connection of its own.
                connection.close_callbacks.add(self._publisher_lost)
            return self._exchange

    def _publisher_lost(self, connection: AbstractConnection | None, _error: BaseException | None) -> None:
        if connection is self._connection:
            self._exchange = None

    async def _forget(self, exchange: AbstractExchange | None) -> None:
        """Drop the publishing connection, unless another publish has replaced it already."""
        if exchange is not None and exchange is self._exchange:
            self._exchange = None
            await self._close_publisher()

    async def _close_publisher(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await _close(connection)

    async def _consume_until_lost(self, service: str, on_message: OnMessage, receiving: Callable[[], None]) -> None:
        async with self._channel() as channel:
            consumer = _Consumer(channel, on_message)
            try:
                async with asyncio.timeout(SETUP_TIMEOUT_S):
                    await channel.set_qos(prefetch_count=IN_FLIGHT)
                    await consumer.start(await self._service_queue(channel, service))
                receiving()
                await consumer.until_lost()
            finally:
                await consumer.stop()

    async def _service_queue(self, channel: AbstractChannel, service: str) -> AbstractQueue:
        exchange = await _declare_exchanges(channel)
        dead = f"{_queue_name(service)}.dead"
        await channel.declare_queue(dead, durable=True, arguments={"x-queue-type": "quorum"})
        arguments: Arguments = {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": dead,
            # At least once: a message leaves when the dead queue has confirmed it. The strategy asks for this overflow.
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        queue = await channel.declare_queue(_queue_name(service), durable=True, arguments=arguments)
        for event_type in sorted(self._declared.get(service, ())):
            await queue.bind(exchange, routing_key=event_type)
        return queue

    async def _count(self, queue: str) -> int:
        """On the publishing connection: a new one every few seconds is most of what an idle broker does."""
        exchange: AbstractExchange | None = None
        try:
            async with asyncio.timeout(SETUP_TIMEOUT_S):
                exchange = await self._publisher()
                if (connection := self._connection) is None:
                    raise ConnectionError("the connection was lost")
                async with connection.channel() as channel:  # a missing queue closes its channel, no more
                    declared = await channel.declare_queue(queue, passive=True)
                    return declared.declaration_result.message_count or 0
        except _LOST as error:
            if isinstance(error, TimeoutError):
                await self._forget(exchange)
            raise BusUnavailable(repr(error)) from error

    async def _connect(self) -> AbstractConnection:
        return await connect(self._url, timeout_s=self._publish_timeout_s)

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[AbstractChannel]:
        """A channel on a connection of its own. A broker lost on the way leaves as BusUnavailable."""
        connection: AbstractConnection | None = None
        try:
            connection = await self._connect()
            async with asyncio.timeout(SETUP_TIMEOUT_S):
                channel = await connection.channel()
            yield channel
        except _LOST as error:
            raise BusUnavailable(repr(error)) from error
        finally:
            if connection is not None:
                await _close(connection)


class _Consumer:
    """One consumer on a channel of its own, with a watch over it."""

    def __init__(self, channel: AbstractChannel, on_message: OnMessage) -> None:
        self._channel, self._on_message = channel, on_message
        self._lost = asyncio.Event()
        self._calls: set[asyncio.Task[None]] = set()
        self._delivered = 0

    async def start(self, queue: AbstractQueue) -> None:
        self._queue = queue
        self._channel.close_callbacks.add(lambda *_: self._lost.set())
        underlay = await self._channel.get_underlay_channel()
        underlay.on_consumer_cancel_callbacks.add(lambda _frame: self._lost.set())
        await queue.consume(self._deliver)

    async def until_lost(self) -> None:
        """Return when the broker closes or cancels. Raises TimeoutError when it is silent though messages wait."""
        while not self._lost.is_set():
            raise_if_cancelled()
            seen = self._delivered
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._lost.wait()
            if self._lost.is_set():
                return
            async with asyncio.timeout(SETUP_TIMEOUT_S):
                waiting = (await self._queue.declare()).message_count
            if waiting and not self._calls and self._delivered == seen:
                raise TimeoutError(f"{waiting} messages wait and none was delivered for {WATCH_S} s")

    async def _deliver(self, message: AbstractIncomingMessage) -> None:
        if not self._lost.is_set():
            self._delivered += 1
            call = asyncio.create_task(self._settle(message))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def stop(self) -> None:
        """Give up what is in hand; the broker delivers it again, here or elsewhere."""
        self._lost.set()
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _settle(self, message: AbstractIncomingMessage) -> None:
        """Acknowledge after `on_message` returned; give the message back, after a pause, when it raised."""
        try:
            if await _taken(message, self._on_message):
                await message.ack()
            else:
                await message.nack(requeue=True)
        except _LOST:
            # The connection broke before the acknowledgment arrived: the broker delivers again after the reconnect.
            log.debug("bus_ack_lost", message_id=message.message_id)


async def _declare_exchanges(channel: AbstractChannel) -> AbstractExchange:
    alternate = await channel.declare_exchange(UNROUTED, ExchangeType.FANOUT, durable=True)
    kept: Arguments = {"x-queue-type": "quorum", "x-max-length": UNROUTED_KEPT, "x-overflow": "drop-head"}
    queue = await channel.declare_queue(UNROUTED, durable=True, arguments=kept)
    await queue.bind(alternate)
    return await channel.declare_exchange(
        EXCHANGE, ExchangeType.TOPIC, durable=True, arguments={"alternate-exchange": UNROUTED}
    )


async def _close(connection: AbstractConnection) -> None:
    """Say goodbye, unless the broker does not listen.

    Every connection ends here, one that was lost or never opened too: what aio-pika does not know as closed, its
    finalizer closes, in whatever thread the collector runs; where that thread has no loop, it fails.
    """
    try:
        with suppress(*_LOST):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await connection.close()
    finally:
        await connection.close()  # its transport is given up by now: no more than the mark that it is closed


async def _taken(message: AbstractIncomingMessage, on_message: OnMessage) -> bool:
    try:
        await on_message(message.body)
    except Exception as error:  # noqa: BLE001 - one message ends here: recorded, and the broker delivers it again
        log.warning("bus_message_failed", message_id=message.message_id, error=repr(error))
        count = message.headers.get("x-delivery-count", 0)
        await asyncio.sleep(REDELIVERY_BACKOFF.wait_s(count if isinstance(count, int) else 0))
        return False
    return True


def _queue_name(service: str) -> str:
    return f"flotilla.{service}"
