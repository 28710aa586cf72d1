"""The leases of running jobs, across tenants (role `fleet`): extend them, find expired ones; and the queue's depth.

Times are the database's throughout, so no worker's clock matters.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from tasks_service.jobs.transitions import Lease

_EXTEND = text("""
UPDATE jobs SET lease_until = now() + make_interval(secs => :lease_s)
FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:attempts AS bigint[])) held (tenant_id, id, attempt)
WHERE jobs.tenant_id = held.tenant_id AND jobs.id = held.id AND jobs.attempt = held.attempt AND jobs.status = 'running'
RETURNING jobs.tenant_id, jobs.id, jobs.attempt, jobs.cancel_requested
""")

OVERDUE_AT_ONCE: Final = 100
_OVERDUE = text("""
SELECT tenant_id, id, attempt FROM jobs WHERE status = 'running' AND lease_until < now()
ORDER BY lease_until LIMIT :limit
""")
ANY_OVERDUE: Final = text("SELECT EXISTS (SELECT FROM jobs WHERE status = 'running' AND lease_until < now())")
"""Whether `overdue` would return anything. Needs the role `fleet`."""

_DEPTH = text("""
SELECT count(*) FILTER (WHERE run_at <= now()) AS due, count(*) AS waiting,
       coalesce(extract(epoch FROM now() - min(run_at)), 0)::float8 AS oldest_s
FROM jobs WHERE status = 'pending'
""")


async def extend(fleet: AsyncSession, held: Collection[Lease], lease_s: float) -> dict[Lease, bool]:
    """Extend the leases that are still held, and return of each whether its job's cancellation was requested.

    Those that are missing from the answer are lost.
    """
    asked = {
        "tenants": [one.tenant_id for one in held],
        "ids": [one.id for one in held],
        "attempts": [one.attempt for one in held],
        "lease_s": lease_s,
    }
    return {
        Lease(row.tenant_id, row.id, row.attempt): row.cancel_requested for row in await fleet.execute(_EXTEND, asked)
    }


async def overdue(fleet: AsyncSession) -> list[Lease]:
    """Running attempts whose lease has run out, OVERDUE_AT_ONCE at most."""
    rows = await fleet.execute(_OVERDUE, {"limit": OVERDUE_AT_ONCE})
    return [Lease(row.tenant_id, row.id, row.attempt) for row in rows]


async def depth(fleet: AsyncSession) -> tuple[int, int, float]:
    """How many jobs are due, how many wait in all, and for how many seconds the oldest due one has waited."""
    row = (await fleet.execute(_DEPTH)).one()
    return row.due, row.waiting, max(0.0, row.oldest_s)
