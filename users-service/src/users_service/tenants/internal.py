"""What the other services ask: registrations, memberships, revocations. Never routed by the gateway."""

from typing import Annotated

from fastapi import Depends, Query

from shared.data.database import enter_tenant
from shared.deps import DatabaseDep, FleetDb, UserId, require_grant
from shared.identity.revocation_entries import FeedPage
from shared.web.router import Router
from users_service.deps import Settings, TenantId
from users_service.tenants import members, models, registration, revocations, service
from users_service.tenants.models import Membership, Tenant
from users_service.tenants.schemas import (
    MembershipList,
    MembershipOut,
    RegistrationIn,
    RegistrationOut,
    TenantBrief,
)
from users_service.tenants.sessions import NamedTenantDb

router = Router(prefix="/internal", tags=["internal"])

REGISTER = [Depends(require_grant("registrations:write"))]


@router.put("/registrations/{user_id}", dependencies=REGISTER)
async def put_registration(
    user_id: UserId, body: RegistrationIn, database: DatabaseDep, settings: Settings
) -> RegistrationOut:
    """Make a person, with a tenant of their own or in the default one; a repeat answers the same."""
    if body.tenant is not None:
        registration.check_slug(body.tenant.slug, development=settings.development)
    tenant_id = body.tenant.id if body.tenant else None
    if body.tenant is None and (slug := settings.default_tenant) is not None:
        async with database.transaction(role="fleet") as fleet:
            tenant_id = await models.tenant_by_slug(fleet, slug)
    async with database.transaction(tenant_id) as db:
        membership = await registration.register(db, user_id, body, tenant_id)
        shown = None if membership is None else _shown(membership, await service.read(db, membership.tenant_id))
    return RegistrationOut(user_id=user_id, membership=shown)


@router.delete("/registrations/{user_id}", dependencies=REGISTER, status_code=204)
async def delete_registration(user_id: UserId, database: DatabaseDep) -> None:
    """Take back a registration whose account never became active, with the tenant that it brought.

    A repeat changes nothing, and a registration that was never heard of will not be made. An active account is 409.
    """
    async with database.transaction() as db:
        await registration.end(db, user_id)
        async with database.transaction(role="fleet") as fleet:
            tenants = await models.tenants_of_person(fleet, user_id)
        for tenant_id in tenants:
            await enter_tenant(db, tenant_id)
            await registration.withdraw(db, tenant_id, user_id)
        await registration.forget_person(db, user_id)


@router.get("/memberships", dependencies=[Depends(require_grant("memberships:list"))])
async def list_memberships(user_id: Annotated[UserId, Query()], fleet: FleetDb) -> MembershipList:
    """Every membership of a person that has not ended, oldest first."""
    return MembershipList(items=[_shown(one, tenant) for one, tenant in await models.of_person(fleet, user_id)])


@router.get("/memberships/{tenant_id}/{user_id}", dependencies=[Depends(require_grant("memberships:read"))])
async def read_membership(tenant_id: TenantId, user_id: UserId, db: NamedTenantDb) -> MembershipOut:
    """A person's membership in a tenant; 404 where there is none or it has ended."""
    return _shown(await members.read(db, tenant_id, user_id), await service.read(db, tenant_id))


@router.post("/memberships/{tenant_id}/{user_id}/accept", dependencies=[Depends(require_grant("memberships:accept"))])
async def accept_membership(tenant_id: TenantId, user_id: UserId, db: NamedTenantDb) -> MembershipOut:
    """The person named this tenant at a sign-in: an invited membership becomes active."""
    return _shown(await members.accept(db, tenant_id, user_id), await service.read(db, tenant_id))


@router.get("/revocations", dependencies=[Depends(require_grant("revocations:read"))])
async def read_revocations(fleet: FleetDb, after: Annotated[str | None, Query(max_length=32)] = None) -> FeedPage:
    """Memberships and tenants whose state changed since the cursor `after`; without one, all that still matters."""
    return await revocations.feed(fleet, after)


def _shown(membership: Membership, tenant: Tenant) -> MembershipOut:
    return MembershipOut(
        id=membership.id,
        user_id=membership.user_id,
        username=membership.username,
        tenant=TenantBrief.model_validate(tenant),
        roles=membership.roles,
        status=membership.status,
        version=membership.version,
        created_at=membership.created_at,
    )
