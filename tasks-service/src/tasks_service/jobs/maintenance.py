"""Ended jobs are deleted after a while, with their inputs, results and events; others are never."""

from functools import partial
from typing import Any, Final

from sqlalchemy import CursorResult, text

from shared.background import PollingLoop, Progress
from shared.background.single_active import single_active
from shared.data.database import Database

EVERY_S: Final = 600.0
AT_ONCE: Final = 100  # with a thousand events each this deletes 100,000 rows: well within the statement's time

# only ended jobs have `finished_at` (a check of the table); events are deleted with their job. A job that a person
# takes up again at this moment is locked by them, and stays.
_FORGET: Final = text("""
DELETE FROM jobs USING (
    SELECT tenant_id, id FROM jobs WHERE finished_at < now() - make_interval(days => :days)
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
) old WHERE jobs.tenant_id = old.tenant_id AND jobs.id = old.id
""")


def jobs_maintenance(database: Database, kept_days: int) -> PollingLoop:
    """Deletes old jobs every ten minutes, batch by batch while there are any."""
    return PollingLoop("jobs maintenance", partial(forget, database, kept_days), every_s=EVERY_S)


async def forget(database: Database, kept_days: int) -> Progress:
    """Delete up to AT_ONCE jobs of any tenant that ended `kept_days` ago; none while another replica does."""
    async with database.transaction(role="fleet") as fleet:
        if not await single_active(fleet, "jobs pruning"):
            return Progress.IDLE
        gone: CursorResult[Any] = await fleet.execute(_FORGET, {"days": kept_days, "limit": AT_ONCE})  # type: ignore[assignment]  # DELETE gives a cursor's result
        return Progress.MORE if gone.rowcount == AT_ONCE else Progress.IDLE
