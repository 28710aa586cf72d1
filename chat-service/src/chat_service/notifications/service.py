"""Storing notifications, and a person's list of them."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.notifications import models
from chat_service.notifications.models import Notification
from chat_service.notifications.schemas import NotificationOut, NotificationQuery
from chat_service.notifications.texts import texts
from chat_service.push import Stored, StreamKey, StreamKind
from shared.data.after_commit import announce
from shared.identity.principal import Principal, tenant_of
from shared.problems import NotFound
from shared.web.paging import by_cursor

log = structlog.get_logger(__name__)


async def notify(
    db: AsyncSession, tenant_id: UUID, user_id: UUID, *, notification_id: UUID, kind: str, data: Mapping[str, Any]
) -> None:
    """Store a notification under the person's next number and push it after the commit. Once for each id."""
    if await models.exists(db, tenant_id, notification_id):
        return
    title, body = texts(kind, data)
    stored = Notification(
        tenant_id=tenant_id,
        user_id=user_id,
        seq=await models.next_seq(db, tenant_id, user_id),
        id=notification_id,
        kind=kind,
        title=title,
        body=body,
        data=dict(data),
    )
    db.add(stored)
    await db.flush()
    await db.refresh(stored)
    log.info("notification_stored", notification=str(stored.id), kind=kind, user=str(user_id))
    announce(db, Stored(StreamKey(StreamKind.PERSON, tenant_id, user_id), stored.seq, frame_of(stored)))


def frame_of(notification: Notification) -> dict[str, Any]:
    """The notification as it is pushed."""
    return {"type": "notification", **NotificationOut.model_validate(notification).model_dump(mode="json")}


async def page(
    db: AsyncSession, user: Principal, query: NotificationQuery
) -> tuple[Sequence[Notification], str | None]:
    rows = models.own(tenant_of(user), user.user_id)
    if query.unread is not None:
        rows = rows.where(Notification.read_at.is_(None) if query.unread else Notification.read_at.is_not(None))
    if query.kind:
        rows = rows.where(Notification.kind.in_(query.kind))
    return await by_cursor(db, rows, query, {"created_at": Notification.created_at}, Notification.id)


async def mark_read(db: AsyncSession, user: Principal, notification_id: UUID) -> None:
    """Raises NotFound for a notification of another person. Reading twice keeps the first time."""
    own = models.own(tenant_of(user), user.user_id).where(Notification.id == notification_id)
    found = (await db.scalars(own.with_for_update())).one_or_none()
    if found is None:
        raise NotFound("You have no such notification.")
    if found.read_at is None:
        found.read_at = await db.scalar(func.now().select())
