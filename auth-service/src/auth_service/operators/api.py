"""The page behind an operator's link. It needs a recent sign-in in the browser; opening it spends nothing."""

import re
from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.flow import find_browser
from auth_service.authorization.outcomes import Browser
from auth_service.deps import Address, KeyringDep, Settings, UsersClient
from auth_service.keyring import Keyring
from auth_service.mfa.service import RECENT_S
from auth_service.oauth_errors import NO_STORE
from auth_service.operators.flow import Operators
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

PAGE: Final = "/oauth2/operator"
_ADDED_PAGE: Final = "/auth/pages/operator-added"
_SIGN_IN_PAGE: Final = "/auth/pages/sign-in"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


async def operators(database: DatabaseDep, users: UsersClient, settings: Settings, address: Address) -> Operators:
    return Operators(database, users, settings, address)


OperatorsDep = Annotated[Operators, Depends(operators)]


@router.get(PAGE)
async def show_operator(
    request: Request,
    operators: OperatorsDep,
    keyring: KeyringDep,
    settings: Settings,
    token: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    browser = await _browser(request, operators.database, keyring, settings)
    if browser is None:
        return _to_sign_in(token)
    try:
        tenant = await operators.look_up(token, browser)
    except Problem as problem:
        return render(request, settings, "message", message="operator_refused", problem=problem)
    return render(
        request,
        settings,
        "operator",
        username=browser.account.username,
        tenant=tenant.name,
        token=token,
        other=_sign_in_url(token),
        csrf=browser_cookie.form_token(browser.session.id, _purpose(token), keyring),
    )


@router.post(PAGE)
async def submit_operator(
    request: Request, fields: Form, operators: OperatorsDep, keyring: KeyringDep, settings: Settings
) -> Response:
    token = fields.get("token", "")
    browser = await _browser(request, operators.database, keyring, settings)
    if browser is None:
        return _to_sign_in(token)
    if not browser_cookie.is_form_token(fields.get("csrf", ""), browser.session.id, _purpose(token), keyring):
        return render(request, settings, "message", message="form_refused", problem=FormRefused())
    try:
        await operators.accept(token, browser)
    except Problem as problem:
        return render(request, settings, "message", message="operator_refused", problem=problem)
    return RedirectResponse(_ADDED_PAGE, status_code=303, headers=NO_STORE)


@router.get(_ADDED_PAGE)
async def show_operator_added(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="operator_added")


async def _browser(request: Request, database: Database, keyring: Keyring, settings: AuthSettings) -> Browser | None:
    """The person who signed in to this browser a moment ago, with their second factor; None: they sign in again."""
    async with database.transaction() as db:
        browser = await find_browser(db, browser_cookie.read(request, keyring, settings), settings)
    if browser is None or (datetime.now(UTC) - browser.session.auth_time).total_seconds() > RECENT_S:
        return None
    return browser


def _to_sign_in(token: str) -> Response:
    """The sign-in page, which comes back with the link."""
    return RedirectResponse(_sign_in_url(token), status_code=303, headers=NO_STORE)


def _sign_in_url(token: str) -> str:
    continued = f"{PAGE}?token={token}" if _TOKEN.fullmatch(token) else PAGE
    return f"{_SIGN_IN_PAGE}?continue={quote(continued, safe='')}"


def _purpose(token: str) -> str:
    """What the form token is for: no token of another page makes an operator."""
    return f"operator {token}"
