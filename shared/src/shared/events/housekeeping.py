"""Beside each loop: prune what is done, and measure what waits."""

from typing import Any, Final

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from shared.events import metrics, pump
from shared.events.bus import Bus
from shared.events.models import INBOX_WAITING, OUTBOX_WAITING
from shared.events.pump import Progress, Pump

KEPT_DAYS: Final = 7  # published and handled rows, to look at and to replay; parked rows stay until somebody decides
EVERY_S: Final = 15.0
PRUNED_AT_ONCE: Final = 1000

# Each part reads along a partial index: what is done, a week of it, is not read.
MEASURE_OUTBOX: Final = text(f"""
    SELECT count(*), (SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL),
        COALESCE(EXTRACT(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM outbox WHERE {OUTBOX_WAITING}
""")  # noqa: S608 - constants of ours
MEASURE_INBOX: Final = text(f"""
    SELECT count(*), (SELECT count(*) FROM inbox WHERE parked_at IS NOT NULL),
        COALESCE(EXTRACT(epoch FROM clock_timestamp() - min(received_at)), 0)
    FROM inbox WHERE {INBOX_WAITING}
""")  # noqa: S608 - constants of ours


def outbox_house(database: Database, bus: Bus) -> Pump:
    """Keeps the outbox, and counts what nobody consumes."""

    async def keep() -> Progress:
        async with database.transaction() as db:
            pruned = await prune(db, "outbox", "published_at")
            pending, parked, oldest_s = (await db.execute(MEASURE_OUTBOX)).one()
        metrics.OUTBOX_PENDING.set(pending)
        metrics.OUTBOX_PARKED.set(parked)
        metrics.OUTBOX_OLDEST_S.set(oldest_s)
        metrics.UNROUTED.set(await bus.unrouted())
        return _progress(pruned)

    return Pump("outbox housekeeping", keep, poll_s=EVERY_S)


def inbox_house(database: Database) -> Pump:
    """Keeps the inbox."""

    async def keep() -> Progress:
        async with database.transaction() as db:
            pruned = await prune(db, "inbox", "handled_at")
            pending, parked, oldest_s = (await db.execute(MEASURE_INBOX)).one()
        metrics.INBOX_PENDING.set(pending)
        metrics.INBOX_PARKED.set(parked)
        metrics.INBOX_OLDEST_S.set(oldest_s)
        return _progress(pruned)

    return Pump("inbox housekeeping", keep, poll_s=EVERY_S)


async def prune(db: AsyncSession, table: str, done_at: str) -> int:
    """Delete up to PRUNED_AT_ONCE rows that were done KEPT_DAYS ago; how many went. Another process at it: 0."""
    if not await pump.alone(db, f"{table} pruning"):
        return 0
    statement = text(f"""
        DELETE FROM {table} WHERE id IN (
            SELECT id FROM {table} WHERE {done_at} < now() - make_interval(days => :days) LIMIT :limit
        )
    """)  # noqa: S608 - table and column are constants of the two callers
    result: CursorResult[Any] = await db.execute(statement, {"days": KEPT_DAYS, "limit": PRUNED_AT_ONCE})  # type: ignore[assignment]  # DELETE gives a cursor's result
    return result.rowcount


def _progress(pruned: int) -> Progress:
    return Progress.MORE if pruned == PRUNED_AT_ONCE else Progress.IDLE
