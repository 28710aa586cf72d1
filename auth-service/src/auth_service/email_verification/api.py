from typing import Annotated

from fastapi import Depends

from auth_service.deps import Address, Settings
from auth_service.email_verification.flow import EmailVerification
from auth_service.email_verification.schemas import VerificationIn, VerifyIn
from auth_service.mails.deps import MailsDep
from auth_service.sign_in.api import PasswordsDep
from shared.deps import DatabaseDep
from shared.web.router import Router

router = Router(prefix="/auth/verify-email", tags=["accounts"])


async def email_verification(
    database: DatabaseDep, passwords: PasswordsDep, mails: MailsDep, settings: Settings, address: Address
) -> EmailVerification:
    return EmailVerification(database, passwords, mails, settings, address)


EmailVerificationDep = Annotated[EmailVerification, Depends(email_verification)]


@router.post("", status_code=204)
async def verify_email(body: VerifyIn, verification: EmailVerificationDep) -> None:
    """Verify the address that a link was mailed to; the account then signs in with it."""
    await verification.verify(body.token)


@router.post("/request", status_code=202)
async def request_verification(body: VerificationIn, verification: EmailVerificationDep) -> None:
    """Mail a new link to the account's unverified address, or to a new address that replaces the present one."""
    await verification.request(body.username, body.password, body.email)
