"""The relay carries committed events from the outbox to the bus.

One is active per database at a time: each batch takes an advisory lock for its transaction. A crash between publishing
and marking publishes again, and the consumers' inboxes know the event's id.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import Select, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from shared.background import Backoff, PollingLoop, Progress
from shared.background.single_active import single_active
from shared.data.database import Database
from shared.events import metrics
from shared.events.bus import POLL_S, Bus, BusUnavailable, MessageRefused
from shared.events.event import Envelope
from shared.events.maintenance import outbox_maintenance
from shared.events.models import OutboxRow
from shared.events.outbox import OutboxWritten
from shared.problems import ServiceUnavailable

BATCH: Final = 100
BATCH_S: Final = 5.0  # with one publish's time-out on top it stays below idle_in_transaction_session_timeout (15 s)
MAX_ATTEMPTS: Final = 10  # of a message that the broker refuses; an absent broker counts nothing
BACKOFF: Final = Backoff(first_s=0.5, most_s=60.0)

log = structlog.get_logger(__name__)


@dataclass
class _Batch:
    """What became of a batch's rows; those in neither list wait for the next one."""

    published: list[UUID] = field(default_factory=list)
    refused: list[tuple[OutboxRow, str]] = field(default_factory=list)
    lost: BusUnavailable | None = None


class Relay:
    """Publishes the outbox of `database` on `bus`. `service` names the source of its events."""

    def __init__(self, database: Database, bus: Bus, service: str, *, poll_s: float = POLL_S) -> None:
        self._database, self._bus = database, bus
        self._source = f"/flotilla/{service}"
        outages = (ServiceUnavailable, BusUnavailable)
        due = partial(database.finds, _ANY_DUE)
        self._loop = PollingLoop("relay", self.publish_batch, every_s=poll_s, due=due, outages=outages)
        self._maintenance = outbox_maintenance(database, bus)

    async def run(self) -> None:
        """Publish until cancelled, over any outage of database or broker."""
        stop_listening = self._database.listen(OutboxWritten, self._loop.wake)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._loop.run())
                group.create_task(self._maintenance.run())
        finally:
            stop_listening()

    async def publish_batch(self) -> Progress:
        """Publish what is due, at most BATCH rows. IDLE once all of it is out: each commit wakes its process's relay.

        Raises BusUnavailable, after marking what arrived, and DatabaseUnavailable.
        """
        async with self._database.transaction() as db:
            if not await single_active(db, "relay"):
                return Progress.BUSY
            rows = (await db.scalars(_DUE)).all()
            if not rows:
                return Progress.IDLE
            batch = await self._publish(rows)
            again_s = await _mark(db, batch)
        if again_s is not None:
            self._loop.wake_after(again_s)
        if batch.lost is not None:
            raise batch.lost
        return Progress.IDLE if len(batch.published) == len(rows) < BATCH else Progress.MORE

    async def _publish(self, rows: Sequence[OutboxRow]) -> _Batch:
        """Side by side over subjects, one after another within a subject."""
        batch = _Batch()
        deadline = asyncio.get_running_loop().time() + BATCH_S
        by_subject = groupby(sorted(rows, key=lambda row: (row.subject, row.position)), key=lambda row: row.subject)
        await asyncio.gather(*(self._publish_subject(list(group), batch, deadline) for _, group in by_subject))
        return batch

    async def _publish_subject(self, rows: Iterable[OutboxRow], batch: _Batch, deadline: float) -> None:
        for row in rows:
            if batch.lost is not None or asyncio.get_running_loop().time() > deadline:
                return
            try:
                await self._bus.publish(self._message(row), event_type=row.type, event_id=str(row.id))
            except BusUnavailable as error:
                batch.lost = error
                return
            except (MessageRefused, ValueError) as error:
                batch.refused.append((row, repr(error)))
                return
            batch.published.append(row.id)
            metrics.PUBLISHED.labels(row.type).inc()

    def _message(self, row: OutboxRow) -> bytes:
        return Envelope(
            id=row.id,
            source=self._source,
            type=row.type,
            subject=row.subject,
            time=row.created_at,
            tenantid=row.tenant_id,
            traceparent=row.traceparent,
            requestid=row.request_id,
            subjectversion=row.subject_version,
            data=row.data,
        ).encode()


def _due() -> Select[OutboxRow]:
    """Waiting rows by position, without those behind an earlier row of their subject that waits for another attempt.

    By `published_at IS NULL` and never `position > last`: positions commit out of order.
    """
    earlier = aliased(OutboxRow)
    held_back = exists().where(
        earlier.subject == OutboxRow.subject,
        earlier.position < OutboxRow.position,
        earlier.published_at.is_(None),
        earlier.parked_at.is_(None),
        earlier.next_attempt_at > func.now(),
    )
    waiting = (OutboxRow.published_at.is_(None), OutboxRow.parked_at.is_(None))
    due = (OutboxRow.next_attempt_at <= func.now(), ~held_back)
    return select(OutboxRow).where(*waiting, *due).order_by(OutboxRow.position).limit(BATCH)


async def _mark(db: AsyncSession, batch: _Batch) -> float | None:
    """Store what became of the rows. The time until the first of them is due again; None without one."""
    pauses_s = []
    published = update(OutboxRow).where(OutboxRow.id.in_(batch.published))
    await db.execute(published.values(published_at=func.clock_timestamp(), fault=None), execution_options=_NO_SYNC)
    for row, reason in batch.refused:
        metrics.FAILED.labels(row.type, "relay").inc()
        parked = row.attempts + 1 >= MAX_ATTEMPTS
        log.warning("event_refused", event_id=str(row.id), event_type=row.type, reason=reason, parked=parked)
        pauses_s.append(BACKOFF.wait_s(row.attempts))
        await db.execute(
            update(OutboxRow)
            .where(OutboxRow.id == row.id)
            .values(
                attempts=OutboxRow.attempts + 1,
                fault=reason,
                next_attempt_at=func.clock_timestamp() + timedelta(seconds=pauses_s[-1]),
                parked_at=func.clock_timestamp() if parked else None,
            ),
            execution_options=_NO_SYNC,
        )
    return min(pauses_s, default=None)


_DUE: Final = _due()
_ANY_DUE: Final = select(_DUE.exists())
_NO_SYNC: Final = {"synchronize_session": False}  # the rows in this session are not read again
