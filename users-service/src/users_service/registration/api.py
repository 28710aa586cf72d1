"""Registrations, which auth-service calls under /internal, and further tenants of people who are registered."""

from typing import Final

from fastapi import Depends, Response

from shared.deps import CurrentUser, DatabaseDep, Db, UserId, refuse_impersonation, require_grant, require_scopes
from shared.problems import raises
from shared.web.router import Router
from users_service.deps import Settings
from users_service.registration import flow, service
from users_service.registration.schemas import RegistrationIn, RegistrationOut, TenantIn
from users_service.registration.service import (
    RegistrationConfirmed,
    RegistrationEnded,
    SlugReserved,
    SlugTaken,
    TenantCreationClosed,
)
from users_service.tenants.schemas import TenantOut
from users_service.tenants.service import TenantNotFound

router = Router(
    prefix="/internal/registrations", tags=["internal"], dependencies=[Depends(require_grant("registrations:write"))]
)

further_tenants = Router(prefix="/api/v1/tenants", tags=["tenants"])
_CREATE: Final = [Depends(refuse_impersonation), Depends(require_scopes("profile:write"))]


@router.put("/{user_id}")
@raises(RegistrationEnded, SlugTaken, SlugReserved, TenantNotFound)
async def put_registration(
    user_id: UserId, body: RegistrationIn, database: DatabaseDep, settings: Settings
) -> RegistrationOut:
    """Create a person, in a new tenant, in one that they join, or in the default one; a repeat answers the same."""
    return await flow.register(database, user_id, body, settings)


@router.delete("/{user_id}", status_code=204)
@raises(RegistrationConfirmed)
async def delete_registration(user_id: UserId, database: DatabaseDep) -> None:
    """Undo a registration whose account never became active, with the tenant that it created.

    A repeat changes nothing, and an unknown registration will not be created later. An active account is 409.
    """
    await flow.undo(database, user_id)


@further_tenants.post("", status_code=201, dependencies=_CREATE)
@raises(SlugTaken, SlugReserved, TenantCreationClosed)
async def create_tenant(body: TenantIn, user: CurrentUser, db: Db, settings: Settings, response: Response) -> TenantOut:
    """Create a tenant, and be its admin. `POST /auth/sessions {tenant}` then opens a session in it.

    The caller's session stays in its own tenant.
    """
    tenant = await service.create_tenant(db, user, body, settings)
    response.headers["Location"] = f"/api/v1/tenants/{tenant.id}"
    return TenantOut.model_validate(tenant)
