"""Where a browser goes on once it is signed in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.flow import ENDPOINT, Authorization
from auth_service.authorization.request import RequestUnusable, after_sign_in
from auth_service.clients.redirect_uris import form_action
from auth_service.keyring import Keyring
from auth_service.memberships.models import Tenant
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.continued import is_continued, split
from auth_service.sessions import browser_cookie
from auth_service.settings import AuthSettings
from auth_service.sign_in.schemas import MAX_IDENTIFIER_LENGTH

SIGNED_IN_PAGE: Final = "/auth/pages/signed-in"


@dataclass(frozen=True, slots=True)
class Continuation:
    """Where a sign-in continues, and what its pages take from there.

    `url` is empty where it continues nowhere, `form_actions` are the origins at which a form may end besides this one,
    `username` is whom the client expects, `languages` are those that it asks for. `tenant` is the one that the sign-in
    is for, if the request or its client names one.
    """

    url: str = ""
    form_actions: Sequence[str] = ()
    username: str = ""
    languages: str | None = None
    tenant: Tenant | None = None


async def continuation(authorization: Authorization, continued: str, named_tenant: str | None = None) -> Continuation:
    """What the pages of a sign-in need to know about `continued`, which a link or a form names. Raises RequestUnusable.

    The client's hint only fills in the form; whether such an account exists is not looked up. `named_tenant` is the one
    that the browser's address names.
    """
    path, query = split(continued)
    if not is_continued(continued) or path != ENDPOINT:
        url = continued if is_continued(continued) else ""
        return Continuation(url, tenant=await authorization.tenant(named_tenant))
    hints = await authorization.hints(query)
    hint = hints.login_hint or ""
    username = hint if hint.isprintable() and len(hint) <= MAX_IDENTIFIER_LENGTH else ""
    tenant = hints.tenant or await authorization.tenant(named_tenant)
    return Continuation(continued, (form_action(hints.redirect_uri),), username, hints.ui_locales, tenant)


async def kept_continuation(authorization: Authorization, continued: str) -> Continuation:
    """The same for what the browser has kept while its person looked for a mail: nowhere if it is not usable now."""
    try:
        return await continuation(authorization, continued)
    except RequestUnusable:  # such as a pushed request, which ends after minutes
        return Continuation()


def signed_in(session_id: UUID, continued: str, keyring: Keyring, settings: AuthSettings) -> Response:
    """Signs the browser in by the session, and sends it on."""
    response = RedirectResponse(_next(continued), status_code=303, headers=NO_STORE)
    browser_cookie.put(response, session_id, keyring, settings)
    return response


def _next(continued: str) -> str:
    if not is_continued(continued):
        return SIGNED_IN_PAGE
    path, query = split(continued)
    return f"{path}?{after_sign_in(query)}" if path == ENDPOINT else continued
