from typing import Annotated

from fastapi import Depends

from auth_service.accounts.passwords import HashingBusy
from auth_service.accounts.service import EmailTaken, UsernameTaken
from auth_service.deps import Address, Settings, UsersClient
from auth_service.mails.deps import MailsDep
from auth_service.mails.service import AddressUnmailable, MailLimitReached
from auth_service.registration.flow import Registration
from auth_service.registration.schemas import AccountOut, RegistrationIn, TenantOut
from auth_service.registration.service import (
    RegistrationClosed,
    RegistrationUnfinished,
    SlugReserved,
    SlugTaken,
    TenantRegistrationClosed,
)
from auth_service.sign_in.api import PasswordsDep
from auth_service.sign_in.throttle import SignInThrottled
from shared.deps import DatabaseDep
from shared.problems import raises
from shared.web.router import Router

router = Router(prefix="/auth", tags=["accounts"])


async def registration(
    database: DatabaseDep,
    users: UsersClient,
    passwords: PasswordsDep,
    mails: MailsDep,
    settings: Settings,
    address: Address,
) -> Registration:
    return Registration(database, users, passwords, mails, settings, address)


RegistrationDep = Annotated[Registration, Depends(registration)]


@router.post("/register", status_code=201)
@raises(
    UsernameTaken,
    EmailTaken,
    SlugTaken,
    SlugReserved,
    RegistrationClosed,
    TenantRegistrationClosed,
    RegistrationUnfinished,
    HashingBusy,
    SignInThrottled,
    MailLimitReached,
    AddressUnmailable,
)
async def register(body: RegistrationIn, registration: RegistrationDep) -> AccountOut:
    """Create an account, as the admin of a new tenant or as a member of the default tenant.

    After a 503, the same request again finishes the registration. Where emails are verified, the account signs in once
    the link that was mailed is used; the answer is the same if the email has an account already.
    """
    registered = await registration.register(body)
    account, membership = registered.account, registered.membership
    tenant = membership.tenant if membership else None
    return AccountOut(
        id=account.id,
        username=account.username,
        email=body.email,
        tenant=TenantOut(id=tenant.id, slug=tenant.slug, name=tenant.name) if tenant else None,
    )
