"""The page on which a person deactivates their account; it says how they reactivate it."""

from contextlib import suppress
from typing import Final

from fastapi import Response
from fastapi.responses import RedirectResponse

from auth_service.account_page.deps import AccountForm, ConfirmedOwner
from auth_service.account_page.page import AccountPageDep
from auth_service.account_page.service import ACCOUNT
from auth_service.deactivation.api import DeactivationDep
from auth_service.deps import Settings
from auth_service.oauth_errors import NO_STORE
from auth_service.sessions import browser_cookie
from shared.problems import InvalidToken
from shared.web.router import Router

_DEACTIVATED_PAGE: Final = "/auth/pages/deactivated"

router = Router(prefix=f"{ACCOUNT}/deactivate", include_in_schema=False)


@router.get("")
async def show_deactivate(owner: ConfirmedOwner, page: AccountPageDep) -> Response:
    return page.show("deactivate", email=owner.account.email)


@router.post("")
async def submit_deactivate(
    fields: AccountForm, owner: ConfirmedOwner, deactivation: DeactivationDep, settings: Settings
) -> Response:
    with suppress(InvalidToken):  # it was deactivated meanwhile
        await deactivation.deactivate(owner.user)
    response = RedirectResponse(_DEACTIVATED_PAGE, status_code=303, headers=NO_STORE)
    browser_cookie.expire(response, settings)
    return response
