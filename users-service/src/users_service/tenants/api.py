from typing import Annotated, Any

from fastapi import Depends, Query, Response

from shared.deps import Conditions, CurrentUser, FleetDb, UserId, require_any_scope, require_scopes
from shared.identity.principal import Principal
from shared.problems import FieldError, InvalidInput
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router
from users_service.deps import TenantId
from users_service.tenants import members, service
from users_service.tenants.schemas import MemberIn, MemberOut, MemberQuery, TenantOut, TenantPatch
from users_service.tenants.sessions import OwnTenantDb

router = Router(prefix="/api/v1/tenants", tags=["tenants"])

READ, WRITE = [Depends(require_scopes("tenant:read"))], [Depends(require_scopes("tenant:write"))]


@router.get("", dependencies=[Depends(require_scopes("user:read"))])
async def list_tenants(
    user: CurrentUser, fleet: FleetDb, query: Annotated[ListQuery, Query()]
) -> CursorPage[TenantOut]:
    """The tenants that the caller is a member of or invited to; for an operator, all."""
    found, following = await service.page(fleet, user, query)
    return CursorPage(items=[TenantOut.model_validate(tenant) for tenant in found], next_cursor=following)


@router.get("/{tenant_id}", dependencies=READ)
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
        raise InvalidInput(errors=[FieldError("Cannot be emptied.", "required", f"#/{name}") for name in emptied])
    return changes


@router.patch("/{tenant_id}")
async def patch_tenant(
    changes: Annotated[dict[str, Any], Depends(_may_change)],
    tenant_id: TenantId,
    user: CurrentUser,
    db: OwnTenantDb,
    conditions: Conditions,
) -> TenantOut:
    """Change the name (tenant:write), or the tier and the status (system:write: suspend and resume)."""
    tenant = await service.change(db, user, tenant_id, changes, conditions.allow_write)
    conditions.wrote(tenant.version)
    return TenantOut.model_validate(tenant)


@router.get("/{tenant_id}/members", dependencies=READ)
async def list_members(
    tenant_id: TenantId, db: OwnTenantDb, query: Annotated[MemberQuery, Query()]
) -> CursorPage[MemberOut]:
    """Everyone in the tenant, invited and suspended members too."""
    found, following = await members.page(db, tenant_id, query)
    return CursorPage(items=[MemberOut.model_validate(one) for one in found], next_cursor=following)


@router.get("/{tenant_id}/members/{user_id}", dependencies=READ)
async def read_member(tenant_id: TenantId, user_id: UserId, db: OwnTenantDb, conditions: Conditions) -> MemberOut:
    """One member of the tenant."""
    membership = await members.read(db, tenant_id, user_id)
    conditions.shows(membership.version)
    return MemberOut.model_validate(membership)


@router.put(
    "/{tenant_id}/members/{user_id}",
    dependencies=WRITE,
    responses={201: {"model": MemberOut, "description": "The person is a member now, invited until they accept."}},
)
async def put_member(
    tenant_id: TenantId,
    user_id: UserId,
    body: MemberIn,
    user: CurrentUser,
    db: OwnTenantDb,
    conditions: Conditions,
    response: Response,
) -> MemberOut:
    """Make a person a member with these roles (201), or give a member these roles (200)."""
    roles = [str(role) for role in body.roles]
    membership, made = await members.grant(db, user, tenant_id, user_id, roles, conditions.allow_write)
    response.status_code = 201 if made else 200
    conditions.wrote(membership.version)
    return MemberOut.model_validate(membership)


@router.delete("/{tenant_id}/members/{user_id}", dependencies=WRITE, status_code=204)
async def delete_member(
    tenant_id: TenantId, user_id: UserId, user: CurrentUser, db: OwnTenantDb, conditions: Conditions
) -> None:
    """End a membership: the person's tokens for this tenant end within 2 s, their account stays."""
    await members.end(db, user, tenant_id, user_id, conditions.allow_write)
