"""What relay and inbox worker share: one is active per database, and a failing row holds back its subject only."""

import asyncio
from collections.abc import Iterable
from typing import Final, TypeVar

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from shared.events.models import InboxRow, OutboxRow

ATTEMPTS: Final = 12  # with the pauses below about half an hour; then the row is parked, and its subject goes on
POLL_S: Final = 0.25  # what a commit in another process waits at most
BATCH: Final = 100
MAX_PAUSE_S: Final = 5.0

Row = TypeVar("Row", OutboxRow, InboxRow)


async def only_one(db: AsyncSession, what: str) -> bool:
    """Whether this transaction is the active one; it stays so until it ends.

    A session lock would be held for ever by a process that was stopped; this one goes with the idle-in-transaction
    time-out (PostgreSQL manual, 20.11).
    """
    return bool(await db.scalar(select(func.pg_try_advisory_xact_lock(func.hashtext(f"flotilla {what}")))))


def due(kind: type[Row]) -> Select[Row]:
    """Rows that wait and may go now, oldest first, none whose subject has an earlier row that waits for a retry."""
    ended = OutboxRow.published_at if kind is OutboxRow else InboxRow.handled_at
    earlier = aliased(kind)
    earlier_ended = getattr(earlier, ended.key)
    held_back = exists().where(
        earlier.subject == kind.subject,
        earlier_ended.is_(None),
        earlier.parked_at.is_(None),
        earlier.next_attempt_at > func.now(),
        or_(
            earlier.subject_version < kind.subject_version,
            and_(earlier.subject_version == kind.subject_version, earlier.id < kind.id),
        ),
    )
    waiting = and_(ended.is_(None), kind.parked_at.is_(None), kind.next_attempt_at <= func.now())
    return select(kind).where(waiting, ~held_back).order_by(kind.id).limit(BATCH)


def by_subject(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each subject in their order, so that subjects can go side by side."""
    groups: dict[object, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.subject or row.id, []).append(row)
    return [sorted(group, key=lambda row: (row.subject_version, row.id)) for group in groups.values()]


def pause_s(attempts: int) -> float:
    """How long a row that failed `attempts` times waits for its next: 1 s doubling to 5 minutes."""
    return float(min(300, 2 ** min(attempts - 1, 9)))


async def wait_for(wake: asyncio.Event, timeout_s: float) -> None:
    """Until `wake` is set or the time is over; clears it."""
    try:
        async with asyncio.timeout(timeout_s):
            await wake.wait()
    except TimeoutError:
        pass
    wake.clear()
