"""The queue's own SQL, across tenants (role `fleet`): claim, extend, overdue. All else about a job is its tenant's.

Times are the database's throughout, so no worker's clock matters.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class Held:
    """A job as one attempt holds it: the fence of all that the attempt writes."""

    tenant_id: UUID
    id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What an attempt needs to know of its job."""

    held: Held
    kind: str
    input: str
    user_id: UUID
    username: str
    tenant_slug: str | None
    client_id: str
    scopes: Sequence[str]
    request_id: str | None
    traceparent: str | None
    created_at: datetime
    waited_s: float


# Each tenant's best due jobs are numbered; the number plus what the tenant has running is its turn. A tenant with one
# job waiting is thus never behind one with a thousand. More are looked at than are wanted, because some may be locked
# by another worker's claim. `tenants` hops from one tenant to the next along the index instead of reading every job.
_CLAIM = text("""
WITH RECURSIVE tenants AS (
    (SELECT tenant_id FROM jobs WHERE status = 'pending' ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT j.tenant_id FROM jobs j
            WHERE j.status = 'pending' AND j.tenant_id > t.tenant_id ORDER BY j.tenant_id LIMIT 1)
    FROM tenants t WHERE t.tenant_id IS NOT NULL
), busy AS (
    SELECT tenant_id, count(*) AS running FROM jobs WHERE status = 'running' GROUP BY tenant_id
), candidates AS (
    SELECT due.tenant_id, due.id, due.priority, due.run_at, due.place + coalesce(busy.running, 0) AS turn
    FROM tenants LEFT JOIN busy USING (tenant_id) CROSS JOIN LATERAL (
        SELECT j.tenant_id, j.id, j.priority, j.run_at,
               row_number() OVER (ORDER BY j.priority DESC, j.run_at) AS place
        FROM jobs j
        WHERE j.tenant_id = tenants.tenant_id AND j.status = 'pending' AND j.run_at <= now() AND j.kind = ANY(:kinds)
        ORDER BY j.priority DESC, j.run_at LIMIT :reach
    ) due
    ORDER BY turn, due.priority DESC, due.run_at LIMIT :reach
), chosen AS (
    SELECT j.tenant_id, j.id FROM candidates c JOIN jobs j ON j.tenant_id = c.tenant_id AND j.id = c.id
    WHERE j.status = 'pending'
    ORDER BY c.turn, c.priority DESC, c.run_at
    LIMIT :free FOR UPDATE OF j SKIP LOCKED
)
UPDATE jobs SET
    status = 'running', attempt = jobs.attempt + 1, worker = :worker, started_at = coalesce(started_at, now()),
    lease_until = now() + make_interval(secs => :lease_s), percent = 0, message = NULL
FROM chosen WHERE jobs.tenant_id = chosen.tenant_id AND jobs.id = chosen.id
RETURNING jobs.tenant_id, jobs.id, jobs.attempt, kind, input::text AS input, user_id, username, tenant_slug,
    client_id, scopes, request_id, traceparent, created_at, extract(epoch FROM now() - run_at)::float8 AS waited_s
""")
_REACH: Final = 4  # times the wanted number: enough for a handful of workers that claim at the same moment

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

_DEPTH = text("""
SELECT count(*) FILTER (WHERE run_at <= now()) AS due, count(*) AS waiting,
       coalesce(extract(epoch FROM now() - min(run_at)), 0)::float8 AS oldest_s
FROM jobs WHERE status = 'pending'
""")


async def claim(
    fleet: AsyncSession, worker: str, *, free: int, kinds: Collection[str], lease_s: float
) -> list[Claimed]:
    """Lease the most deserving due jobs to `worker`, `free` at most, those of `kinds` alone.

    Tenants with the fewest running jobs come first; then priority, then age. Rows that another claim holds are skipped
    (PostgreSQL manual, SELECT: SKIP LOCKED).
    """
    asked = {"worker": worker, "free": free, "reach": free * _REACH, "kinds": sorted(kinds), "lease_s": lease_s}
    return [_claimed(row) for row in (await fleet.execute(_CLAIM, asked)).mappings()]


def _claimed(row: Any) -> Claimed:
    fields = dict(row)
    return Claimed(held=Held(fields.pop("tenant_id"), fields.pop("id"), fields.pop("attempt")), **fields)


async def extend(fleet: AsyncSession, held: Collection[Held], lease_s: float) -> dict[Held, bool]:
    """Extend the leases that are still held; of each, whether its job is to be cancelled. The others are lost."""
    asked = {
        "tenants": [one.tenant_id for one in held],
        "ids": [one.id for one in held],
        "attempts": [one.attempt for one in held],
        "lease_s": lease_s,
    }
    return {
        Held(row.tenant_id, row.id, row.attempt): row.cancel_requested for row in await fleet.execute(_EXTEND, asked)
    }


async def overdue(fleet: AsyncSession) -> list[Held]:
    """Running attempts whose lease has run out, OVERDUE_AT_ONCE at most."""
    rows = await fleet.execute(_OVERDUE, {"limit": OVERDUE_AT_ONCE})
    return [Held(row.tenant_id, row.id, row.attempt) for row in rows]


async def depth(fleet: AsyncSession) -> tuple[int, int, float]:
    """How many jobs are due, how many wait in all, and for how many seconds the oldest due one has waited."""
    row = (await fleet.execute(_DEPTH)).one()
    return row.due, row.waiting, max(0.0, row.oldest_s)
