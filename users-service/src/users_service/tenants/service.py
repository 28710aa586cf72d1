"""Tenants: reading one's own, changing what its admins or the fleet's operators may."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events import outbox
from shared.identity.principal import Principal
from shared.problems import AllowWrite, NotFound
from shared.web.paging import ListQuery, by_cursor
from users_service.tenants import models
from users_service.tenants.events import TenantEvent, TenantResumed, TenantSuspended, TenantUpdated
from users_service.tenants.models import LIVING, Membership, Tenant


class TenantNotFound(NotFound):
    """No such tenant, or one that the caller does not belong to."""

    status, title = 404, "No such tenant"


_SORTABLE = {"created_at": Tenant.created_at, "name": Tenant.name, "slug": Tenant.slug}


async def read(db: AsyncSession, tenant_id: UUID) -> Tenant:
    if (tenant := await db.get(Tenant, tenant_id)) is None:
        raise TenantNotFound
    return tenant


async def page(fleet: AsyncSession, user: Principal, query: ListQuery) -> tuple[Sequence[Tenant], str | None]:
    """The tenants that the person is a member of or invited to; all of them for an operator. Looks across tenants."""
    rows = select(Tenant)
    if "system:read" not in user.scopes:
        mine = select(Membership.tenant_id).where(Membership.user_id == user.user_id, Membership.status.in_(LIVING))
        rows = rows.where(Tenant.tenant_id.in_(mine))
    return await by_cursor(fleet, rows, query, _SORTABLE, Tenant.tenant_id)


async def change(db: AsyncSession, tenant_id: UUID, changes: dict[str, Any], allow: AllowWrite) -> Tenant:
    """Set what `changes` names; the tenant that results. What is so already makes no version and no event."""
    tenant = await models.lock_tenant(db, tenant_id)
    if tenant is None:
        raise TenantNotFound
    allow(tenant.version)
    news = {name: value for name, value in changes.items() if getattr(tenant, name) != value}
    status = news.pop("status", None)
    if news:
        for name, value in news.items():
            setattr(tenant, name, value)
        _publish(db, tenant, TenantUpdated)
    if status is not None:
        tenant.status, tenant.changed_at = status, func.clock_timestamp()
        _publish(db, tenant, TenantSuspended if status == "suspended" else TenantResumed)
    await db.flush()
    await db.refresh(tenant)
    return tenant


def _publish(db: AsyncSession, tenant: Tenant, event: type[TenantEvent]) -> None:
    tenant.version += 1
    outbox.add(db, event.of(tenant))
