from typing import Annotated

from fastapi import Depends, Response

from auth_service.deactivation.flow import Deactivation
from auth_service.deactivation.schemas import ReactivationConfirmIn, ReactivationIn
from auth_service.deps import Address, Settings
from auth_service.links.service import LinkInvalid
from auth_service.mails.deps import MailsDep
from auth_service.mails.service import AddressUnmailable, MailLimitReached
from auth_service.sessions import cookies
from auth_service.sessions.signed_in import AccountOwner
from shared.deps import DatabaseDep
from shared.problems import InsufficientUserAuthentication, raises
from shared.web.router import Router

router = Router(prefix="/auth", tags=["accounts"])


async def deactivation(database: DatabaseDep, mails: MailsDep, settings: Settings, address: Address) -> Deactivation:
    return Deactivation(database, mails, settings, address)


DeactivationDep = Annotated[Deactivation, Depends(deactivation)]


@router.post("/deactivate", status_code=204)
@raises(InsufficientUserAuthentication)
async def deactivate_account(
    user: AccountOwner, deactivation: DeactivationDep, settings: Settings, response: Response
) -> None:
    """Deactivate the caller's account: all sessions and API keys end, everywhere within two seconds.

    Needs a sign-in or step-up within ten minutes. Memberships stay. No one signs in to the account until it is
    reactivated by a mailed link (POST /auth/reactivate).
    """
    await deactivation.deactivate(user)
    cookies.expire(response, settings)


@router.post("/reactivate", status_code=202)
@raises(MailLimitReached, AddressUnmailable)
async def request_reactivation(body: ReactivationIn, deactivation: DeactivationDep) -> None:
    """Mail a single-use link that reactivates an account which its person has deactivated.

    The answer is the same whether the address has such an account.
    """
    await deactivation.request(body.email)


@router.post("/reactivate/confirm", status_code=204)
@raises(LinkInvalid)
async def reactivate_account(body: ReactivationConfirmIn, deactivation: DeactivationDep) -> None:
    """Reactivate the account by a mailed link. The person then signs in as before; API keys have to be made again."""
    await deactivation.reactivate(body.token)
