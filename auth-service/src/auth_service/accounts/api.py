from typing import Annotated

from fastapi import Depends

from auth_service.accounts.passwords import Passwords
from auth_service.accounts.registration import Registration
from auth_service.accounts.schemas import AccountOut, RegistrationIn, TenantOut
from auth_service.deps import Address, Settings, UsersClient
from shared.deps import DatabaseDep, resource
from shared.web.router import Router

router = Router(prefix="/auth", tags=["accounts"])


PasswordsDep = Annotated[Passwords, resource(Passwords)]


async def registration(
    database: DatabaseDep, users: UsersClient, passwords: PasswordsDep, settings: Settings, address: Address
) -> Registration:
    return Registration(database, users, passwords, settings, address)


@router.post("/register", status_code=201)
async def register(body: RegistrationIn, registration: Annotated[Registration, Depends(registration)]) -> AccountOut:
    """Make an account, with a new tenant whose admin it is, or in the default tenant.

    After a 503 the same request finishes what was begun.
    """
    registered = await registration.register(body)
    account, membership = registered.account, registered.membership
    tenant = membership.tenant if membership else None
    return AccountOut(
        id=account.id,
        username=account.username,
        email=account.email,
        tenant=TenantOut(id=tenant.id, slug=tenant.slug, name=tenant.name) if tenant else None,
    )
