"""The projection follows users-service. rooms/handlers.py ends the room memberships of a revoked membership."""

from typing import ClassVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people import models
from shared.events import Consumed, EventHandlers

handlers = EventHandlers()


class MembershipState(Consumed):
    """A membership as it is after the change."""

    user_id: UUID
    username: str
    roles: list[str]
    status: str


class MembershipGranted(MembershipState):
    type: ClassVar[str] = "membership.granted.v1"


class MembershipChanged(MembershipState):
    type: ClassVar[str] = "membership.changed.v1"


@handlers.on(MembershipGranted, latest_only=True)
async def membership_granted(db: AsyncSession, event: MembershipGranted) -> None:
    if event.tenant_id is not None:
        await project(db, event.tenant_id, event)


@handlers.on(MembershipChanged, latest_only=True)
async def membership_changed(db: AsyncSession, event: MembershipChanged) -> None:
    if event.tenant_id is not None:
        await project(db, event.tenant_id, event)


async def project(db: AsyncSession, tenant_id: UUID, event: MembershipState) -> bool:
    """Store the event unless a newer one is stored; returns whether it was newer."""
    return await models.put(
        db,
        tenant_id,
        event.user_id,
        username=event.username,
        roles=event.roles,
        status=event.status,
        version=event.subject_version,
    )
