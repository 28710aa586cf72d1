"""Notifications of what happened in other services."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.notifications import service
from shared.events import Consumed, EventHandlers

handlers = EventHandlers()


class _JobEnded(Consumed):
    user_id: UUID
    kind: str


class JobCompleted(_JobEnded):
    type: ClassVar[str] = "job.completed.v1"


class JobFailed(_JobEnded):
    type: ClassVar[str] = "job.failed.v1"


@handlers.on(JobCompleted)
async def job_completed(db: AsyncSession, event: JobCompleted) -> None:
    await _job_ended(db, event, "job.completed")


@handlers.on(JobFailed)
async def job_failed(db: AsyncSession, event: JobFailed) -> None:
    await _job_ended(db, event, "job.failed")


async def _job_ended(db: AsyncSession, event: _JobEnded, kind: str) -> None:
    """The notification has the event's id, so that an event replayed later makes no second one."""
    if event.tenant_id is not None:
        data = {"job_id": str(event.subject), "kind": event.kind}
        await service.notify(db, event.tenant_id, event.user_id, notification_id=event.id, kind=kind, data=data)
