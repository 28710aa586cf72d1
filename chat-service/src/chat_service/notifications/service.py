"""Storing notifications, and a person's list of them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid5

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
    await _store(db, tenant_id, {user_id: notification_id}, kind, data, texts(kind, data))


async def notify_all(
    db: AsyncSession,
    tenant_id: UUID,
    user_ids: Collection[UUID],
    *,
    occasion_id: UUID,
    kind: str,
    data: Mapping[str, Any],
    author: str | None = None,
) -> None:
    """The same for several people in four statements, once for each person and occasion."""
    ids = {user_id: uuid5(occasion_id, str(user_id)) for user_id in user_ids}
    await _store(db, tenant_id, ids, kind, data, texts(kind, data, author=author))


async def _store(
    db: AsyncSession,
    tenant_id: UUID,
    ids: Mapping[UUID, UUID],
    kind: str,
    data: Mapping[str, Any],
    text: tuple[str, str],
) -> None:
    known = await models.existing(db, tenant_id, list(ids.values()))
    seqs = await models.next_seqs(db, tenant_id, [user_id for user_id in ids if ids[user_id] not in known])
    title, body = text
    rows = [
        {
            "tenant_id": tenant_id,
            "user_id": user_id,
            "seq": seq,
            "id": ids[user_id],
            "kind": kind,
            "title": title,
            "body": body,
            "data": dict(data),
        }
        for user_id, seq in seqs.items()
    ]
    for stored in await models.add_all(db, rows):
        log.info("notification_stored", notification=str(stored.id), kind=kind, user=str(stored.user_id))
        key = StreamKey(StreamKind.PERSON, tenant_id, stored.user_id)
        announce(db, Stored(key, stored.seq, frame_of(stored)))


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
