"""The page behind an invitation. Opening it spends nothing; accepting needs a sign-in in the browser."""

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.flow import find_browser
from auth_service.authorization.outcomes import Browser
from auth_service.deps import Address, KeyringDep, Settings, UsersClient
from auth_service.invitations.flow import Invitations, is_token
from auth_service.keyring import Keyring
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.continued import sign_in_url
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused
from auth_service.sessions import browser_cookie
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.deps import DatabaseDep
from shared.problems import Problem
from shared.web.router import Router

router = Router(include_in_schema=False)

MAILED_PAGE: Final = "/auth/pages/invitation"
PAGE: Final = "/oauth2/invitation"  # below the path of the browser's cookie
_ACCEPTED_PAGE: Final = "/auth/pages/invitation-accepted"

Token = Annotated[str, Query(max_length=200)]


async def invitations(database: DatabaseDep, users: UsersClient, address: Address) -> Invitations:
    return Invitations(database, users, address)


InvitationsDep = Annotated[Invitations, Depends(invitations)]


@router.get(MAILED_PAGE)
async def open_invitation(token: Token = "") -> Response:
    return RedirectResponse(_page(token), status_code=303, headers=NO_STORE)


@router.get(PAGE)
async def show_invitation(
    request: Request, invitations: InvitationsDep, keyring: KeyringDep, settings: Settings, token: Token = ""
) -> Response:
    """What is offered, also to a person who is not signed in yet."""
    try:
        offer, tenant = await invitations.find(token)
    except Problem as problem:
        return _refused(request, settings, problem)
    browser = await _browser(request, invitations.database, keyring, settings)
    return render(
        request,
        settings,
        "invitation",
        brand=tenant,
        offer=offer,
        roles=", ".join(offer.roles),
        username=browser.account.username if browser else "",
        token=token,
        sign_in=sign_in_url(_page(token)),
        csrf=browser_cookie.form_token(browser.session.id, _purpose(token), keyring) if browser else "",
    )


@router.post(PAGE)
async def submit_invitation(
    request: Request, fields: Form, invitations: InvitationsDep, keyring: KeyringDep, settings: Settings
) -> Response:
    token = fields.get("token", "")
    browser = await _browser(request, invitations.database, keyring, settings)
    if browser is None:
        return RedirectResponse(sign_in_url(_page(token)), status_code=303, headers=NO_STORE)
    if not browser_cookie.is_form_token(fields.get("csrf", ""), browser.session.id, _purpose(token), keyring):
        return render(request, settings, "message", message="form_refused", problem=FormRefused())
    try:
        await invitations.accept(token, browser)
    except Problem as problem:
        return _refused(request, settings, problem, onward=sign_in_url(_page(token)))
    return RedirectResponse(_ACCEPTED_PAGE, status_code=303, headers=NO_STORE)


@router.get(_ACCEPTED_PAGE)
async def show_invitation_accepted(request: Request, settings: Settings) -> Response:
    return render(
        request,
        settings,
        "message",
        message="invitation_accepted",
        onward="/oauth2/account",
        onward_text="account_open",
    )


async def _browser(request: Request, database: Database, keyring: Keyring, settings: AuthSettings) -> Browser | None:
    async with database.transaction() as db:
        return await find_browser(db, browser_cookie.read(request, keyring, settings), settings)


def _refused(request: Request, settings: AuthSettings, problem: Problem, onward: str | None = None) -> Response:
    more: dict[str, Any] = {"onward": onward, "onward_text": "sign_in_as_another"} if onward else {}
    return render(request, settings, "message", message="invitation_refused", problem=problem, **more)


def _page(token: str) -> str:
    return f"{PAGE}?token={quote(token, safe='')}" if is_token(token) else PAGE


def _purpose(token: str) -> str:
    """What the form token is for: no token of another page accepts an invitation."""
    return f"invitation {token}"
