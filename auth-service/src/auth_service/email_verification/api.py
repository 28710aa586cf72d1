from typing import Annotated

from fastapi import Depends

from auth_service.accounts.passwords import HashingBusy
from auth_service.accounts.service import EmailTaken
from auth_service.deps import Address, Settings
from auth_service.email_verification import service
from auth_service.email_verification.flow import EmailVerification
from auth_service.email_verification.schemas import CheckIn, CheckOut, VerificationIn, VerifyIn
from auth_service.links.service import LinkInvalid
from auth_service.mails.deps import MailsDep
from auth_service.mails.service import AddressUnmailable, MailLimitReached
from auth_service.sign_in.api import PasswordsDep
from auth_service.sign_in.service import SignInRefused
from auth_service.sign_in.throttle import SignInThrottled
from shared.deps import DatabaseDep, Db, OptionalUser, require_grant
from shared.problems import InsufficientUserAuthentication, raises
from shared.web.router import Router

router = Router(prefix="/auth/verify-email", tags=["accounts"])
internal = Router(
    prefix="/internal/verified-emails",
    tags=["internal"],
    dependencies=[Depends(require_grant("verified-emails:check"))],
)


async def email_verification(
    database: DatabaseDep, passwords: PasswordsDep, mails: MailsDep, settings: Settings, address: Address
) -> EmailVerification:
    return EmailVerification(database, passwords, mails, settings, address)


EmailVerificationDep = Annotated[EmailVerification, Depends(email_verification)]


@router.post("", status_code=204)
@raises(LinkInvalid, EmailTaken)
async def verify_email(body: VerifyIn, verification: EmailVerificationDep) -> None:
    """Verify the address that a link was mailed to; the account then signs in with it."""
    await verification.verify(body.token)


@router.post("/request", status_code=202)
@raises(
    SignInRefused, SignInThrottled, HashingBusy, MailLimitReached, AddressUnmailable, InsufficientUserAuthentication
)
async def request_verification(body: VerificationIn, verification: EmailVerificationDep, user: OptionalUser) -> None:
    """Mail a new link to the account's unverified address, or to a new address that replaces the present one.

    A person with a second factor is signed in, and has confirmed recently, to name a new address.
    """
    await verification.request(body.username, body.password, body.email, user=user)


@internal.post("/check")
async def check_verified_email(body: CheckIn, db: Db) -> CheckOut:
    """Whether the person has verified the address: an invitation to it is theirs to accept. It is not disclosed."""
    return CheckOut(verified=await service.has_verified(db, body.user_id, body.email))
