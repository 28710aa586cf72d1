"""Registering a person, and undoing that, across the tenants that it touches."""

from uuid import UUID

from shared.data.database import Database, enter_tenant
from users_service.members.schemas import MembershipOut
from users_service.registration import service
from users_service.registration.schemas import RegistrationIn, RegistrationOut
from users_service.settings import UsersSettings
from users_service.tenants import models
from users_service.tenants import service as tenants


async def register(
    database: Database, user_id: UUID, registration: RegistrationIn, settings: UsersSettings
) -> RegistrationOut:
    """Create the person, in their own new tenant, in the one that they join, or in the default one.

    Raises SlugReserved, SlugTaken, RegistrationEnded, TenantNotFound.
    """
    if registration.tenant is not None:
        service.check_slug(registration.tenant.slug, "#/tenant/slug", development=settings.development)
    tenant_id = registration.tenant.id if registration.tenant else registration.join
    if tenant_id is None and (slug := settings.default_tenant) is not None:
        async with database.transaction(role="fleet") as fleet:
            tenant_id = await models.tenant_by_slug(fleet, slug)
    async with database.transaction(tenant_id) as db:
        membership = await service.register(db, user_id, registration, tenant_id)
        if membership is None:
            return RegistrationOut(user_id=user_id, membership=None)
        shown = MembershipOut.of(membership, await tenants.read(db, membership.tenant_id))
    return RegistrationOut(user_id=user_id, membership=shown)


async def undo(database: Database, user_id: UUID) -> None:
    """Undo a registration whose account never became active, in one transaction. Raises RegistrationConfirmed."""
    async with database.transaction() as db:
        await service.end(db, user_id)
        async with database.transaction(role="fleet") as fleet:
            tenant_ids = await models.tenants_of_person(fleet, user_id)
        for tenant_id in tenant_ids:
            await enter_tenant(db, tenant_id)
            await service.withdraw(db, tenant_id, user_id)
        await service.delete_person(db, user_id)
