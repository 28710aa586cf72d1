from contextlib import suppress
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.flow import find_browser
from auth_service.authorization.outcomes import Browser
from auth_service.clients.redirect_uris import form_action
from auth_service.deps import Address, KeyringDep, Settings
from auth_service.keyring import Keyring
from auth_service.logout import service
from auth_service.logout.service import LogoutRequest, LogoutUnusable
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused
from auth_service.sessions import browser_cookie, ending
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.deps import DatabaseDep
from shared.web.router import Router

router = Router(prefix="/oauth2/logout", tags=["oauth2"])

SIGNED_OUT_PAGE: Final = "/auth/pages/signed-out"
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "A page that asks the person to confirm.", "content": {"text/html": {}}},
    303: {"description": "Signed out: to `post_logout_redirect_uri` with `state`, or to a page of this server."},
}


@router.get("", response_class=Response, status_code=303, responses=_PAGE)
async def logout_browser(
    request: Request, database: DatabaseDep, keyring: KeyringDep, settings: Settings, address: Address
) -> Response:
    """Sign the person out of this browser and of what they opened from it (RP-Initiated Logout 1.0, section 2).

    With an `id_token_hint` of the browser's own sign-in at once; otherwise the person is asked.
    """
    query = request.url.query
    try:
        asked, browser = await _read(request, query, database, keyring, settings)
    except LogoutUnusable as problem:
        return render(request, settings, "message", message="logout_unusable", problem=problem)
    if browser is None or asked.is_of(browser.session.id, browser.account.id):
        return await _signed_out(asked, browser, database, settings, address)
    return render(
        request,
        settings,
        "logout",
        form_actions=[form_action(asked.redirect_uri)] if asked.redirect_uri else [],
        languages=asked.ui_locales,
        brand=browser.tenant,
        username=browser.account.username,
        client=asked.client.name if asked.client else None,
        query=query,
        csrf=browser_cookie.form_token(browser.session.id, _purpose(query), keyring),
    )


@router.post("", response_class=Response, status_code=303, responses={303: {"description": "To the GET of this."}})
async def logout_browser_by_form(request: Request) -> Response:
    """The same, with the parameters as a form. The redirect brings the cookie, which no other site's form does."""
    body = (await request.body()).decode("ascii", "replace")
    return RedirectResponse(f"/oauth2/logout?{body}", status_code=303, headers=NO_STORE)


@router.post("/confirm", include_in_schema=False)
async def confirm_logout(
    request: Request, fields: Form, database: DatabaseDep, keyring: KeyringDep, settings: Settings, address: Address
) -> Response:
    query = fields.get("request", "")
    session_id = browser_cookie.read(request, keyring, settings)
    token = fields.get("csrf", "")
    if session_id is None or not browser_cookie.is_form_token(token, session_id, _purpose(query), keyring):
        return render(request, settings, "message", message="form_refused", problem=FormRefused())
    try:
        asked, browser = await _read(request, query, database, keyring, settings)
    except LogoutUnusable as problem:
        return render(request, settings, "message", message="logout_unusable", problem=problem)
    return await _signed_out(asked, browser, database, settings, address)


async def _read(
    request: Request, query: str, database: Database, keyring: Keyring, settings: AuthSettings
) -> tuple[LogoutRequest, Browser | None]:
    async with database.transaction() as db:
        asked = await service.read(db, query, settings.public_url)
        return asked, await find_browser(db, browser_cookie.read(request, keyring, settings), settings)


async def _signed_out(
    asked: LogoutRequest, browser: Browser | None, database: Database, settings: AuthSettings, address: str
) -> Response:
    """End the browser's session, which ends what clients opened by it, and send the browser on.

    One that is not signed in goes to no client without a hint (RP-Initiated Logout 1.0, section 3): anyone may have
    registered that address.
    """
    if browser is not None:
        async with database.transaction() as db:
            with suppress(ending.SessionNotFound):  # a concurrent sign-out has ended it
                await ending.end_own(db, browser.account.id, browser.session.id, "logout", address)
    target = None if browser is None and asked.hinted is None else asked.target
    response = RedirectResponse(target or SIGNED_OUT_PAGE, status_code=303, headers=NO_STORE)
    browser_cookie.expire(response, settings)
    return response


def _purpose(query: str) -> str:
    """What the form token is for: no token of another page confirms a sign-out."""
    return f"logout {query}"
