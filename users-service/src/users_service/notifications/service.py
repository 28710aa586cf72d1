"""Asking chat-service to notify people."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from users_service.notifications.events import NotificationRequested

RECIPIENTS_AT_ONCE: Final = 500
"""What one event names at most, so that chat-service stores its notifications in one short transaction."""


def request(
    db: AsyncSession,
    tenant_id: UUID,
    user_ids: Sequence[UUID],
    kind: str,
    *,
    subject: UUID,
    occasion_id: UUID,
    data: dict[str, UUID],
) -> None:
    """Have these members of the tenant notified once for this occasion, such as an event."""
    for start in range(0, len(user_ids), RECIPIENTS_AT_ONCE):
        requested = NotificationRequested(
            subject=subject,
            tenant_id=tenant_id,
            user_ids=list(user_ids[start : start + RECIPIENTS_AT_ONCE]),
            kind=kind,
            data=data,
            occasion_id=occasion_id,
        )
        outbox.add(db, requested)
