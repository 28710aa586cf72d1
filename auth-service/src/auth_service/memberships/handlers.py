"""The projection follows users-service: the last word on each tenant and membership counts, not each word.

What a revoked membership means for sessions stands in sessions/handlers.py.
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


async def tenant_told(db: AsyncSession, event: TenantEvent) -> None:
    await service.apply_tenant(db, event)


async def tenant_erased(db: AsyncSession, event: TenantErased) -> None:
    await service.forget_tenant(db, event.subject)


async def membership_told(db: AsyncSession, event: MembershipEvent) -> None:
    if event.tenant_id is not None:
        await service.apply_membership(db, event.tenant_id, event, revoked=False)


for kind in (TenantCreated, TenantUpdated, TenantSuspended, TenantResumed):
    handlers.on(kind, latest_only=True)(tenant_told)
handlers.on(TenantErased, latest_only=True)(tenant_erased)
for change in (MembershipGranted, MembershipChanged):
    handlers.on(change, latest_only=True)(membership_told)
