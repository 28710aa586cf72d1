"""Publishing as another service does: an envelope on the bus."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from shared.events import Bus
from shared.events.event import Envelope
from shared.ids import new_id


def envelope(event_type: str, subject: UUID, tenant_id: UUID, *, version: int = 1, **data: Any) -> Envelope:
    return Envelope(
        id=new_id(),
        source="/flotilla/test",
        type=event_type,
        subject=subject,
        time=datetime.now(UTC),
        tenantid=tenant_id,
        subjectversion=version,
        data=data,
    )


async def publish(bus: Bus, told: Envelope) -> None:
    await bus.publish(told.encode(), event_type=told.type, event_id=str(told.id))
