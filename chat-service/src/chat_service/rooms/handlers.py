"""The end of a membership removes the person from the tenant's rooms."""

from typing import ClassVar

from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people.handlers import MembershipState, project
from chat_service.rooms import models
from shared.events import EventHandlers

handlers = EventHandlers()


class MembershipRevoked(MembershipState):
    type: ClassVar[str] = "membership.revoked.v1"


@handlers.on(MembershipRevoked, latest_only=True)
async def membership_revoked(db: AsyncSession, event: MembershipRevoked) -> None:
    """The name stays in the projection, for the messages; tokens and sockets end by the revocation feed."""
    if event.tenant_id is not None and await project(db, event.tenant_id, event):
        await models.drop_everywhere(db, event.tenant_id, event.user_id)
