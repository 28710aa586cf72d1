from typing import Annotated

from fastapi import Depends, Query, Response

from shared.deps import (
    Conditions,
    CurrentUser,
    FleetDb,
    UserId,
    refuse_impersonation,
    require_any_scope,
    require_grant,
    require_scopes,
)
from shared.identity.principal import Principal
from shared.problems import ImpersonationRefused, InsufficientScope, raises
from shared.web.paging import CursorPage
from shared.web.router import Router
from users_service.deps import TenantId
from users_service.members import service
from users_service.members.schemas import MemberIn, MemberOut, MemberQuery, MembershipList, MembershipOut, TransferIn
from users_service.members.service import LastAdmin, MemberNotFound, PersonNotFound, TransferRefused
from users_service.tenants import models
from users_service.tenants import service as tenants
from users_service.tenants.service import TenantNotFound
from users_service.tenants.transactions import NamedTenantDb, OwnTenantDb

router = Router(prefix="/api/v1/tenants/{tenant_id}/members", tags=["tenants"])
transfers = Router(prefix="/api/v1/tenants/{tenant_id}/transfer", tags=["tenants"])
internal = Router(prefix="/internal/memberships", tags=["internal"])

READ, WRITE = [Depends(require_scopes("tenant:read"))], [Depends(require_scopes("tenant:write"))]


@router.get("", dependencies=READ)
@raises(TenantNotFound)
async def list_members(
    tenant_id: TenantId, db: OwnTenantDb, query: Annotated[MemberQuery, Query()]
) -> CursorPage[MemberOut]:
    """Everyone in the tenant, invited and suspended members too."""
    found, following = await service.page(db, tenant_id, query)
    return CursorPage(items=[MemberOut.model_validate(one) for one in found], next_cursor=following)


@router.get("/{user_id}", dependencies=READ)
@raises(TenantNotFound, MemberNotFound)
async def read_member(tenant_id: TenantId, user_id: UserId, db: OwnTenantDb, conditions: Conditions) -> MemberOut:
    """One member of the tenant."""
    membership = await service.read(db, tenant_id, user_id)
    conditions.shows(membership.version)
    return MemberOut.model_validate(membership)


@router.put(
    "/{user_id}",
    dependencies=WRITE,
    responses={201: {"model": MemberOut, "description": "The person is a member now, invited until they accept."}},
)
@raises(TenantNotFound, PersonNotFound, LastAdmin)
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
    membership, made = await service.grant(db, user, tenant_id, user_id, roles, conditions.allow_write)
    response.status_code = 201 if made else 200
    conditions.wrote(membership.version)
    return MemberOut.model_validate(membership)


@raises(ImpersonationRefused, InsufficientScope)
async def _may_end(
    tenant_id: TenantId,
    user_id: UserId,
    user: Annotated[Principal, Depends(require_any_scope("tenant:write", "profile:write"))],
) -> Principal:
    """A member leaves with profile:write; anyone else's membership needs tenant:write."""
    tenants.require(user, [service.scope_to_end(user, tenant_id, user_id)])
    return user


@router.delete("/{user_id}", status_code=204)
@raises(TenantNotFound, MemberNotFound, LastAdmin)
async def delete_member(
    user: Annotated[Principal, Depends(_may_end)],
    tenant_id: TenantId,
    user_id: UserId,
    db: OwnTenantDb,
    conditions: Conditions,
) -> None:
    """End a membership (tenant:write), or leave the tenant of the caller's session (profile:write).

    The person's tokens for this tenant end within 2 s; their account stays.
    """
    await service.end(db, user, tenant_id, user_id, conditions.allow_write)


@transfers.post("", dependencies=[Depends(refuse_impersonation), *WRITE])
@raises(TenantNotFound, MemberNotFound, TransferRefused)
async def transfer_tenant(tenant_id: TenantId, body: TransferIn, user: CurrentUser, db: OwnTenantDb) -> MemberOut:
    """Hand the tenant over: another active member becomes admin, and the caller an ordinary user, both or neither.

    Both get tokens with their new roles at the next refresh.
    """
    return MemberOut.model_validate(await service.transfer(db, user, tenant_id, body.user_id))


@internal.get("", dependencies=[Depends(require_grant("memberships:list"))])
async def list_memberships(user_id: Annotated[UserId, Query()], fleet: FleetDb) -> MembershipList:
    """Every membership of a person that has not ended, oldest first."""
    found = await models.of_person(fleet, user_id)
    return MembershipList(items=[MembershipOut.of(membership, tenant) for membership, tenant in found])


@internal.get("/{tenant_id}/{user_id}", dependencies=[Depends(require_grant("memberships:read"))])
@raises(TenantNotFound, MemberNotFound)
async def read_membership(tenant_id: TenantId, user_id: UserId, db: NamedTenantDb) -> MembershipOut:
    """A person's membership in a tenant; 404 if there is none or it has ended."""
    return MembershipOut.of(await service.read(db, tenant_id, user_id), await tenants.read(db, tenant_id))


@internal.post("/{tenant_id}/{user_id}/accept", dependencies=[Depends(require_grant("memberships:accept"))])
@raises(TenantNotFound, MemberNotFound)
async def accept_membership(tenant_id: TenantId, user_id: UserId, db: NamedTenantDb) -> MembershipOut:
    """The person named this tenant at a sign-in: an invited membership becomes active."""
    return MembershipOut.of(await service.accept(db, tenant_id, user_id), await tenants.read(db, tenant_id))
