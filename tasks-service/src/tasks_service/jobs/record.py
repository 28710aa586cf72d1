"""What happened to a job, told to its watchers and to the other services in the transaction in which it happened."""

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import Event, outbox
from tasks_service.jobs.events import JobAccepted, JobCancelled, JobCompleted, JobFailed
from tasks_service.jobs.models import CANCELLED, COMPLETED, ENDED, FAILED, Job, JobEvent
from tasks_service.jobs.schemas import JobOut
from tasks_service.notices import EVENTS, QUEUE, notify


async def record(db: AsyncSession, job: Job) -> None:
    """Add the job's next event. The caller holds the row's lock and has counted `event_seq` up.

    Its name is how the job ended, or `progress`.
    """
    name = job.status if job.status in ENDED else "progress"
    data = JobOut.of(job).model_dump(mode="json")
    db.add(JobEvent(tenant_id=job.tenant_id, job_id=job.id, seq=job.event_seq, name=name, data=data))
    await notify(db, EVENTS, str(job.id))


def publish(db: AsyncSession, job: Job) -> None:
    """Publish the fact that the job's status is; the caller has counted `version` up."""
    outbox.add(db, _fact(job))


async def announce(db: AsyncSession, job: Job) -> None:
    """Wake the workers for a job that became due."""
    await notify(db, QUEUE)
    publish(db, job)


def _fact(job: Job) -> Event:
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
