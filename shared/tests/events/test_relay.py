"""From a commit to the bus: what is published, once it is true, in which order, and what a failing broker changes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

import pytest
from sqlalchemy import event as engine_event
from sqlalchemy import select, text

from shared.background import PollingLoop, Progress
from shared.background.single_active import single_active
from shared.data.database import Database
from shared.events import Bus, BusUnavailable, Event, EventHandlers, MessageRefused, outbox, replay
from shared.events.event import Envelope
from shared.events.inbox import InboxWorker
from shared.events.maintenance import prune
from shared.events.models import OutboxRow
from shared.events.relay import Relay
from shared.ids import new_id
from shared.problems import ServiceUnavailable
from shared.testing import eventually


class Grew(Event):
    """A thing grew."""

    type: ClassVar[str] = "thing.grew.v1"
    example: ClassVar[dict[str, object]] = {"size": 1}
    size: int


class Collecting:
    """A bus for looking at what the relay does: it keeps messages, and refuses, holds or loses them when told to."""

    def __init__(self) -> None:
        self.events: list[Envelope] = []
        self.refused: set[UUID] = set()
        self.refusals = 0
        self.away = False
        self.crash_after_publish = False
        self.publishing = asyncio.Event()
        self.may_publish = asyncio.Event()
        self.may_publish.set()

    async def publish(self, message: bytes, *, event_type: str, event_id: str) -> None:
        self.publishing.set()
        await self.may_publish.wait()
        if self.away:
            raise BusUnavailable("away")
        if UUID(event_id) in self.refused:
            self.refusals += 1
            raise MessageRefused("never")
        self.events.append(Envelope.decode(message))
        if self.crash_after_publish:
            raise RuntimeError("the process dies here")

    async def unrouted(self) -> int:
        return 0


@pytest.fixture
def collecting() -> Any:
    return Collecting()


async def add(database: Database, *events: Event) -> list[UUID]:
    """Each in a transaction of its own."""
    for event in events:
        async with database.transaction() as db:
            outbox.add(db, event)
    return [event.id for event in events]


async def drain(relay: Relay) -> None:
    while await relay.publish_batch() is Progress.MORE:
        pass


@asynccontextmanager
async def running(relay: Relay | InboxWorker) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_committed_is_published_and_what_rolled_back_is_not(database: Database, collecting: Any) -> None:
    subject, tenant = new_id(), new_id()
    with pytest.raises(RuntimeError, match="no"):
        await add_and_fail(database)
    async with database.transaction(tenant) as db:
        outbox.add(db, Grew(subject=subject, subject_version=7, size=2))
    await drain(Relay(database, collecting, "garden"))
    (event,) = collecting.events
    assert (event.type, event.source, event.subject) == ("thing.grew.v1", "/flotilla/garden", subject)
    assert (event.tenantid, event.subjectversion, event.data) == (tenant, 7, {"size": 2})


async def add_and_fail(database: Database) -> None:
    async with database.transaction() as db:
        outbox.add(db, Grew(subject=new_id(), size=1))
        await db.flush()
        raise RuntimeError("no")


async def test_a_subject_is_published_in_the_order_of_its_commits(database: Database, collecting: Any) -> None:
    one, other = new_id(), new_id()
    await add(database, *(Grew(subject=subject, size=size) for size in range(60) for subject in (one, other)))
    await drain(Relay(database, collecting, "garden"))
    for subject in (one, other):
        assert [event.data["size"] for event in collecting.events if event.subject == subject] == list(range(60))


async def test_a_crash_after_publishing_publishes_again(database: Database, collecting: Any) -> None:
    (event_id,) = await add(database, Grew(subject=new_id(), size=1))
    collecting.crash_after_publish = True
    with pytest.raises(RuntimeError, match="dies"):
        await Relay(database, collecting, "garden").publish_batch()
    collecting.crash_after_publish = False
    await drain(Relay(database, collecting, "garden"))
    assert [event.id for event in collecting.events] == [event_id, event_id]


async def test_of_two_relays_one_is_active(database: Database, collecting: Any) -> None:
    await add(database, Grew(subject=new_id(), size=1))
    collecting.may_publish.clear()
    first = asyncio.create_task(Relay(database, collecting, "garden").publish_batch())
    second = Relay(database, collecting, "garden")
    await collecting.publishing.wait()
    assert await second.publish_batch() is Progress.BUSY
    collecting.may_publish.set()
    assert await first is Progress.IDLE  # all that there was is out
    assert await second.publish_batch() is Progress.IDLE
    assert len(collecting.events) == 1


async def test_a_stopped_holder_of_the_lock_is_freed(open_database: Any, collecting: Any) -> None:
    """As a process under SIGSTOP: its transaction is open and says nothing."""
    async with open_database(idle_in_transaction_timeout_s=1.0) as database:
        await add(database, Grew(subject=new_id(), size=1))
        holds, go_on = asyncio.Event(), asyncio.Event()

        async def stopped() -> None:
            async with database.transaction() as db:
                assert await single_active(db, "relay")
                holds.set()
                await go_on.wait()
                await db.execute(text("SELECT 1"))

        holder = asyncio.create_task(stopped())
        await holds.wait()
        relay = Relay(database, collecting, "garden")
        assert await relay.publish_batch() is Progress.BUSY
        await eventually(lambda: is_published(relay, collecting))
        go_on.set()
        with pytest.raises(ServiceUnavailable):
            await holder


async def is_published(relay: Relay, collecting: Collecting) -> bool:
    await relay.publish_batch()
    return bool(collecting.events)


async def test_a_refused_event_holds_back_its_subject_until_it_is_parked(
    database: Database, collecting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.events.relay.MAX_ATTEMPTS", 2)
    bad, good = new_id(), new_id()
    first, second, other = await add(
        database, Grew(subject=bad, size=1), Grew(subject=bad, size=2), Grew(subject=good, size=3)
    )
    collecting.refused = {first}
    relay = Relay(database, collecting, "garden")
    await drain(relay)
    assert [event.id for event in collecting.events] == [other]
    await make_due(database)
    await drain(relay)
    assert [event.id for event in collecting.events] == [other, second]
    async with database.transaction() as db:
        row = await db.scalar(select(OutboxRow).where(OutboxRow.parked_at.is_not(None)))
    assert row is not None
    assert (row.id, row.attempts) == (first, 2)
    assert "never" in (row.fault or "")


async def make_due(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute(text("UPDATE outbox SET next_attempt_at = now()"))


async def test_an_absent_broker_counts_no_attempt(database: Database, collecting: Any) -> None:
    await add(database, Grew(subject=new_id(), size=1))
    collecting.away = True
    relay = Relay(database, collecting, "garden")
    for _ in range(3):
        with pytest.raises(BusUnavailable):
            await relay.publish_batch()
    collecting.away = False
    await drain(relay)
    assert len(collecting.events) == 1
    async with database.transaction() as db:
        assert await db.scalar(select(OutboxRow.attempts)) == 0


async def test_a_commit_wakes_the_relay(database: Database, collecting: Any) -> None:
    relay = Relay(database, collecting, "garden", poll_s=3600)
    async with running(relay):
        for size in range(3):
            await add(database, Grew(subject=new_id(), size=size))
            await eventually(partial(has_published, collecting, size + 1))


def has_published(collecting: Collecting, count: int) -> bool:
    return len(collecting.events) == count


async def test_a_refused_event_is_published_when_it_is_due_and_not_at_the_next_poll(
    database: Database, collecting: Any
) -> None:
    relay = Relay(database, collecting, "garden", poll_s=3600)
    event = Grew(subject=new_id(), size=1)
    collecting.refused = {event.id}
    async with running(relay):
        await add(database, event)
        await eventually(lambda: collecting.refusals == 1)
        collecting.refused.clear()
        await eventually(partial(has_published, collecting, 1))


async def test_who_finds_another_process_at_it_goes_on_looking() -> None:
    """However often: what this process wrote in the meantime may be unknown to the other one."""
    looks = 0

    async def busy() -> Progress:
        nonlocal looks
        looks += 1
        return Progress.BUSY

    looking = asyncio.create_task(PollingLoop("busy", busy, every_s=3600).run())
    await eventually(lambda: looks > 12, within_s=30)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


async def test_the_relay_finds_what_another_process_wrote(database: Database, collecting: Any) -> None:
    async with running(Relay(database, collecting, "garden", poll_s=0.05)):
        async with database.transaction() as db:  # no `outbox.add`: nothing wakes the relay
            await db.execute(
                text("INSERT INTO outbox (id, type, subject, subject_version, data) VALUES (:id, :type, :id, 1, '{}')"),
                {"id": new_id(), "type": "thing.grew.v1"},
            )
        await eventually(lambda: len(collecting.events) == 1)


async def test_an_idle_relay_and_inbox_ask_one_statement_a_poll(database: Database, collecting: Any) -> None:
    statements: list[str] = []
    engine = database.engine().sync_engine

    @engine_event.listens_for(engine, "before_cursor_execute")
    def _(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    @engine_event.listens_for(engine, "commit")
    def _(connection: Any) -> None:
        if connection.get_isolation_level() != "AUTOCOMMIT":
            statements.append("COMMIT")

    inbox = InboxWorker(database, EventHandlers(), poll_s=0.05)
    async with running(Relay(database, collecting, "garden", poll_s=0.05)), running(inbox):
        await eventually(lambda: asked(statements, "outbox") > 5 and asked(statements, "inbox") > 5)
    first = [statement for statement in statements if "pg_try_advisory_xact_lock" in statement]
    assert len(first) <= 4, statements  # each loop's first step, and their maintenance: no poll opens a transaction


def asked(statements: list[str], table: str) -> int:
    return sum(f"FROM {table}" in statement and "EXISTS" in statement.splitlines()[0] for statement in statements)


async def test_a_broker_outage_delays_and_loses_nothing(database: Database, broker: Any, bus: Bus) -> None:
    name, received = f"s{new_id().hex}", list[UUID]()

    async def take(message: bytes) -> None:
        received.append(Envelope.decode(message).id)

    await bus.declare(name, ["thing.grew.v1"])
    consumer = asyncio.create_task(bus.consume(name, take))
    async with running(Relay(database, bus, "garden")):
        sent = await add(database, Grew(subject=new_id(), size=1))
        await eventually(lambda: set(sent) <= set(received), within_s=30)
        await broker.settled()
        await broker.server.kill()
        sent += await add(database, *(Grew(subject=new_id(), size=size) for size in range(50)))
        await broker.server.start()
        await eventually(lambda: set(sent) <= set(received), within_s=60)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)


async def test_rows_are_pruned_a_week_after_they_were_published(database: Database, collecting: Any) -> None:
    old, new, waiting = await add(database, *(Grew(subject=new_id(), size=size) for size in range(3)))
    async with database.transaction() as db:
        await db.execute(text("UPDATE outbox SET published_at = now() - interval '8 days' WHERE id = :id"), {"id": old})
        await db.execute(text("UPDATE outbox SET published_at = now() WHERE id = :id"), {"id": new})
    async with database.transaction() as db:
        assert await prune(db, "outbox", "published_at") == 1
    async with database.transaction() as db:
        assert set(await db.scalars(select(OutboxRow.id))) == {new, waiting}


def test_an_event_class_says_what_it_is() -> None:
    with pytest.raises(TypeError, match="not an event type"):

        class Wrong(Event):
            type: ClassVar[str] = "Wrong"

    with pytest.raises(TypeError, match="envelope"):

        class Taken(Event):
            type: ClassVar[str] = "thing.taken.v1"
            time: str


async def test_what_inboxes_may_have_forgotten_is_not_published_again(database: Database, collecting: Any) -> None:
    old, recent = await add(database, Grew(subject=new_id(), size=1), Grew(subject=new_id(), size=2))
    relay = Relay(database, collecting, "garden")
    await drain(relay)
    async with database.transaction() as db:  # published late, or once more, a while ago
        age = text("UPDATE outbox SET created_at = now() - interval '8 days' WHERE id = :id")
        await db.execute(age, {"id": old})
    async with database.transaction() as db:
        assert await replay.republish(db, datetime(2026, 1, 1, tzinfo=UTC)) == 1
    await drain(relay)
    assert [event.id for event in collecting.events].count(old) == 1
    assert [event.id for event in collecting.events].count(recent) == 2
