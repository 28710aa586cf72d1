"""From the bus to an effect: stored once, handled once, in one transaction, and what fails or cannot be read."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, ClassVar, get_args
from uuid import UUID

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared import deadline
from shared.background import Progress, supervise
from shared.data.database import Database, Role
from shared.data.migrations import owner_engine
from shared.data.policies import catalogue_errors, passes_by
from shared.events import Bus, Consumed, Event, EventHandlers, outbox
from shared.events.event import Envelope
from shared.events.inbox import HANDLER_TIMEOUT_S, InboxWorker
from shared.events.maintenance import MEASURE_INBOX, MEASURE_OUTBOX, prune
from shared.events.models import InboxRow
from shared.events.receiver import Receiver
from shared.events.relay import Relay
from shared.events.replay import replay
from shared.ids import new_id
from shared.problems import Conflict
from shared.settings import TelemetrySettings
from shared.telemetry import traces
from shared.testing import eventually

TENANT = new_id()


class Noted(Event):
    """Something was noted."""

    type: ClassVar[str] = "note.written.v1"
    example: ClassVar[dict[str, object]] = {"note": "hello", "unread": 1}
    note: str
    unread: int = 0


class Written(Consumed):
    type: ClassVar[str] = "note.written.v1"
    note: str


class Erased(Consumed):
    type: ClassVar[str] = "note.erased.v1"


class NoteClash(Conflict):
    """A refusal that keeps its writes, as some do."""

    title = "Clash"
    keeps_writes = True


def message(note: str = "hello", *, subject: UUID | None = None, version: int = 1, **envelope: Any) -> bytes:
    """A publisher's bytes."""
    document = {
        "specversion": "1.0",
        "id": str(new_id()),
        "source": "/flotilla/notes",
        "type": "note.written.v1",
        "subject": str(subject or new_id()),
        "time": "2026-01-01T00:00:00Z",
        "tenantid": str(TENANT),
        "subjectversion": version,
        "data": {"note": note, "a field of a later release": True},
    }
    return json.dumps(document | envelope).encode()


async def put_effect(db: AsyncSession, event: Written) -> None:
    await db.execute(
        text("INSERT INTO effects (tenant_id, note) VALUES (:tenant, :note)"),
        {"tenant": event.tenant_id, "note": event.note},
    )


class Inbox:
    """A consuming service's end, a step at a time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.handlers = EventHandlers()
        self.bus: Any = None
        self.worker = InboxWorker(database, self.handlers)

    async def receive(self, *messages: bytes) -> None:
        receiver = Receiver(self.database, self.bus, "events", self.handlers)
        async with supervise({"writing": receiver.writing.run}):
            await asyncio.gather(*(receiver.store(each) for each in messages))

    async def handle(self) -> None:
        while await self.worker.handle_next() is Progress.MORE:
            pass

    async def make_due(self) -> None:
        async with self.database.transaction() as db:
            await db.execute(text("UPDATE inbox SET next_attempt_at = now()"))

    async def rows(self) -> list[InboxRow]:
        async with self.database.transaction() as db:
            return list(await db.scalars(select(InboxRow).order_by(InboxRow.position)))

    async def effects(self, tenant: UUID = TENANT) -> list[str]:
        async with self.database.transaction(tenant) as db:
            return list(await db.scalars(text("SELECT note FROM effects ORDER BY note")))


@pytest.fixture
def inbox(database: Database) -> Inbox:
    return Inbox(database)


async def test_an_event_has_its_effect_as_its_tenant_once(inbox: Inbox) -> None:
    inbox.handlers.on(Written)(put_effect)
    sent = message()
    await inbox.receive(sent, sent)
    await inbox.receive(sent)
    await inbox.handle()
    await inbox.receive(sent)
    await inbox.handle()
    assert await inbox.effects() == ["hello"]
    assert await inbox.effects(new_id()) == []
    (row,) = await inbox.rows()
    assert row.handled_at is not None


async def test_arrivals_keep_their_order(inbox: Inbox) -> None:
    inbox.handlers.on(Written)(put_effect)
    sent = [message(str(number)) for number in range(50)]
    await inbox.receive(*sent)
    assert [row.message for row in await inbox.rows()] == sent


async def test_a_handler_has_a_deadline_for_the_calls_that_it_makes(inbox: Inbox) -> None:
    left: list[float | None] = []

    @inbox.handlers.on(Written)
    async def call(db: AsyncSession, event: Written) -> None:
        left.append(deadline.remaining_s())

    await inbox.receive(message())
    await inbox.handle()
    assert 0 < (left[0] or 0) <= HANDLER_TIMEOUT_S
    assert deadline.remaining_s() is None


async def test_a_failed_effect_leaves_nothing_and_is_tried_again(inbox: Inbox) -> None:
    attempts = 0

    @inbox.handlers.on(Written)
    async def fails_once(db: AsyncSession, event: Written) -> None:
        nonlocal attempts
        attempts += 1
        await put_effect(db, event)
        if attempts == 1:
            raise NoteClash

    await inbox.receive(message())
    await inbox.handle()
    assert await inbox.effects() == []
    (row,) = await inbox.rows()
    assert (row.attempts, row.handled_at, row.parked_at) == (1, None, None)
    assert "NoteClash" in (row.fault or "")
    await inbox.make_due()
    await inbox.handle()
    assert await inbox.effects() == ["hello"]


async def test_a_failed_event_is_handled_when_it_is_due_and_not_at_the_next_poll(
    inbox: Inbox, beside: "Beside"
) -> None:
    attempts = 0

    @inbox.handlers.on(Written)
    async def fails_twice(db: AsyncSession, event: Written) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 2:
            raise NoteClash

    beside.start(InboxWorker(inbox.database, inbox.handlers, poll_s=3600).run)
    await inbox.receive(message())
    await eventually(lambda: attempts == 3)


async def test_what_fails_at_the_commit_is_the_events_failure(inbox: Inbox) -> None:
    """A deferred constraint speaks last; it must not look like an outage, which would be tried for ever."""

    @inbox.handlers.on(Written)
    async def clashes(db: AsyncSession, event: Written) -> None:
        await put_effect(db, event)
        await put_effect(db, event)

    await inbox.receive(message())
    await inbox.handle()
    (row,) = await inbox.rows()
    assert (row.attempts, row.handled_at) == (1, None)
    assert await inbox.effects() == []


async def test_an_event_that_fails_holds_back_its_subject_only_until_it_is_parked(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.events.inbox.MAX_ATTEMPTS", 2)

    @inbox.handlers.on(Written)
    async def refuses_bad(db: AsyncSession, event: Written) -> None:
        if event.note == "bad":
            raise LookupError("cannot")
        await put_effect(db, event)

    subject = new_id()
    await inbox.receive(message("bad", subject=subject), message("behind", subject=subject), message("other"))
    await inbox.handle()
    assert await inbox.effects() == ["other"]
    await inbox.make_due()
    await inbox.handle()
    assert await inbox.effects() == ["behind", "other"]
    parked = [row for row in await inbox.rows() if row.parked_at]
    assert [(row.attempts, row.fault) for row in parked] == [(2, "LookupError('cannot')")]


async def test_a_parked_event_is_handled_when_it_is_replayed(inbox: Inbox) -> None:
    await inbox.receive(message())  # nobody handles it yet
    await inbox.handle()
    (row,) = await inbox.rows()
    assert row.fault == "no handler for note.written.v1"
    inbox.handlers.on(Written)(put_effect)
    async with inbox.database.transaction() as db:
        assert await replay(db, row.id)
    await inbox.handle()
    assert await inbox.effects() == ["hello"]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"id": 1}',
        message(type="No Such Shape"),
        message(subject=None, id="x"),
        message(specversion="9"),
        message(subjectversion=2**70),
        message(data={"note": 7}),
        message(data={}),
    ],
)
async def test_what_cannot_be_read_is_parked_with_the_reason_and_blocks_nothing(inbox: Inbox, bad: bytes) -> None:
    inbox.handlers.on(Written)(put_effect)
    await inbox.receive(bad, bad, message("fine"))
    await inbox.handle()
    assert await inbox.effects() == ["fine"]
    (parked,) = [row for row in await inbox.rows() if row.parked_at]
    assert parked.message == bad
    assert parked.fault


async def test_a_parked_event_has_the_sentences_of_field_errors(inbox: Inbox) -> None:
    inbox.handlers.on(Written)(put_effect)
    for data in ({}, {"note": 7}):
        await inbox.receive(message(data=data))
    await inbox.handle()
    parked = [row.fault for row in await inbox.rows() if row.parked_at]
    assert sorted(parked) == ["note: Must be text.", "note: This field is required."]


async def test_a_projection_ignores_an_older_version_of_its_aggregate(inbox: Inbox) -> None:
    seen: list[int] = []
    erased: list[int] = []

    @inbox.handlers.on(Written, latest_only=True)
    async def project(db: AsyncSession, event: Written) -> None:
        seen.append(event.subject_version)

    @inbox.handlers.on(Erased, latest_only=True)
    async def project_end(db: AsyncSession, event: Erased) -> None:
        erased.append(event.subject_version)

    subject = new_id()
    await inbox.receive(message(subject=subject, version=2), message(subject=subject, version=1))
    await inbox.receive(message(subject=subject, version=4, type="note.erased.v1", data={}))
    await inbox.receive(message(subject=subject, version=3), message(version=1))
    await inbox.handle()
    assert (seen, erased) == ([2, 1], [4])
    assert all(row.handled_at for row in await inbox.rows())


async def test_others_may_not_skip_an_older_version(inbox: Inbox) -> None:
    inbox.handlers.on(Written)(put_effect)
    subject = new_id()
    await inbox.receive(message("2", subject=subject, version=2), message("1", subject=subject, version=1))
    await inbox.handle()
    assert await inbox.effects() == ["1", "2"]


async def test_a_handler_that_hangs_is_ended_and_counted(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.events.inbox.HANDLER_TIMEOUT_S", 0.05)

    @inbox.handlers.on(Written)
    async def hangs(db: AsyncSession, event: Written) -> None:
        await asyncio.Event().wait()

    await inbox.receive(message())
    await inbox.handle()
    (row,) = await inbox.rows()
    assert (row.attempts, row.fault) == (1, "TimeoutError()")


async def test_two_workers_handle_each_event_once(inbox: Inbox) -> None:
    inbox.handlers.on(Written)(put_effect)
    await inbox.receive(*(message(str(number)) for number in range(40)))

    async def work() -> None:
        worker = InboxWorker(inbox.database, inbox.handlers)
        while await worker.handle_next() is not Progress.IDLE:
            pass

    await asyncio.gather(work(), work())
    assert sorted(await inbox.effects(), key=int) == [str(number) for number in range(40)]


async def test_rows_are_pruned_a_week_after_they_were_handled(inbox: Inbox) -> None:
    inbox.handlers.on(Written)(put_effect)
    await inbox.receive(message("old"), message("new"), b"parked")
    await inbox.handle()
    async with inbox.database.transaction() as db:
        old = "UPDATE inbox SET handled_at = now() - interval '8 days' WHERE position = 1"
        await db.execute(text(old))
        assert await prune(db, "inbox", "handled_at") == 1
    assert len(await inbox.rows()) == 2


async def test_what_waits_is_measured_without_reading_what_is_done(database: Database, postgres_admin_url: str) -> None:
    engine = owner_engine(postgres_admin_url, str(database.url.database), "events")
    async with engine.begin() as owner:
        columns = "id, type, subject, subject_version"
        rows = "SELECT gen_random_uuid(), 'a.b.v1', gen_random_uuid(), 1, now(), {} FROM generate_series(1, 5000)"
        data, message = rows.format("'{}'"), rows.format("''")
        await owner.exec_driver_sql(f"INSERT INTO outbox ({columns}, published_at, data) {data}")
        await owner.exec_driver_sql(f"INSERT INTO inbox ({columns}, handled_at, message) {message}")
        await owner.exec_driver_sql("ANALYZE outbox, inbox")
    await engine.dispose()
    async with database.transaction() as db:
        for measure in (MEASURE_OUTBOX, MEASURE_INBOX):
            plan = "\n".join(await db.scalars(text(f"EXPLAIN {measure.text}")))
            assert "Seq Scan" not in plan, plan


async def test_the_tables_keep_the_houses_rules(database: Database, postgres_admin_url: str) -> None:
    engine = owner_engine(postgres_admin_url, str(database.url.database), "events")
    async with engine.connect() as connection:
        faults = await catalogue_errors(connection, "events", frozenset())
    await engine.dispose()
    assert faults == ["public.effects has no model"]


async def test_only_an_administrator_could_pass_by_the_policies(database: Database, postgres_admin_url: str) -> None:
    for role in get_args(Role):
        async with database.engine(role).connect() as connection:
            assert not await passes_by(connection)
    engine = owner_engine(postgres_admin_url, str(database.url.database), "events")
    async with engine.connect() as connection:
        assert await passes_by(connection)
    await engine.dispose()


Run = Callable[[], Awaitable[None]]


class Beside:
    """Loops that run beside the test, as in a service."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, *runs: Run) -> None:
        self._tasks += [asyncio.ensure_future(run()) for run in runs]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)


@pytest.fixture
async def beside() -> Any:
    made = Beside()
    yield made
    await made.stop()


async def test_an_event_goes_from_a_commit_to_its_effect_in_one_trace(
    open_database: Any, bus: Bus, beside: Beside
) -> None:
    """The whole way, woken at each step (the polls are an hour apart), over each transport."""
    provider = traces.configure(TelemetrySettings(), "test")
    assert isinstance(provider, TracerProvider)
    name, seen = f"s{new_id().hex}", list[dict[str, Any]]()
    handlers = EventHandlers()

    @handlers.on(Written)
    async def look(db: AsyncSession, event: Written) -> None:
        context = trace.get_current_span().get_span_context()
        seen.append({"trace": context.trace_id, "note": event.note, **structlog.contextvars.get_contextvars()})

    async with open_database() as publisher, open_database() as consumer:
        beside.start(
            Relay(publisher, bus, name, poll_s=3600).run,
            Receiver(consumer, bus, name, handlers).run,
            InboxWorker(consumer, handlers, poll_s=3600).run,
        )
        await bus.declare(name, handlers.types)
        with trace.get_tracer("test").start_as_current_span("request") as span:
            with structlog.contextvars.bound_contextvars(request_id="r-1"):
                async with publisher.transaction(TENANT) as db:
                    outbox.add(db, event := Noted(subject=new_id(), note="traced"))
            wanted = span.get_span_context().trace_id
        await eventually(lambda: len(seen) == 1, within_s=30)
        await beside.stop()
    assert seen == [
        {
            "trace": wanted,
            "note": "traced",
            "event_id": str(event.id),
            "event_type": "note.written.v1",
            "tenant_id": str(TENANT),
            "request_id": "r-1",
        }
    ]


async def test_a_lost_database_stops_nothing_for_good(database: Database, bus: Bus, beside: Beside) -> None:
    """Every connection is cut again and again while events come in: each has its effect once."""
    name, handlers = f"s{new_id().hex}", EventHandlers()
    handlers.on(Written)(put_effect)
    await bus.declare(name, handlers.types)
    beside.start(
        Receiver(database, bus, name, handlers).run,
        InboxWorker(database, handlers, poll_s=0.05).run,
    )
    sent = [message(str(number)) for number in range(60)]
    for number, each in enumerate(sent):
        await bus.publish(each, event_type="note.written.v1", event_id=Envelope.decode(each).id.hex)
        if number % 20 == 10:
            with suppress(Exception):  # it cuts its own connection too
                await cut(database)
    reader = Inbox(database)
    await eventually(lambda: has_effects(reader, 60), within_s=60)
    await beside.stop()
    assert sorted(await reader.effects(), key=int) == [str(number) for number in range(60)]


async def cut(database: Database) -> None:
    async with database.transaction() as db:
        await db.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()")
        )


async def has_effects(reader: Inbox, count: int) -> bool:
    return len(await reader.effects()) == count
