"""Listing the outbox and the inbox, and sending parked or past events again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.maintenance import KEPT_DAYS
from shared.events.models import InboxRow, OutboxRow

Box = Literal["outbox", "inbox"]
Row = TypeVar("Row", OutboxRow, InboxRow)


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of either box, as `events list` shows it."""

    id: UUID
    type: str
    subject: UUID | None
    since: datetime
    state: str
    attempts: int
    fault: str | None


async def listed(db: AsyncSession, box: Box, *, parked_only: bool, limit: int) -> Sequence[Listed]:
    """The newest rows of a box, newest first."""
    if box == "outbox":
        return await _newest(db, OutboxRow, parked_only, limit)
    return await _newest(db, InboxRow, parked_only, limit)


async def _newest(db: AsyncSession, kind: type[Row], parked_only: bool, limit: int) -> list[Listed]:
    rows = select(kind).order_by(kind.position.desc()).limit(limit)
    if parked_only:
        rows = rows.where(kind.parked_at.is_not(None))
    return [_listed(row) for row in await db.scalars(rows)]


def _listed(row: OutboxRow | InboxRow) -> Listed:
    since, done = (
        (row.created_at, row.published_at) if isinstance(row, OutboxRow) else (row.received_at, row.handled_at)
    )
    state = "parked" if row.parked_at else "done" if done else "waiting"
    return Listed(row.id, row.type, row.subject, since, state, row.attempts, row.fault)


async def replay(db: AsyncSession, event_id: UUID | None) -> int:
    """Handle or publish a parked event again, from its first attempt (None: every parked one); how many there were."""
    found = 0
    for kind in (InboxRow, OutboxRow):
        again = update(kind).where(kind.parked_at.is_not(None))
        if event_id is not None:
            again = again.where(kind.id == event_id)
        done = await db.execute(again.values(parked_at=None, attempts=0, fault=None, next_attempt_at=func.now()))
        found += done.rowcount  # type: ignore[attr-defined]  # an UPDATE's result has it
    return found


async def republish(db: AsyncSession, since: datetime, event_type: str | None = None) -> int:
    """Publish again the events published since then, under their ids; consumers ignore those that they have handled.

    Older events than inboxes remember stay where they are: consumers would handle them a second time.
    """
    remembered = OutboxRow.created_at > func.now() - timedelta(days=KEPT_DAYS)
    rows = update(OutboxRow).where(OutboxRow.published_at >= since, remembered)
    if event_type is not None:
        rows = rows.where(OutboxRow.type == event_type)
    done = await db.execute(rows.values(published_at=None, next_attempt_at=func.now()))
    return int(done.rowcount)  # type: ignore[attr-defined]  # as above
