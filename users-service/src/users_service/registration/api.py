"""Called by auth-service; the gateway does not route these paths."""

from fastapi import Depends

from shared.deps import DatabaseDep, UserId, require_grant
from shared.web.router import Router
from users_service.deps import Settings
from users_service.registration import flow
from users_service.registration.schemas import RegistrationIn, RegistrationOut

router = Router(
    prefix="/internal/registrations", tags=["internal"], dependencies=[Depends(require_grant("registrations:write"))]
)


@router.put("/{user_id}")
async def put_registration(
    user_id: UserId, body: RegistrationIn, database: DatabaseDep, settings: Settings
) -> RegistrationOut:
    """Create a person, in their own new tenant or in the default one; a repeat answers the same."""
    return await flow.register(database, user_id, body, settings)


@router.delete("/{user_id}", status_code=204)
async def delete_registration(user_id: UserId, database: DatabaseDep) -> None:
    """Undo a registration whose account never became active, with the tenant that it created.

    A repeat changes nothing, and an unknown registration will not be created later. An active account is 409.
    """
    await flow.undo(database, user_id)
