"""Operators of the fleet: the members with the role `system`. auth-service grants it to the holder of a mailed link."""

from fastapi import Depends

from shared.deps import DatabaseDep, FleetDb, UserId, require_grant
from shared.problems import raises
from shared.web.router import Router
from users_service.members import flow, service
from users_service.members.schemas import MembershipList, MembershipOut, OperatorIn
from users_service.tenants import models
from users_service.tenants.service import TenantNotFound

router = Router(
    prefix="/internal/operators", tags=["internal"], dependencies=[Depends(require_grant("operators:write"))]
)


@router.get("")
async def list_operators(fleet: FleetDb) -> MembershipList:
    """Every membership with the role `system`, oldest first."""
    found = await models.with_role(fleet, service.OPERATOR)
    return MembershipList(items=[MembershipOut.of(membership, tenant) for membership, tenant in found])


@router.put("/{user_id}")
@raises(service.MemberNotFound, TenantNotFound)
async def put_operator(user_id: UserId, body: OperatorIn, database: DatabaseDep) -> MembershipOut:
    """Give an active member of the tenant the role `system`; a repeat changes nothing."""
    return await flow.add_operator(database, body.tenant_id, user_id)


@router.delete("/{user_id}", status_code=204)
async def delete_operator(user_id: UserId, database: DatabaseDep) -> None:
    """Take the role `system` from the person in all their tenants: those tokens end within 2 s."""
    await flow.remove_operator(database, user_id)
