"""Publishing: a row in the caller's transaction, so that an event exists exactly when what it speaks of does."""

from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.after_commit import announce
from shared.events.event import Event
from shared.events.models import OutboxRow
from shared.telemetry.traces import traceparent


@dataclass(frozen=True, slots=True)
class OutboxWritten:
    """Announced after a commit with events, so that this process's relay does not wait for its next poll.

    A relay in another process finds the rows by polling. (A NOTIFY in the transaction would reach it too, and would
    make all commits with events wait for one another.)
    """


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
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
            data=event.payload(),
        )
    )
    announce(db, OutboxWritten())
