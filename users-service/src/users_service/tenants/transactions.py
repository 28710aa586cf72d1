"""Transactions as the tenant that a path names."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from shared.deps import CurrentUser, DatabaseDep
from users_service.deps import TenantId
from users_service.tenants.service import TenantNotFound


async def own_tenant(request: Request, tenant_id: TenantId, user: CurrentUser) -> UUID:
    """The caller's own tenant, or any for an operator of the fleet. Raises TenantNotFound."""
    operator = "system:read" if request.method in ("GET", "HEAD") else "system:write"
    if user.tenant_id != tenant_id and operator not in user.scopes:
        raise TenantNotFound
    return tenant_id


OwnTenantId = Annotated[UUID, Depends(own_tenant)]


async def _own(tenant_id: OwnTenantId, database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    async with database.transaction(tenant_id) as db:
        yield db


async def _named(tenant_id: TenantId, database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    """For calls from other services."""
    async with database.transaction(tenant_id) as db:
        yield db


OwnTenantDb = Annotated[AsyncSession, Depends(_own, scope="function")]
NamedTenantDb = Annotated[AsyncSession, Depends(_named, scope="function")]
