"""Every change of a job's status, and of a running attempt's progress: one function each, one transaction each.

    accept → pending ─ claim → running ─┬─ complete → completed
               ▲                        ├─ fail → failed
               ├─ try_again, give_back, │
               │  reap ◄────────────────┤
               └─ retry ◄── ended       └─ end_cancelled → cancelled      (a waiting job: cancel → cancelled)

Whatever a running attempt writes is fenced by id, attempt and status: LeaseLost is raised when the job has another
attempt by now, or has ended. Each change adds the job's next event and wakes those who wait for it; an end publishes
the fact. Times are the database's throughout, so no worker's clock matters.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, RowMapping, Text, and_, cast, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncSession

from shared.background.listen_notify import notify
from shared.events import Event, outbox
from shared.problems import Problem
from tasks_service.jobs.events import JobAccepted, JobCancelled, JobCompleted, JobFailed
from tasks_service.jobs.models import (
    CANCELLED,
    CANCELS_CHANNEL,
    COMPLETED,
    ENDED,
    EVENTS_CHANNEL,
    FAILED,
    PENDING,
    QUEUE_CHANNEL,
    RUNNING,
    Job,
    JobEvent,
)
from tasks_service.jobs.schemas import JobOut

_MESSAGE_CHARACTERS: Final = 200


class LeaseLost(Exception):
    """Another worker has the job by now, or may have: this attempt writes nothing more."""


class LeaseExpired(Problem):
    """The worker that ran the job stopped responding before the job ended."""

    status, title = 503, "The worker was lost"
    remedy = "Retry the job; if it happens again, make it smaller."


@dataclass(frozen=True, slots=True)
class Lease:
    """A job as one attempt holds it: the fencing token of every write of that attempt."""

    tenant_id: UUID
    id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What an attempt needs to know about its job."""

    lease: Lease
    kind: str
    input: str
    user_id: UUID
    username: str
    tenant_slug: str | None
    client_id: str
    impersonator_id: UUID | None
    scopes: Sequence[str]
    request_id: str | None
    traceparent: str | None
    created_at: datetime
    waited_s: float


# Accepted, cancelled, retried: by people, as the job's tenant.


async def accept(db: AsyncSession, job: Job) -> None:
    """Store a new job: its row is the queue's entry, and the event leaves with it."""
    db.add(job)
    await db.flush()
    await db.refresh(job)
    await _announce(db, job)


async def cancel(db: AsyncSession, job: Job) -> None:
    """End a locked job that waits; ask the worker of a running one to stop. Asking twice is asking once."""
    if job.status == RUNNING:
        if job.cancel_requested:
            return
        job.cancel_requested = True
        await notify(db, CANCELS_CHANNEL)
        await _changed(db, job)
        return
    job.status, job.finished_at = CANCELLED, func.now()
    job.version += 1
    await _changed(db, job)
    _publish(db, job)


async def retry(db: AsyncSession, job: Job, *, attempts: int, scopes: Collection[str] | None) -> None:
    """Put a locked, ended job back into the queue, with `attempts` more attempts and, where given, other scopes."""
    job.status, job.finished_at, job.error, job.cancel_requested = PENDING, None, None, False
    job.percent, job.message, job.run_at = 0, None, func.now()
    job.max_attempts = job.attempt + attempts
    job.version += 1
    if scopes is not None:
        job.scopes = sorted(scopes)
    await _changed(db, job)
    await _announce(db, job)


# Claimed: by a worker, across tenants (role `fleet`).

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
    client_id, impersonator_id, scopes, request_id, traceparent, created_at,
    extract(epoch FROM now() - run_at)::float8 AS waited_s
""")
ANY_DUE: Final = text("SELECT EXISTS (SELECT FROM jobs WHERE status = 'pending' AND run_at <= now())")
"""Whether any job is due, of whatever kind: what a worker asks before it claims on its own. Needs the role `fleet`."""

_REACH: Final = 4  # times the wanted number: enough for a handful of workers that claim at the same moment


async def claim(
    fleet: AsyncSession, worker: str, *, free: int, kinds: Collection[str], lease_s: float
) -> list[Claimed]:
    """Lease the next due jobs of `kinds` to `worker` for `lease_s` seconds, `free` at most.

    Tenants with the fewest running jobs come first; then priority, then age. Rows that another claim holds are skipped
    (PostgreSQL manual, SELECT: SKIP LOCKED).
    """
    asked = {"worker": worker, "free": free, "reach": free * _REACH, "kinds": sorted(kinds), "lease_s": lease_s}
    return [_claimed(row) for row in (await fleet.execute(_CLAIM, asked)).mappings()]


def _claimed(row: RowMapping) -> Claimed:
    fields = dict(row)
    return Claimed(lease=Lease(fields.pop("tenant_id"), fields.pop("id"), fields.pop("attempt")), **fields)


# Written by the attempt that holds the lease, as the job's tenant.


async def report(db: AsyncSession, lease: Lease, percent: float, message: str | None) -> None:
    """Store the attempt's progress. Raises LeaseLost."""
    shown = None if message is None else message[:_MESSAGE_CHARACTERS]
    job = await _update(db, lease, percent=min(100.0, max(0.0, round(percent, 1))), message=shown)
    await _add_event(db, job)


async def complete(db: AsyncSession, lease: Lease, result: bytes) -> None:
    """End the job with its result. Raises LeaseLost."""
    stored = cast(literal(result.decode(), Text), JSON)
    job = await _update(db, lease, **_after(COMPLETED), error=None, result=stored, version=Job.version + 1)
    await _add_event(db, job)
    _publish(db, job)


async def fail(db: AsyncSession, lease: Lease, problem: Problem) -> None:
    """End the job as failed, without another attempt. Raises LeaseLost."""
    await _leave(db, await _lock(db, lease), FAILED, problem)


async def end_cancelled(db: AsyncSession, lease: Lease) -> None:
    """End a running job whose cancellation was requested. Raises LeaseLost."""
    await _leave(db, await _lock(db, lease), CANCELLED, None)


async def try_again(db: AsyncSession, lease: Lease, problem: Problem, delay_s: float) -> str:
    """Put the job back for its next attempt, or end it as failed after the last one; returns its status now.

    Raises LeaseLost.
    """
    job = await _lock(db, lease)
    last = job.attempt >= job.max_attempts
    return await _leave(db, job, FAILED, problem) if last else await _put_back(db, job, problem, delay_s)


async def give_back(db: AsyncSession, lease: Lease, problem: Problem | None, delay_s: float) -> str:
    """Put the job back without using up an attempt, because the job did not cause the failure. Raises LeaseLost."""
    job = await _lock(db, lease)
    job.max_attempts += 1
    return await _put_back(db, job, problem, delay_s)


async def reap(db: AsyncSession, lease: Lease, delay_s: float) -> str:
    """Take the job from a worker whose lease has expired: it goes back, or ends after its last attempt.

    A worker that hangs in the middle of a write holds the row's lock until PostgreSQL ends its transaction: LeaseLost
    is raised then too, and the next round looks again.
    """
    job = await _lock(db, lease, Job.lease_until < func.now(), skip_locked=True)
    if job.cancel_requested:
        return await _leave(db, job, CANCELLED, None)
    last = job.attempt >= job.max_attempts
    problem = LeaseExpired(f"The worker stopped responding during attempt {job.attempt}.")
    return await _leave(db, job, FAILED, problem) if last else await _put_back(db, job, problem, delay_s)


# The steps of which the changes above are made.


def _fence(lease: Lease) -> ColumnElement[bool]:
    return and_(
        Job.tenant_id == lease.tenant_id, Job.id == lease.id, Job.attempt == lease.attempt, Job.status == RUNNING
    )


async def _update(db: AsyncSession, lease: Lease, **values: Any) -> Job:
    changed = update(Job).where(_fence(lease)).values(**values, event_seq=Job.event_seq + 1).returning(Job)
    job = await db.scalar(changed.execution_options(populate_existing=True, synchronize_session=False))
    if job is None:
        raise LeaseLost
    return job


async def _lock(db: AsyncSession, lease: Lease, *also: ColumnElement[bool], skip_locked: bool = False) -> Job:
    job = await db.scalar(select(Job).where(_fence(lease), *also).with_for_update(skip_locked=skip_locked))
    if job is None:
        raise LeaseLost
    return job


async def _put_back(db: AsyncSession, job: Job, problem: Problem | None, delay_s: float) -> str:
    if job.cancel_requested:
        return await _leave(db, job, CANCELLED, None)
    job.run_at = func.now() + timedelta(seconds=delay_s)
    await _leave(db, job, PENDING, problem)
    if delay_s <= 0:
        await notify(db, QUEUE_CHANNEL)
    return PENDING


async def _leave(db: AsyncSession, job: Job, status: str, problem: Problem | None) -> str:
    """Bring a locked job out of `running`."""
    for name, value in _after(status).items():
        setattr(job, name, value)
    if problem is not None:
        job.error = problem.body(instance=f"/api/v1/jobs/{job.id}", request_id=job.request_id)
    job.version += status in ENDED
    await _changed(db, job)
    if status in ENDED:
        _publish(db, job)
    return status


def _after(status: str) -> dict[str, Any]:
    """The columns of a job that has left `running`.

    Its progress: none while it waits for its next attempt, all of it when it is completed, else how far it came.
    """
    columns: dict[str, Any] = {
        "status": status,
        "lease_until": None,
        "worker": None,
        "finished_at": func.now() if status in ENDED else None,
    }
    if status in (PENDING, COMPLETED):
        columns |= {"percent": 100 if status == COMPLETED else 0, "message": None}
    return columns


async def _changed(db: AsyncSession, job: Job) -> None:
    job.event_seq += 1
    await db.flush()
    await db.refresh(job)
    await _add_event(db, job)


async def _add_event(db: AsyncSession, job: Job) -> None:
    """Add the event that `event_seq` counts, and wake the job's watchers. It is named for an end, else `progress`."""
    name = job.status if job.status in ENDED else "progress"
    data = JobOut.of(job).model_dump(mode="json")
    db.add(JobEvent(tenant_id=job.tenant_id, job_id=job.id, seq=job.event_seq, name=name, data=data))
    await notify(db, EVENTS_CHANNEL, str(job.id))


async def _announce(db: AsyncSession, job: Job) -> None:
    """Wake the workers for a job that is due, and publish that it was accepted."""
    await notify(db, QUEUE_CHANNEL)
    _publish(db, job)


def _publish(db: AsyncSession, job: Job) -> None:
    outbox.add(db, _fact(job))


def _fact(job: Job) -> Event:
    """The event that says what the job's status is; `version` counts them."""
    about = {"subject": job.id, "tenant_id": job.tenant_id, "subject_version": job.version}
    data = {"user_id": job.user_id, "kind": job.kind}
    match job.status:
        case str(status) if status == COMPLETED:
            return JobCompleted(**about, **data)
        case str(status) if status == CANCELLED:
            return JobCancelled(**about, **data)
        case str(status) if status == FAILED:
            return JobFailed(**about, **data, code=str((job.error or {}).get("code", "internal_error")))
        case _:
            return JobAccepted(**about, **data)
