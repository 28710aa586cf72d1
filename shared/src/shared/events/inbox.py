"""The inbox worker runs handlers: an event's effect and its mark are one transaction, so each is handled once.

One is active per database at a time: every event's transaction takes an advisory lock. An event that fails holds back
later ones of its subject, and only those, until it succeeds or is parked.
"""

import asyncio
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import partial
from typing import Final

import structlog
from sqlalchemy import Select, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from shared import deadline
from shared.background import Backoff, PollingLoop, Progress
from shared.background.single_active import single_active
from shared.data.database import Database, enter_tenant
from shared.events import metrics
from shared.events.bus import POLL_S
from shared.events.event import Consumed, Envelope, EventMalformed
from shared.events.handlers import EventHandlers, Handler
from shared.events.maintenance import inbox_maintenance
from shared.events.models import InboxRow, InboxWritten, ProjectedVersion
from shared.problems import ServiceUnavailable
from shared.telemetry.traces import continued

HANDLER_TIMEOUT_S: Final = 10.0  # below idle_in_transaction_session_timeout, which would cut the connection
MAX_ATTEMPTS: Final = (
    12  # with the pauses below about ten minutes, longer than a service that is called takes to return
)
BACKOFF: Final = Backoff(first_s=0.5, most_s=120.0)

log = structlog.get_logger(__name__)


class _HandlerFailed(Exception):
    """Takes a handler's exception through the transaction, which would commit the writes of some problems."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(repr(cause))
        self.cause = cause


class InboxWorker:
    """Runs `handlers` over the inbox of `database`."""

    def __init__(self, database: Database, handlers: EventHandlers, *, poll_s: float = POLL_S) -> None:
        self._database, self._handlers = database, handlers
        self._loop = PollingLoop(
            "inbox worker", self.handle_next, every_s=poll_s, due=partial(database.finds, _ANY_DUE)
        )
        self._maintenance = inbox_maintenance(database)

    async def run(self) -> None:
        """Handle events until cancelled, over any outage of the database."""
        stop_listening = self._database.listen(InboxWritten, self._loop.wake)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._loop.run())
                group.create_task(self._maintenance.run())
        finally:
            stop_listening()

    async def handle_next(self) -> Progress:
        """Handle the next event that is due, or record why it failed. Raises DatabaseUnavailable."""
        row: InboxRow | None = None
        try:
            async with self._database.transaction() as db:
                if not await single_active(db, "inbox worker"):
                    return Progress.BUSY
                row = await db.scalar(_NEXT_DUE)
                if row is None:
                    return Progress.IDLE
                await self._handle(db, row)
        except ServiceUnavailable:
            raise  # the database's, not the handler's: it says nothing about the event
        except Exception as error:
            if row is None:
                raise
            await self._record(row, error.cause if isinstance(error, _HandlerFailed) else error)
        return Progress.MORE

    async def _handle(self, db: AsyncSession, row: InboxRow) -> None:
        handler = self._handlers.get(row.type)
        if handler is None:
            raise EventMalformed(f"no handler for {row.type}")
        envelope = Envelope.decode(row.message)
        event = handler.event.of(envelope)
        if row.tenant_id is not None:
            await enter_tenant(db, row.tenant_id)
        with continued(f"handle {row.type}", envelope.traceparent), _bound(envelope):
            how = await _run(db, handler, event)
            await db.execute(_MARK, {"id": row.id})
            log.info("event_handled", how=how)
        metrics.HANDLED.labels(row.type, how).inc()

    async def _record(self, row: InboxRow, error: Exception) -> None:
        """Count the failed attempt and plan the next, or park the event."""
        parked = isinstance(error, EventMalformed) or row.attempts + 1 >= MAX_ATTEMPTS
        metrics.FAILED.labels(row.type, "handler").inc()
        log.warning(
            "event_failed",
            event_id=str(row.id),
            event_type=row.type,
            tenant_id=str(row.tenant_id) if row.tenant_id else None,
            attempts=row.attempts + 1,
            parked=parked,
            exc_info=error,
        )
        pause_s = BACKOFF.wait_s(row.attempts)
        async with self._database.transaction() as db:
            await db.execute(
                update(InboxRow)
                .where(InboxRow.id == row.id, InboxRow.handled_at.is_(None))
                .values(
                    attempts=InboxRow.attempts + 1,
                    fault=str(error) if isinstance(error, EventMalformed) else repr(error),
                    next_attempt_at=func.clock_timestamp() + timedelta(seconds=pause_s),
                    parked_at=func.clock_timestamp() if parked else None,
                )
            )
        if not parked:
            self._loop.wake_after(pause_s)


async def _run(db: AsyncSession, handler: Handler, event: Consumed) -> str:
    """Run the handler unless the event is stale; returns the result as a metric's label."""
    try:
        async with asyncio.timeout(HANDLER_TIMEOUT_S):
            with deadline.within(HANDLER_TIMEOUT_S):
                if handler.latest_only and not await _is_news(db, event):
                    return "stale"
                await handler.handle(db, event)
                await db.flush()
    except Exception as error:
        raise _HandlerFailed(error) from error
    return "handled"


async def _is_news(db: AsyncSession, event: Consumed) -> bool:
    """Whether no newer version of the aggregate was seen; the same version is news again when it is replayed.

    The aggregate is the first word of the type: `membership.granted.v1` and `membership.revoked.v1` count together.
    """
    seen = {"aggregate": event.type.split(".")[0], "subject": event.subject, "version": event.subject_version}
    put = insert(ProjectedVersion).values(seen)
    put = put.on_conflict_do_update(
        index_elements=["aggregate", "subject"],
        set_={"version": put.excluded.version},
        where=ProjectedVersion.version <= put.excluded.version,
    )
    return await db.scalar(put.returning(ProjectedVersion.version)) is not None


def _bound(envelope: Envelope) -> AbstractContextManager[None]:
    """Log lines of a handler say which event they are about, and which request began it."""
    about = {"event_id": str(envelope.id), "event_type": envelope.type}
    if envelope.tenantid is not None:
        about["tenant_id"] = str(envelope.tenantid)
    if envelope.requestid is not None:
        about["request_id"] = envelope.requestid
    return structlog.contextvars.bound_contextvars(**about)


def _next_due() -> Select[InboxRow]:
    earlier = aliased(InboxRow)
    held_back = exists().where(
        earlier.subject == InboxRow.subject,
        earlier.position < InboxRow.position,
        earlier.handled_at.is_(None),
        earlier.parked_at.is_(None),
    )
    waiting = (InboxRow.handled_at.is_(None), InboxRow.parked_at.is_(None), InboxRow.next_attempt_at <= func.now())
    return select(InboxRow).where(*waiting, ~held_back).order_by(InboxRow.position).limit(1)


# Built once: building them for each event costs more than running them.
_NEXT_DUE: Final = _next_due()
_ANY_DUE: Final = select(_NEXT_DUE.exists())
_MARK: Final = text("UPDATE inbox SET handled_at = clock_timestamp(), fault = NULL WHERE id = :id")
