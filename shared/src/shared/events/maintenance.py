"""Beside the relay and the inbox worker: prune rows that are done, and measure those that wait."""

from typing import Any, Final

from sqlalchemy import CursorResult, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.background import PollingLoop, Progress
from shared.background.single_active import single_active
from shared.data.database import Database
from shared.events import metrics
from shared.events.bus import Bus, BusUnavailable
from shared.events.models import INBOX_WAITING, OUTBOX_WAITING
from shared.problems import ServiceUnavailable

KEPT_DAYS: Final = 7  # published and handled rows, to look at and to replay; parked rows stay until an operator decides
EVERY_S: Final = 15.0
PRUNED_AT_ONCE: Final = 1000

# Each part reads along a partial index: what is done, a week of it, is not read.
MEASURE_OUTBOX: Final = text(f"""
    SELECT count(*), (SELECT count(*) FROM outbox WHERE parked_at IS NOT NULL),
        COALESCE(EXTRACT(epoch FROM clock_timestamp() - min(created_at)), 0)
    FROM outbox WHERE {OUTBOX_WAITING}
""")  # noqa: S608 - constants
MEASURE_INBOX: Final = text(f"""
    SELECT count(*), (SELECT count(*) FROM inbox WHERE parked_at IS NOT NULL),
        COALESCE(EXTRACT(epoch FROM clock_timestamp() - min(received_at)), 0)
    FROM inbox WHERE {INBOX_WAITING}
""")  # noqa: S608 - constants


def outbox_maintenance(database: Database, bus: Bus) -> PollingLoop:
    """Prunes and measures the outbox, and counts unrouted messages."""

    async def step() -> Progress:
        async with database.transaction() as db:
            pruned = await prune(db, "outbox", "published_at")
            pending, parked, oldest_s = (await db.execute(MEASURE_OUTBOX)).one()
        metrics.OUTBOX_PENDING.set(pending)
        metrics.OUTBOX_PARKED.set(parked)
        metrics.OUTBOX_OLDEST_S.set(oldest_s)
        metrics.UNROUTED.set(await bus.unrouted())
        return _progress(pruned)

    return PollingLoop("outbox maintenance", step, every_s=EVERY_S, outages=(ServiceUnavailable, BusUnavailable))


def inbox_maintenance(database: Database) -> PollingLoop:
    """Prunes and measures the inbox."""

    async def step() -> Progress:
        async with database.transaction() as db:
            pruned = await prune(db, "inbox", "handled_at")
            pending, parked, oldest_s = (await db.execute(MEASURE_INBOX)).one()
        metrics.INBOX_PENDING.set(pending)
        metrics.INBOX_PARKED.set(parked)
        metrics.INBOX_OLDEST_S.set(oldest_s)
        return _progress(pruned)

    return PollingLoop("inbox maintenance", step, every_s=EVERY_S)


async def prune(db: AsyncSession, table: str, done_at: str) -> int:
    """Delete up to PRUNED_AT_ONCE rows that were done KEPT_DAYS ago, and return how many.

    0 while another replica prunes.
    """
    if not await single_active(db, f"{table} pruning"):
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
