from typing import Annotated, Any

from fastapi import Depends, Query

from shared.deps import Conditions, CurrentUser, FleetDb, require_any_scope, require_scopes
from shared.field_errors import REQUIRED
from shared.identity.principal import Principal
from shared.problems import InvalidInput, raises
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router
from users_service.deps import TenantId
from users_service.tenants import service
from users_service.tenants.schemas import TenantOut, TenantPatch
from users_service.tenants.service import TenantErasing, TenantNotFound
from users_service.tenants.transactions import OwnTenantDb

router = Router(prefix="/api/v1/tenants", tags=["tenants"])


@router.get("", dependencies=[Depends(require_scopes("user:read"))])
async def list_tenants(
    user: CurrentUser, fleet: FleetDb, query: Annotated[ListQuery, Query()]
) -> CursorPage[TenantOut]:
    """The tenants that the caller is a member of or invited to; for an operator, all."""
    found, following = await service.page(fleet, user, query)
    return CursorPage(items=[TenantOut.model_validate(tenant) for tenant in found], next_cursor=following)


@router.get("/{tenant_id}", dependencies=[Depends(require_scopes("tenant:read"))])
@raises(TenantNotFound)
async def read_tenant(tenant_id: TenantId, db: OwnTenantDb, conditions: Conditions) -> TenantOut:
    """The tenant of the caller's session."""
    tenant = await service.read(db, tenant_id)
    conditions.shows(tenant.version)
    return TenantOut.model_validate(tenant)


async def _may_change(
    body: TenantPatch, user: Annotated[Principal, Depends(require_any_scope("tenant:write", "system:write"))]
) -> dict[str, Any]:
    """The changes that the body asks for, once the caller's scopes cover each of them."""
    changes = body.model_dump(exclude_unset=True)
    service.require(user, service.scopes_for(changes))
    if emptied := [name for name, value in changes.items() if value is None]:
        raise InvalidInput(errors=[REQUIRED.at(f"#/{name}") for name in emptied])
    return changes


@router.patch("/{tenant_id}")
@raises(TenantNotFound, TenantErasing)
async def patch_tenant(
    changes: Annotated[dict[str, Any], Depends(_may_change)],
    tenant_id: TenantId,
    user: CurrentUser,
    db: OwnTenantDb,
    conditions: Conditions,
) -> TenantOut:
    """Change the name (tenant:write), or the tier and the status (system:write: suspend and resume).

    `active` takes back a tenant that is `deleting`, while its grace period lasts.
    """
    tenant = await service.change(db, user, tenant_id, changes, conditions.allow_write)
    conditions.wrote(tenant.version)
    return TenantOut.model_validate(tenant)
