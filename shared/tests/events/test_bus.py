"""The contract of the bus, kept by each transport over a real broker."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from shared.background import Backoff
from shared.events.bus import PUBLISH_TIMEOUT_S, Bus, BusUnavailable
from shared.events.transports import open_bus
from shared.events.valkey_streams import ValkeyBus, _Reader
from shared.ids import new_id
from shared.testing import eventually

PATIENCE_S = 30


class Received:
    """What a consumer was given; `until` waits for a condition on it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._changed = asyncio.Condition()

    async def take(self, message: bytes) -> None:
        async with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    async def until(self, condition: Callable[[list[bytes]], bool]) -> list[bytes]:
        async with asyncio.timeout(PATIENCE_S), self._changed:
            await self._changed.wait_for(lambda: condition(self.messages))
        return self.messages


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """The work beside the block, cancelled at its end; what it raised is raised here."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()):
        raise error


@pytest.fixture
def name() -> str:
    """A service and type name of the test's own: the brokers live longer than one test."""
    return f"t{new_id().hex}"


async def test_every_bound_service_gets_the_bytes_as_they_were(bus: Bus, name: str) -> None:
    message = bytes(range(256)) + os.urandom(100_000)
    ann, ben, other = Received(), Received(), Received()
    for service in ("ann", "ben", "other"):
        await bus.declare(f"{name}-{service}", [f"{name}.other" if service == "other" else f"{name}.made"])
    async with (
        running(bus.consume(f"{name}-ann", ann.take)),
        running(bus.consume(f"{name}-ben", ben.take)),
        running(bus.consume(f"{name}-other", other.take)),
    ):
        await bus.publish(message, event_type=f"{name}.made", event_id="1")
        await bus.publish(b"other", event_type=f"{name}.other", event_id="2")
        assert await ann.until(bool) == [message]
        assert await ben.until(bool) == [message]
        assert await other.until(bool) == [b"other"]


async def test_what_was_published_before_the_consumer_came_waits_in_order(bus: Bus, name: str) -> None:
    await bus.declare(name, [name])
    sent = [str(number).encode() for number in range(250)]
    for message in sent:
        await bus.publish(message, event_type=name, event_id=message.decode())
    await eventually(lambda: depth_is(bus, name, 250))
    received = Received()
    async with running(bus.consume(name, received.take)):
        assert await received.until(lambda messages: len(messages) >= 250) == sent
        await eventually(lambda: depth_is(bus, name, 0))


async def test_declaring_again_adds_types_and_keeps_the_others(bus: Bus, name: str) -> None:
    await bus.declare(name, [f"{name}.a"])
    await bus.declare(name, [f"{name}.b"])
    received = Received()
    async with running(bus.consume(name, received.take)):
        for letter in "ab":
            await bus.publish(letter.encode(), event_type=f"{name}.{letter}", event_id=letter)
        assert sorted(await received.until(lambda messages: len(messages) == 2)) == [b"a", b"b"]


async def test_a_message_whose_handling_raised_comes_again(bus: Bus, name: str) -> None:
    await bus.declare(name, [name])
    received = Received()

    async def fails_twice(message: bytes) -> None:
        await received.take(message)
        if received.messages.count(message) < 3:
            raise RuntimeError("not yet")

    async with running(bus.consume(name, fails_twice)):
        for letter in (b"a", b"b", b"c"):
            await bus.publish(letter, event_type=name, event_id=letter.decode())
        await received.until(lambda messages: sorted(messages) == sorted([b"a", b"b", b"c"] * 3))
        await eventually(lambda: depth_is(bus, name, 0))


async def test_the_acknowledgement_waits_for_the_handling(broker: Any, bus: Bus, name: str) -> None:
    """A consumer that dies in the middle leaves its message to the next one."""
    await bus.declare(name, [name])
    started = Received()

    async def never_done(message: bytes) -> None:
        await started.take(message)
        await asyncio.Event().wait()

    doomed = broker.bus()
    async with running(doomed.consume(name, never_done)):
        await bus.publish(b"precious", event_type=name, event_id="1")
        await started.until(bool)
        assert await held(bus, name, broker.transport)
    await doomed.close()
    received = Received()
    async with running(bus.consume(name, received.take)):
        assert await received.until(bool) == [b"precious"]


async def held(bus: Bus, name: str, transport: str) -> bool:
    """RabbitMQ counts what waits without what is in hand, Valkey counts both: neither has forgotten the message."""
    return await bus.depth(name) == (0 if transport == "rabbitmq" else 1)


async def test_two_consumers_of_one_service_share_the_work(broker: Any, bus: Bus, name: str) -> None:
    await bus.declare(name, [name])
    other_bus: Bus = broker.bus()
    both, by_one, by_other = Received(), Received(), Received()

    def worker(own: Received) -> Callable[[bytes], Awaitable[None]]:
        async def take(message: bytes) -> None:
            await own.take(message)
            await both.take(message)

        return take

    sent = [str(number).encode() for number in range(300)]
    async with running(bus.consume(name, worker(by_one))), running(other_bus.consume(name, worker(by_other))):
        while not (by_one.messages and by_other.messages):  # both are receiving
            await bus.publish(b"warm", event_type=name, event_id="0")
        for message in sent:
            await bus.publish(message, event_type=name, event_id=message.decode())
        received = await both.until(lambda messages: len([m for m in messages if m != b"warm"]) >= 300)
        assert sorted(m for m in received if m != b"warm") == sorted(sent)
    await other_bus.close()
    assert by_one.messages
    assert by_other.messages


async def test_a_type_that_nobody_consumes_is_kept_apart_and_counted(bus: Bus, name: str) -> None:
    before = await unrouted(bus, name)
    for number in range(3):
        await bus.publish(b"?", event_type=f"{name}.nobody", event_id=str(number))
    await eventually(lambda: unrouted_is(bus, before + 3))


async def test_only_the_last_ten_thousand_unrouted_are_kept(bus: Bus, name: str) -> None:
    limit = asyncio.Semaphore(200)

    async def publish(number: int) -> None:
        async with limit:
            await bus.publish(b"?", event_type=f"{name}.nobody", event_id=str(number))

    await asyncio.gather(*(publish(number) for number in range(10_050)))
    await eventually(lambda: unrouted_is(bus, 10_000))


async def test_killing_the_broker_under_publishing_loses_nothing_confirmed(broker: Any, bus: Bus, name: str) -> None:
    await bus.declare(name, [name])
    received, confirmed, failed = Received(), set[bytes](), 0
    loop = asyncio.get_running_loop()

    async def publish(number: int) -> bool:
        message, began = str(number).encode(), loop.time()
        try:
            await bus.publish(message, event_type=name, event_id=str(number))
        except BusUnavailable:
            assert loop.time() - began < PUBLISH_TIMEOUT_S + 1.5
            return False
        confirmed.add(message)
        return True

    async with running(bus.consume(name, received.take)):
        for number in range(200):
            assert await publish(number)
        await broker.settled()
        await broker.server.kill()
        for number in range(200, 220):
            failed += not await publish(number)
        assert failed == 20
        await broker.server.start()
        number, after = 220, 0
        async with asyncio.timeout(PATIENCE_S):
            while after < 100:
                after += await publish(number)
                number += 1
        await received.until(lambda messages: confirmed <= set(messages))


async def test_a_frozen_broker_fails_a_publish_in_bounded_time(broker: Any, bus: Bus, name: str) -> None:
    await bus.publish(b"before", event_type=name, event_id="1")
    loop = asyncio.get_running_loop()
    broker.freeze()
    try:
        began = loop.time()
        with pytest.raises(BusUnavailable):
            await bus.publish(b"during", event_type=name, event_id="2")
        assert loop.time() - began < PUBLISH_TIMEOUT_S + 1.5
    finally:
        broker.thaw()
    await eventually(lambda: publishes(bus, name))


async def test_a_consumer_started_before_its_broker_begins_when_it_comes(broker: Any, bus: Bus, name: str) -> None:
    await bus.declare(name, [name])
    await bus.publish(b"waiting", event_type=name, event_id="1")
    await broker.settled()
    await broker.server.kill()
    received = Received()
    async with running(bus.consume(name, received.take)):
        with pytest.raises(BusUnavailable):
            await bus.depth(name)
        await broker.server.start()
        assert await received.until(bool) == [b"waiting"]


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)  # only a Valkey can be flushed
async def test_a_wiped_valkey_gets_its_groups_and_bindings_again(broker: Any, bus: Bus, name: str) -> None:
    assert isinstance(bus, ValkeyBus)
    await bus.declare(name, [name])
    received = Received()
    async with running(bus.consume(name, received.take)):
        await bus.publish(b"before", event_type=name, event_id="1")
        await received.until(bool)
        await bus._client.flushall()
        async with asyncio.timeout(PATIENCE_S):
            while b"after" not in received.messages:
                await bus.publish(b"after", event_type=name, event_id="2")
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)  # Valkey tries its messages for ever
async def test_a_poisonous_message_ends_in_the_dead_queue(bus: Bus, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.events.rabbit.REDELIVERY_BACKOFF", Backoff(most_s=0.01))
    await bus.declare(name, [name])

    async def refuses(message: bytes) -> None:
        raise RuntimeError("never")

    async with running(bus.consume(name, refuses)):
        await bus.publish(b"poison", event_type=name, event_id="1")
        await eventually(lambda: depth_is(bus, f"{name}.dead", 1))
        await eventually(lambda: depth_is(bus, name, 0))


def test_a_url_names_its_transport() -> None:
    with pytest.raises(ValueError, match="kafka"):
        open_bus("kafka://localhost")


async def depth_is(bus: Bus, service: str, count: int) -> bool:
    return await bus.depth(service) == count


async def unrouted_is(bus: Bus, count: int) -> bool:
    return await bus.unrouted() == count


async def publishes(bus: Bus, event_type: str) -> bool:
    try:
        await bus.publish(b"again", event_type=event_type, event_id="3")
    except BusUnavailable:
        return False
    return True


async def unrouted(bus: Bus, name: str) -> int:
    await bus.declare(name, [])  # makes what the count reads, on a broker that has seen nothing yet
    return await bus.unrouted()


async def test_a_cancellation_that_the_client_loses_ends_the_consumer(
    bus_url: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py may return what it read instead of ending: then no one is left who would take the entries."""
    reading = asyncio.Event()

    async def loses_it(_reader: _Reader) -> list[Any]:
        reading.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return [(b"0-1", {b"id": b"1", b"message": b"made"})]

    monkeypatch.setattr(_Reader, "next_entries", loses_it)
    bus = ValkeyBus(bus_url)
    consuming = asyncio.create_task(bus.consume(name, lambda _message: asyncio.Event().wait()))  # type: ignore[arg-type,return-value]  # never taken
    await reading.wait()
    consuming.cancel()
    done, _ = await asyncio.wait([consuming], timeout=5)
    consuming.cancel()
    await asyncio.gather(consuming, return_exceptions=True)
    await bus.close()
    assert done == {consuming}
