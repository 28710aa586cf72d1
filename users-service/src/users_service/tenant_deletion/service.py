"""Marking a tenant for deletion, and erasing what this service has of it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data import tenant_erasure
from shared.events import outbox
from shared.identity.principal import Principal
from shared.problems import AllowWrite
from users_service.files import models as files
from users_service.tenants import models
from users_service.tenants import service as tenants
from users_service.tenants.events import TenantErased
from users_service.tenants.models import Tenant

_AT_ONCE: Final = 20
_DUE: Final = select(Tenant.tenant_id).where(Tenant.erase_at <= func.now())
ANY_DUE: Final = select(_DUE.exists())

log = structlog.get_logger(__name__)


async def mark(db: AsyncSession, user: Principal, tenant_id: UUID, allow: AllowWrite, grace_s: int) -> Tenant:
    """Suspend the tenant until it is erased, `grace_s` seconds from now; a repeat changes nothing."""
    await tenants.authorize_tenant_write(db, user, tenant_id, "tenant:write")
    tenant = await tenants.read(db, tenant_id)
    if tenant.erase_at is not None:
        allow(tenant.version)
        return tenant
    now = (await db.execute(select(func.now()))).scalar_one()
    changes = {"erase_at": now + timedelta(seconds=grace_s), "status": "suspended"}
    return await tenants.apply(db, tenant_id, changes, allow)


async def due(fleet: AsyncSession) -> Sequence[UUID]:
    """Some tenants whose grace period is over, the longest first. Looks across tenants."""
    return (await fleet.scalars(_DUE.order_by(Tenant.erase_at).limit(_AT_ONCE))).all()


async def erase_some(db: AsyncSession, tenant_id: UUID) -> bool:
    """Delete a batch of the tenant's rows, and the tenant itself once nothing else is left; whether it did anything.

    The tenant's row is locked, so that one process erases it, and no event adds to what is erased. Its content that is
    being moved waits for the move.
    """
    tenant = await models.lock_due_tenant(db, tenant_id)
    if tenant is None:
        return False
    if await models.is_moving(db, tenant_id):
        log.warning("tenant_erasure_waits", tenant=str(tenant_id), reason="its content is being moved")
        return False
    if await files.erase_some(db, tenant_id, tenant_erasure.BATCH):
        return True
    if not await tenant_erasure.erase_some(db, tenant_id, spare=[Tenant.__tablename__]):
        tenant.version += 1
        outbox.add(db, TenantErased.of(tenant))
        await db.delete(tenant)
        await db.flush()
        log.info("tenant_erased", tenant=str(tenant_id))
    return True
