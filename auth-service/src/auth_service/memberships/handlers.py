"""The projection follows users-service: of each tenant and membership, only the newest event counts.

sessions/handlers.py ends the sessions of a revoked membership.
"""

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.memberships import service
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


async def tenant_changed(db: AsyncSession, event: TenantEvent) -> None:
    await service.apply_tenant(db, event)


async def tenant_erased(db: AsyncSession, event: TenantErased) -> None:
    await service.forget_tenant(db, event.subject)


async def membership_changed(db: AsyncSession, event: MembershipEvent) -> None:
    if event.tenant_id is not None:
        await service.apply_membership(db, event.tenant_id, event, revoked=False)


for kind in (TenantCreated, TenantUpdated, TenantSuspended, TenantResumed):
    handlers.on(kind, latest_only=True)(tenant_changed)
handlers.on(TenantErased, latest_only=True)(tenant_erased)
for change in (MembershipGranted, MembershipChanged):
    handlers.on(change, latest_only=True)(membership_changed)
