"""Transactions as the tenant that a path names."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from shared.deps import CurrentUser, DatabaseDep
from users_service.deps import TenantId
from users_service.tenants.service import TenantNotFound


async def _own(
    request: Request, tenant_id: TenantId, user: CurrentUser, database: DatabaseDep
) -> AsyncIterator[AsyncSession]:
    """The caller's own tenant, or any for an operator of the fleet."""
    operator = "system:read" if request.method in ("GET", "HEAD") else "system:write"
    if user.tenant_id != tenant_id and operator not in user.scopes:
        raise TenantNotFound
    async with database.transaction(tenant_id) as db:
        yield db


async def _named(tenant_id: TenantId, database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    """For calls from other services."""
    async with database.transaction(tenant_id) as db:
        yield db


OwnTenantDb = Annotated[AsyncSession, Depends(_own, scope="function")]
NamedTenantDb = Annotated[AsyncSession, Depends(_named, scope="function")]
