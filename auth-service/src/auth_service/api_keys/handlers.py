"""The end of a membership ends the person's sessions and API keys in that tenant."""

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.api_keys import service
from auth_service.memberships import service as memberships
from auth_service.memberships.events import MembershipRevoked
from auth_service.sessions import ending
from shared.events import EventHandlers

handlers = EventHandlers()


@handlers.on(MembershipRevoked, latest_only=True)
async def membership_revoked(db: AsyncSession, event: MembershipRevoked) -> None:
    """Unless the projection has a newer version: the person is a member again."""
    if event.tenant_id is not None and await memberships.apply_membership(db, event.tenant_id, event, revoked=True):
        await ending.end_in_tenant(db, event.user_id, event.tenant_id)
        await service.revoke_in_tenant(db, event.user_id, event.tenant_id)
