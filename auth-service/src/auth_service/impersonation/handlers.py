"""The projection follows users-service, of each tenant and membership the newest event; what it no longer allows ends.

api_keys/handlers.py handles the end of a membership, which ends an operator's impersonations too.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.impersonation import service
from auth_service.memberships import service as memberships
from auth_service.memberships.events import (
    MembershipChanged,
    MembershipEvent,
    MembershipGranted,
    TenantCreated,
    TenantErased,
    TenantEvent,
    TenantResumed,
    TenantSuspended,
    TenantUpdated,
)
from shared.events import EventHandlers

handlers = EventHandlers()


async def membership_changed(db: AsyncSession, event: MembershipEvent) -> None:
    """The projection is read again: it may have been newer, after a sign-in has asked users-service."""
    if event.tenant_id is not None:
        await memberships.apply_membership(db, event.tenant_id, event, revoked=False)
        await service.follow_membership(db, event.tenant_id, event.user_id)


async def tenant_changed(db: AsyncSession, event: TenantEvent) -> None:
    """The same of a tenant: each event says how it is now, so a later one may be the first that is handled."""
    await memberships.apply_tenant(db, event)
    await service.follow_tenant(db, event.subject)


async def tenant_erased(db: AsyncSession, event: TenantErased) -> None:
    await memberships.forget_tenant(db, event.subject)
    await service.follow_tenant(db, event.subject)


for change in (MembershipGranted, MembershipChanged):
    handlers.on(change, latest_only=True)(membership_changed)
for kind in (TenantCreated, TenantUpdated, TenantSuspended, TenantResumed):
    handlers.on(kind, latest_only=True)(tenant_changed)
handlers.on(TenantErased, latest_only=True)(tenant_erased)
