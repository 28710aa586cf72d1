"""Notifications of what happened in other services."""

from typing import ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.notifications import service
from chat_service.people import models as people
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


class NotificationRequested(Consumed):
    """`data` holds ids; one `occasion_id` makes one notification for each person, however often it comes."""

    type: ClassVar[str] = "notification.requested.v1"
    user_ids: list[UUID] = Field(max_length=500)
    kind: str
    data: dict[str, UUID]
    occasion_id: UUID


@handlers.on(NotificationRequested)
async def notification_requested(db: AsyncSession, event: NotificationRequested) -> None:
    if event.tenant_id is None:
        return
    author_id = event.data.get("author_id")
    author = await people.find(db, event.tenant_id, author_id) if author_id else None
    await service.notify_all(
        db,
        event.tenant_id,
        event.user_ids,
        occasion_id=event.occasion_id,
        kind=event.kind,
        data={name: str(value) for name, value in event.data.items()},
        author=author.username if author else None,
    )


async def _job_ended(db: AsyncSession, event: _JobEnded, kind: str) -> None:
    """The notification has the event's id, so that an event replayed later makes no second one."""
    if event.tenant_id is not None:
        data = {"job_id": str(event.subject), "kind": event.kind}
        await service.notify(db, event.tenant_id, event.user_id, notification_id=event.id, kind=kind, data=data)
