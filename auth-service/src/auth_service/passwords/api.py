from typing import Annotated

from fastapi import Depends

from auth_service.accounts.passwords import HashingBusy
from auth_service.deps import Address, Settings
from auth_service.links.service import LinkInvalid
from auth_service.mails.deps import MailsDep
from auth_service.mails.service import AddressUnmailable, MailLimitReached
from auth_service.passwords.flow import PasswordChange
from auth_service.passwords.schemas import PasswordIn, ResetConfirmIn, ResetIn
from auth_service.passwords.service import PasswordWrong
from auth_service.sessions.schemas import SessionsEnded
from auth_service.sessions.signed_in import AccountOwner
from auth_service.sign_in.api import PasswordsDep
from auth_service.sign_in.throttle import SignInThrottled
from shared.deps import DatabaseDep
from shared.problems import InsufficientUserAuthentication, raises
from shared.web.router import Router

router = Router(prefix="/auth/password", tags=["accounts"])


async def password_change(
    database: DatabaseDep, passwords: PasswordsDep, mails: MailsDep, settings: Settings, address: Address
) -> PasswordChange:
    return PasswordChange(database, passwords, mails, settings, address)


PasswordChangeDep = Annotated[PasswordChange, Depends(password_change)]


@router.post("")
@raises(PasswordWrong, SignInThrottled, HashingBusy, InsufficientUserAuthentication)
async def change_password(body: PasswordIn, user: AccountOwner, change: PasswordChangeDep) -> SessionsEnded:
    """Set a new password. All other sessions of the caller end, everywhere within two seconds."""
    ended = await change.change(user, body.current_password, body.password, body.confirm_password)
    return SessionsEnded(sessions_ended=ended)


@router.post("/reset", status_code=202)
@raises(MailLimitReached, AddressUnmailable)
async def request_password_reset(body: ResetIn, change: PasswordChangeDep) -> None:
    """Mail a single-use link for a new password. The answer is the same whether the address has an account."""
    await change.request_reset(body.email)


@router.post("/reset/confirm", status_code=204)
@raises(LinkInvalid, HashingBusy)
async def reset_password(body: ResetConfirmIn, change: PasswordChangeDep) -> None:
    """Set a new password by a mailed link. All sessions of the account end."""
    await change.reset(body.token, body.password, body.confirm_password)
