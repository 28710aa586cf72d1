"""Granting and revoking the role of operators, which no tenant grants: each tenant's part as that tenant."""

from contextlib import suppress
from uuid import UUID

from shared.data.database import Database
from users_service.members import service
from users_service.members.schemas import MembershipOut
from users_service.tenants import models
from users_service.tenants import service as tenants


async def add_operator(database: Database, tenant_id: UUID, user_id: UUID) -> MembershipOut:
    """Make an active member of the tenant an operator. Raises TenantNotFound, MemberNotFound."""
    async with database.transaction(tenant_id) as db:
        membership = await service.set_operator(db, tenant_id, user_id, operator=True)
        return MembershipOut.of(membership, await tenants.read(db, tenant_id))


async def remove_operator(database: Database, user_id: UUID) -> None:
    """Revoke the role in every tenant where the person has it."""
    async with database.transaction(role="fleet") as fleet:
        held = [found for found, _ in await models.of_person(fleet, user_id) if service.OPERATOR in found.roles]
    for membership in held:
        with suppress(service.MemberNotFound):  # it has ended meanwhile
            async with database.transaction(membership.tenant_id) as db:
                await service.set_operator(db, membership.tenant_id, user_id, operator=False)
