"""What an attempt writes about its job, as the job's tenant. Each write is fenced by id, attempt and status.

Raises LeaseLost where the fence has fallen: the job has another attempt by now, or an end.
"""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, cast, func, literal, select, update
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.ext.asyncio import AsyncSession

from shared.problems import Problem
from tasks_service.jobs.models import CANCELLED, COMPLETED, ENDED, FAILED, PENDING, RUNNING, Job
from tasks_service.jobs.record import publish, record
from tasks_service.notices import QUEUE, notify
from tasks_service.worker.faults import LeaseExpired, LeaseLost
from tasks_service.worker.queue import Held

_MESSAGE_CHARACTERS: Final = 200


async def report(db: AsyncSession, held: Held, percent: float, message: str | None) -> None:
    """Store how far the attempt is."""
    shown = None if message is None else message[:_MESSAGE_CHARACTERS]
    await record(db, await _fenced(db, held, percent=min(100.0, max(0.0, round(percent, 1))), message=shown))


async def complete(db: AsyncSession, held: Held, result: bytes) -> None:
    """End the job with its result and publish that it did."""
    job = await _fenced(
        db,
        held,
        **_left(COMPLETED),
        error=None,
        result=cast(literal(result.decode(), Text), JSON),
        version=Job.version + 1,
    )
    await record(db, job)
    publish(db, job)


async def fail(db: AsyncSession, held: Held, problem: Problem) -> None:
    """End the job for good."""
    await _leave(db, await _locked(db, held), FAILED, problem)


async def cancelled(db: AsyncSession, held: Held) -> None:
    """End the job as its owner asked for."""
    await _leave(db, await _locked(db, held), CANCELLED, None)


async def try_again(db: AsyncSession, held: Held, problem: Problem, delay_s: float) -> str:
    """Put the job back for its next attempt, or end it as failed after the last one; the status it has now."""
    job = await _locked(db, held)
    last = job.attempt >= job.max_attempts
    return await _put_back(db, job, problem, delay_s) if not last else await _leave(db, job, FAILED, problem)


async def give_back(db: AsyncSession, held: Held, problem: Problem | None, delay_s: float) -> str:
    """Put the job back without using up an attempt: it was not the job's fault."""
    job = await _locked(db, held)
    job.max_attempts += 1
    return await _put_back(db, job, problem, delay_s)


async def reap(db: AsyncSession, held: Held, delay_s: float) -> str:
    """Take the job from a worker that let its lease run out: it goes back, or ends after its last attempt.

    A worker that hangs in the middle of a write holds the row's lock until PostgreSQL ends its transaction: LeaseLost
    then too, and the next round looks again.
    """
    job = await _locked(db, held, Job.lease_until < func.now(), skip_locked=True)
    if job.cancel_requested:
        return await _leave(db, job, CANCELLED, None)
    last = job.attempt >= job.max_attempts
    problem = LeaseExpired(f"The worker fell silent during attempt {job.attempt}.")
    return await _leave(db, job, FAILED, problem) if last else await _put_back(db, job, problem, delay_s)


def _fence(held: Held) -> ColumnElement[bool]:
    return and_(Job.tenant_id == held.tenant_id, Job.id == held.id, Job.attempt == held.attempt, Job.status == RUNNING)


async def _fenced(db: AsyncSession, held: Held, **values: Any) -> Job:
    changed = update(Job).where(_fence(held)).values(**values, event_seq=Job.event_seq + 1).returning(Job)
    job = await db.scalar(changed.execution_options(populate_existing=True, synchronize_session=False))
    if job is None:
        raise LeaseLost
    return job


async def _locked(db: AsyncSession, held: Held, *also: ColumnElement[bool], skip_locked: bool = False) -> Job:
    job = await db.scalar(select(Job).where(_fence(held), *also).with_for_update(skip_locked=skip_locked))
    if job is None:
        raise LeaseLost
    return job


async def _put_back(db: AsyncSession, job: Job, problem: Problem | None, delay_s: float) -> str:
    if job.cancel_requested:
        return await _leave(db, job, CANCELLED, None)
    job.run_at = func.now() + timedelta(seconds=delay_s)
    await _leave(db, job, PENDING, problem)
    if delay_s <= 0:
        await notify(db, QUEUE)
    return PENDING


async def _leave(db: AsyncSession, job: Job, status: str, problem: Problem | None) -> str:
    """Bring a locked job out of `running`."""
    for name, value in _left(status).items():
        setattr(job, name, value)
    if problem is not None:
        job.error = problem.body(instance=f"/api/v1/jobs/{job.id}", request_id=job.request_id)
    job.event_seq += 1
    job.version += status in ENDED
    await db.flush()
    await db.refresh(job)
    await record(db, job)
    if status in ENDED:
        publish(db, job)
    return status


def _left(status: str) -> dict[str, Any]:
    """What a job that is out of `running` holds.

    Its progress: nothing while it waits for its next attempt, all of it when it is completed, else how far it came.
    """
    left: dict[str, Any] = {
        "status": status,
        "lease_until": None,
        "worker": None,
        "finished_at": func.now() if status in ENDED else None,
    }
    if status in (PENDING, COMPLETED):
        left |= {"percent": 100 if status == COMPLETED else 0, "message": None}
    return left
