"""Publishing: a row in the caller's transaction, so that an event exists exactly when what it speaks of does."""

from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.event import Event
from shared.events.models import OutboxRow
from shared.telemetry.traces import traceparent


def add(db: AsyncSession, event: Event) -> None:
    """Publish `event` once the transaction of `db` has committed; never, if it rolls back."""
    db.add(
        OutboxRow(
            id=event.id,
            type=event.type,
            subject=event.subject,
            subject_version=event.subject_version,
            tenant_id=event.tenant_id or db.info.get("tenant_id"),
            traceparent=traceparent(),
            data=event.data(),
        )
    )
