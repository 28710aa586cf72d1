"""Publishing: a row in the caller's transaction, so that an event exists exactly when what it speaks of does."""

from typing import Final

import structlog
from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from shared.events import pump
from shared.events.event import Event
from shared.events.models import OutboxRow
from shared.telemetry.traces import traceparent

_ADDED: Final = "flotilla.outbox"


def add(db: AsyncSession, event: Event) -> None:
    """Publish `event` once the transaction of `db` has committed; never, if it rolls back."""
    db.info[_ADDED] = True
    db.add(
        OutboxRow(
            id=event.id,
            type=event.type,
            subject=event.subject,
            subject_version=event.subject_version,
            tenant_id=event.tenant_id or db.info.get("tenant_id"),
            traceparent=traceparent(),
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
            data=event.data(),
        )
    )


@sqlalchemy_event.listens_for(Session, "after_commit")
def _wake_relay(session: Session) -> None:
    """Spare this process's relay the wait for its next look. Another process's relay finds the row by looking.

    A NOTIFY in the transaction would reach it too, and would make all commits with events wait for one another.
    """
    if session.info.get(_ADDED):
        pump.wake(pump.OUTBOX)
