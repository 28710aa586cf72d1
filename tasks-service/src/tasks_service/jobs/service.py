"""Submitting, reading, cancelling and taking up jobs again. What a worker does to them is worker/'s."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import Conflict, InsufficientScope, NotFound
from tasks_service.jobs import models
from tasks_service.jobs.models import CANCELLED, ENDED, PENDING, RUNNING, Job
from tasks_service.jobs.record import announce, publish, record
from tasks_service.jobs.schemas import JobIn
from tasks_service.kinds.kind import Kind
from tasks_service.notices import CANCELS, notify


class JobNotFound(NotFound):
    """No job by that id that the caller may see."""

    status, title = 404, "No such job"


class NoResultYet(Conflict):
    """The job has no result: it has not ended, or it ended without one."""

    status, title = 409, "The job has no result"
    remedy = "Watch the job at its `/events` until it is completed; a failed one says why in `error`."


class JobEnded(Conflict):
    """The job has ended already; there is nothing left to cancel."""

    status, title = 409, "The job has ended already"
    remedy = "Read the job; retry it if it should run again."


class NotRetryable(Conflict):
    """Only a job that failed or was cancelled can be taken up again."""

    status, title = 409, "The job cannot be retried"
    remedy = "Wait until the job ends; submit a completed one anew."


async def submit(
    db: AsyncSession, user: Principal, job_in: JobIn, kind: Kind, checked_input: Any, origin: Mapping[str, str | None]
) -> Job:
    """Accept a job whose input its kind has checked: the row is the queue's entry, the event leaves with it.

    `origin` holds the request_id and the traceparent that the attempts go on with.
    """
    require(user, kind.scopes_for(checked_input))
    job = Job(
        tenant_id=tenant_of(user),
        id=new_id(),
        user_id=user.user_id,
        username=user.username,
        tenant_slug=user.tenant_slug,
        client_id=user.client_id,
        scopes=sorted(user.scopes),
        kind=kind.name,
        input=job_in.input,
        priority=job_in.priority,
        max_attempts=kind.max_attempts,
        **origin,
    )
    if job_in.run_at is not None:
        job.run_at = func.greatest(job_in.run_at, func.now())  # a time that has passed must not jump the queue
    db.add(job)
    await db.flush()
    await db.refresh(job)
    await announce(db, job)
    return job


async def read(db: AsyncSession, user: Principal, job_id: UUID) -> Job:
    """The job, its owner's own or, for an admin, anyone's of the tenant."""
    return await _found(db, user, job_id, "admin:read")


async def result(db: AsyncSession, user: Principal, job_id: UUID) -> str:
    """The result as JSON. Raises NoResultYet."""
    job = await _found(db, user, job_id, "admin:read")
    found = await models.result_text(db, job.id)
    if found is None:
        raise NoResultYet(f"The job is {job.status}.")
    return found


async def cancel(db: AsyncSession, user: Principal, job_id: UUID) -> Job:
    """End a waiting job now; ask the worker of a running one to stop. Asking twice is asking once."""
    job = await _found(db, user, job_id, "admin:write", for_update=True)
    if job.status in ENDED:
        raise JobEnded(f"The job is {job.status}.")
    if job.status == RUNNING:
        if job.cancel_requested:
            return job
        job.cancel_requested = True
        await notify(db, CANCELS)
    else:
        job.status, job.finished_at = CANCELLED, func.now()
        job.version += 1
    await _changed(db, job)
    if job.status == CANCELLED:
        publish(db, job)
    return job


async def retry(db: AsyncSession, user: Principal, job_id: UUID, kind_attempts: Mapping[str, int]) -> Job:
    """Take up a failed or cancelled job, with as many attempts as a new one and its owner's scopes as they are now."""
    job = await _found(db, user, job_id, "admin:write", for_update=True)
    if job.status not in (models.FAILED, CANCELLED):
        raise NotRetryable(f"The job is {job.status}.")
    if job.kind not in kind_attempts:
        raise NotRetryable(f"There is no kind {job.kind} here any more.")
    job.status, job.finished_at, job.error, job.cancel_requested = PENDING, None, None, False
    job.percent, job.message, job.run_at = 0, None, func.now()
    job.max_attempts = job.attempt + kind_attempts[job.kind]
    job.version += 1
    if user.user_id == job.user_id:
        job.scopes = sorted(user.scopes)
    await _changed(db, job)
    await announce(db, job)
    return job


def require(user: Principal, scopes: frozenset[str]) -> None:
    """Raises InsufficientScope unless the token has all of them."""
    if missing := sorted(scopes - user.scopes):
        raise InsufficientScope(scopes=missing)


def owner_filter(user: Principal, admin_scope: str = "admin:read") -> UUID | None:
    """Whose jobs the caller sees: their own, or, with the admin's scope, everyone's of the tenant (None)."""
    return None if admin_scope in user.scopes else user.user_id


async def _found(db: AsyncSession, user: Principal, job_id: UUID, admin_scope: str, *, for_update: bool = False) -> Job:
    job = await models.find(db, job_id, owner_filter(user, admin_scope), for_update=for_update)
    if job is None:
        raise JobNotFound
    return job


async def _changed(db: AsyncSession, job: Job) -> None:
    job.event_seq += 1
    await db.flush()
    await db.refresh(job)
    await record(db, job)
