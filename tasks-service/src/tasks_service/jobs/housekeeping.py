"""Ended jobs are kept for a while, then forgotten with their inputs, results and events; others are never."""

from functools import partial
from typing import Any, Final

from sqlalchemy import CursorResult, text

from shared.data.database import Database
from shared.events import pump
from shared.events.pump import Progress, Pump

EVERY_S: Final = 600.0
AT_ONCE: Final = 100  # with a thousand events each this deletes 100,000 rows: well within the statement's time

# `finished_at` stands in ended jobs alone (a check of the table); the events go with their job. A job that somebody
# takes up again at this moment is locked by them, and stays.
_FORGET: Final = text("""
DELETE FROM jobs USING (
    SELECT tenant_id, id FROM jobs WHERE finished_at < now() - make_interval(days => :days)
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
) old WHERE jobs.tenant_id = old.tenant_id AND jobs.id = old.id
""")


def jobs_house(database: Database, kept_days: int) -> Pump:
    """Looks every ten minutes for ended jobs to forget, and goes on batch by batch while there are any."""
    return Pump("jobs housekeeping", partial(forget, database, kept_days), poll_s=EVERY_S)


async def forget(database: Database, kept_days: int) -> Progress:
    """Forget up to AT_ONCE jobs of any tenant that ended `kept_days` ago; nothing while another process is at it."""
    async with database.transaction(role="fleet") as fleet:
        if not await pump.alone(fleet, "jobs pruning"):
            return Progress.IDLE
        gone: CursorResult[Any] = await fleet.execute(_FORGET, {"days": kept_days, "limit": AT_ONCE})  # type: ignore[assignment]  # DELETE gives a cursor's result
        return Progress.MORE if gone.rowcount == AT_ONCE else Progress.IDLE
