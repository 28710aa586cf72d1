"""What other services say, told to the person it concerns."""

from typing import Any, ClassVar
from uuid import UUID

from pydantic import Field
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


class NotificationRequested(Consumed):
    type: ClassVar[str] = "notification.requested.v1"

    user_id: UUID
    kind: str
    data: dict[str, Any] = Field(default_factory=dict)


@handlers.on(JobCompleted)
async def job_completed(db: AsyncSession, event: JobCompleted) -> None:
    await _job_ended(db, event, "job.completed")


@handlers.on(JobFailed)
async def job_failed(db: AsyncSession, event: JobFailed) -> None:
    await _job_ended(db, event, "job.failed")


@handlers.on(NotificationRequested)
async def notification_requested(db: AsyncSession, event: NotificationRequested) -> None:
    if event.tenant_id is not None:
        await service.notify(
            db, event.tenant_id, event.user_id, notification_id=event.subject, kind=event.kind, data=event.data
        )


async def _job_ended(db: AsyncSession, event: _JobEnded, kind: str) -> None:
    """The notification has the event's id, so that an event replayed later makes no second one."""
    if event.tenant_id is not None:
        data = {"job_id": str(event.subject), "kind": event.kind}
        await service.notify(db, event.tenant_id, event.user_id, notification_id=event.id, kind=kind, data=data)
