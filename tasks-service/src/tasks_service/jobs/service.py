"""The rules of submitting, reading, cancelling and retrying jobs. Every change of a status is in transitions.py."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import Conflict, InsufficientScope, NotFound
from shared.web.paging import by_cursor
from tasks_service.jobs import models, transitions
from tasks_service.jobs.models import CANCELLED, ENDED, FAILED, Job
from tasks_service.jobs.schemas import JobIn, JobQuery
from tasks_service.kinds.kind import Kind

_SORTABLE: Final = {
    "created_at": Job.created_at,
    "priority": Job.priority,
    "kind": Job.kind,
    "status": Job.status,
}


class JobNotFound(NotFound):
    """No job with that id is visible to the caller."""

    status, title = 404, "No such job"


class NoResultYet(Conflict):
    """The job has no result: it has not ended, or it ended without one."""

    status, title = 409, "The job has no result"
    remedy = "Watch the job at its `/events` until it is completed; `error` has the reason of a failure."


class JobEnded(Conflict):
    """The job has already ended, so it cannot be cancelled."""

    status, title = 409, "The job has already ended"
    remedy = "Read the job; retry it if it should run again."


class NotRetryable(Conflict):
    """Only a job that failed or was cancelled can be retried."""

    status, title = 409, "The job cannot be retried"
    remedy = "Wait until the job ends; submit a new job instead of a completed one."


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
        impersonator_id=user.impersonator,
        scopes=sorted(user.scopes),
        kind=kind.name,
        input=job_in.input,
        priority=job_in.priority,
        max_attempts=kind.max_attempts,
        **origin,
    )
    if job_in.run_at is not None:
        job.run_at = func.greatest(job_in.run_at, func.now())  # a time that has passed must not jump the queue
    await transitions.accept(db, job)
    return job


async def page(db: AsyncSession, user: Principal, query: JobQuery) -> tuple[Sequence[Job], str | None]:
    """The caller's jobs, or the tenant's with admin:read; and the cursor of what follows, None at the end."""
    rows = models.visible(owner_filter(user))
    if query.status:
        rows = rows.where(Job.status.in_(query.status))
    if query.kind:
        rows = rows.where(Job.kind.in_(query.kind))
    return await by_cursor(db, rows, query, _SORTABLE, Job.id)


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
    """End a waiting job now; ask the worker of a running one to stop. Raises JobEnded."""
    job = await _found(db, user, job_id, "admin:write", for_update=True)
    if job.status in ENDED:
        raise JobEnded(f"The job is {job.status}.")
    await transitions.cancel(db, job)
    return job


async def retry(db: AsyncSession, user: Principal, job_id: UUID, kind_attempts: Mapping[str, int]) -> Job:
    """Queue a failed or cancelled job again, with a new job's attempts; its owner's retry renews the scopes.

    The operator who impersonates the owner stays with the job whichever of them retries it: what runs is what that
    operator submitted. Raises NotRetryable.
    """
    job = await _found(db, user, job_id, "admin:write", for_update=True)
    if job.status not in (FAILED, CANCELLED):
        raise NotRetryable(f"The job is {job.status}.")
    if job.kind not in kind_attempts:
        raise NotRetryable(f"The kind {job.kind} no longer exists.")
    scopes = None
    if user.user_id == job.user_id:
        scopes, job.impersonator_id = user.scopes, user.impersonator or job.impersonator_id
    await transitions.retry(db, job, attempts=kind_attempts[job.kind], scopes=scopes)
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
