"""The projection follows users-service. What a revoked membership means for rooms stands in rooms/handlers.py."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people import models
from shared.events import Consumed, EventHandlers

handlers = EventHandlers()


class MembershipTold(Consumed):
    """A membership as it is after the change."""

    user_id: UUID
    username: str
    roles: list[str]
    status: str


class MembershipGranted(MembershipTold):
    type: ClassVar[str] = "membership.granted.v1"


class MembershipChanged(MembershipTold):
    type: ClassVar[str] = "membership.changed.v1"


@handlers.on(MembershipGranted, latest_only=True)
async def membership_granted(db: AsyncSession, event: MembershipGranted) -> None:
    if event.tenant_id is not None:
        await project(db, event.tenant_id, event)


@handlers.on(MembershipChanged, latest_only=True)
async def membership_changed(db: AsyncSession, event: MembershipChanged) -> None:
    if event.tenant_id is not None:
        await project(db, event.tenant_id, event)


async def project(db: AsyncSession, tenant_id: UUID, event: MembershipTold) -> bool:
    """Keep what the event says, unless something newer is known; whether it was news."""
    return await models.put(
        db,
        tenant_id,
        event.user_id,
        username=event.username,
        roles=event.roles,
        status=event.status,
        version=event.subject_version,
    )
