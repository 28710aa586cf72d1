"""Who uses the account's pages, by the cookie of their browser. The same conditions hold as for the JSON API."""

import time
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.account_page.service import ACCOUNT, form_purpose, is_page
from auth_service.accounts.models import Account
from auth_service.authorization.flow import find_browser
from auth_service.deps import KeyringDep, Settings
from auth_service.memberships.models import Tenant, find_membership
from auth_service.mfa.service import require_second_factor, require_step_up
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.continued import sign_in_url
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused
from auth_service.sessions import browser_cookie
from auth_service.sessions.models import Session
from auth_service.sessions.service import SessionConfined
from auth_service.sessions.tokens import of_session
from auth_service.settings import AuthSettings
from auth_service.tenant_settings import lacks_second_factor
from shared.deps import DatabaseDep
from shared.identity import Principal
from shared.identity.access_tokens import ACCESS_TTL_S
from shared.problems import ImpersonationRefused, InsufficientUserAuthentication, Problem
from shared.web.early_responses import AnswerInstead


@dataclass(frozen=True, slots=True)
class Owner:
    """The person whose browser is signed in. `user` is who a token of the session, issued now, would say that it is.

    `tenant` is the one that the session is in, whose name and color the pages show.
    """

    account: Account
    session: Session
    user: Principal
    tenant: Tenant


async def owner(request: Request, database: DatabaseDep, keyring: KeyringDep, settings: Settings) -> Owner:
    """The person whose browser is signed in; anyone else is sent to the sign-in page, which comes back.

    Raises AnswerInstead, also for a session that is confined to a tenant or in which an operator acts as the person.
    """
    async with database.transaction() as db:
        browser = await find_browser(db, browser_cookie.read(request, keyring, settings), settings)
    if browser is None:
        raise AnswerInstead(_redirect(sign_in_url(_page_of(request))))
    session, account = browser.session, browser.account
    async with database.transaction(session.tenant_id) as db:
        member = await find_membership(db, session.tenant_id, account.id)
    if member is None or not member.active:
        raise AnswerInstead(_redirect(sign_in_url(_page_of(request))))
    if session.confined:
        raise AnswerInstead(_refused(request, settings, member.tenant, "account_confined", SessionConfined()))
    if session.impersonator_id is not None:
        raise AnswerInstead(_refused(request, settings, member.tenant, "account_failed", ImpersonationRefused()))
    if lacks_second_factor(session.amr, member.tenant, settings):
        raise AnswerInstead(_redirect(sign_in_url(_page_of(request))))
    expires_at = int(time.time()) + ACCESS_TTL_S
    user = of_session(account, session, member, settings.public_url, session.limited_to, expires_at=expires_at)
    return Owner(account, session, user, member.tenant)


OwnerDep = Annotated[Owner, Depends(owner)]


async def account_form(
    request: Request, fields: Form, owner: OwnerDep, keyring: KeyringDep, settings: Settings
) -> dict[str, Any]:
    """The fields of a form that one of the account's pages showed to this person. Raises AnswerInstead."""
    token = str(fields.get("csrf", ""))
    if not browser_cookie.is_form_token(token, owner.session.id, form_purpose(request.url.path), keyring):
        refused = FormRefused()
        raise AnswerInstead(
            render(request, settings, "message", message="form_refused", problem=refused, brand=owner.tenant)
        )
    return {name: value for name, value in fields.items() if name != "csrf"}


AccountForm = Annotated[dict[str, Any], Depends(account_form)]


async def confirmed(request: Request, owner: OwnerDep, database: DatabaseDep) -> Owner:
    """The person, who confirms first that it is them if they have not done so recently. Raises AnswerInstead."""
    try:
        async with database.transaction() as db:
            await require_step_up(db, owner.user)
    except InsufficientUserAuthentication:
        raise AnswerInstead(confirm_first(request)) from None
    return owner


async def confirmed_by_factor(request: Request, owner: OwnerDep, database: DatabaseDep) -> Owner:
    """The same for an operation that asks for the password itself: only a person with a factor confirms by it first."""
    try:
        async with database.transaction() as db:
            await require_second_factor(db, owner.account.id, owner.user)
    except InsufficientUserAuthentication:
        raise AnswerInstead(confirm_first(request)) from None
    return owner


ConfirmedOwner = Annotated[Owner, Depends(confirmed)]
FactorConfirmedOwner = Annotated[Owner, Depends(confirmed_by_factor)]


def confirm_first(request: Request) -> Response:
    """To the page that asks the person to confirm that it is them; it comes back."""
    return _redirect(f"{ACCOUNT}/confirm?then={quote(_page_of(request), safe='/')}")


def _refused(request: Request, settings: AuthSettings, tenant: Tenant, message: str, problem: Problem) -> Response:
    """The page that explains why this session changes no account, and leads to another sign-in."""
    return render(
        request,
        settings,
        "message",
        message=message,
        problem=problem,
        brand=tenant,
        onward=sign_in_url(_page_of(request)),
        onward_text="sign_in_as_another",
    )


def _page_of(request: Request) -> str:
    """The page that was asked for; the first one instead of a form that was sent."""
    path = request.url.path
    return path if request.method == "GET" and is_page(path) else ACCOUNT


def _redirect(url: str) -> Response:
    return RedirectResponse(url, status_code=303, headers=NO_STORE)
