from typing import Any, Final
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from auth_service.authorization import service
from auth_service.authorization.consent_page import consent_page
from auth_service.authorization.deps import AuthorizationDep
from auth_service.authorization.flow import ENDPOINT
from auth_service.authorization.outcomes import ConsentNeeded, Outcome, ReturnOffered, SendTo, SignInNeeded
from auth_service.authorization.request import RequestUnusable
from auth_service.clients.deps import ClientDep, OAuthForm
from auth_service.clients.redirect_uris import form_action
from auth_service.deps import KeyringDep, Settings
from auth_service.dpop import service as dpop
from auth_service.dpop.deps import DpopProof
from auth_service.keyring import Keyring
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused
from auth_service.sessions import browser_cookie
from auth_service.settings import AuthSettings
from shared.deps import DatabaseDep
from shared.web.router import Router

router = Router(prefix="/oauth2", tags=["oauth2"])

SIGN_IN_PAGE: Final = "/auth/pages/sign-in"
_PAGE: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "The consent page.", "content": {"text/html": {}}},
    400: {"description": "A page: the request cannot be answered at the client.", "content": {"text/html": {}}},
    303: {"description": "To the sign-in page, or to the client with `code`, `state` and `iss`, or with `error`."},
}


class PushedOut(BaseModel):
    """RFC 9126, section 2.2."""

    request_uri: str = Field(examples=["urn:ietf:params:oauth:request_uri:q3mZ0w…"])
    expires_in: int = Field(default=service.PUSHED_TTL_S, description="Seconds.")


@router.get("/authorize", response_class=Response, status_code=303, responses=_PAGE)
async def authorize(
    request: Request, authorization: AuthorizationDep, keyring: KeyringDep, settings: Settings
) -> Response:
    """Start a sign-in to a client: authorization code with PKCE (RFC 6749, section 4.1; RFC 7636)."""
    return await _decided(request, request.url.query, authorization, keyring, settings)


@router.post("/authorize", response_class=Response, status_code=303, responses=_PAGE)
async def authorize_by_form(
    request: Request, authorization: AuthorizationDep, keyring: KeyringDep, settings: Settings
) -> Response:
    """The same, with the parameters as a form (OpenID Connect Core 1.0, section 3.1.2.1)."""
    body = (await request.body()).decode("ascii", "replace")
    return RedirectResponse(f"{ENDPOINT}?{body}" if body else ENDPOINT, status_code=303)


@router.post("/consent", include_in_schema=False)
async def submit_consent(
    request: Request, fields: Form, authorization: AuthorizationDep, keyring: KeyringDep, settings: Settings
) -> Response:
    query = fields.get("request", "")
    session_id = browser_cookie.read(request, keyring, settings)
    token = fields.get("csrf", "")
    if session_id is None or not browser_cookie.is_form_token(token, session_id, query, keyring):
        return render(request, settings, "message", message="form_refused", problem=FormRefused())
    try:
        outcome = await authorization.answer(query, session_id, allowed=fields.get("decision") == "allow")
    except RequestUnusable as problem:
        return render(request, settings, "message", message="request_unusable", problem=problem)
    return _shown(request, outcome, keyring, settings, query)


@router.post("/par", status_code=201)
async def push_authorization_request(
    proof: DpopProof,
    client: ClientDep,
    form: OAuthForm,
    database: DatabaseDep,
    settings: Settings,
    response: Response,
) -> PushedOut:
    """Send an authorization request ahead (RFC 9126); `request_uri` replaces it, once, for ten minutes.

    A DPoP proof binds the code to its key, as `dpop_jkt` does (RFC 9449, section 10.1).
    """
    response.headers.update(NO_STORE)
    if proof is not None:
        async with database.transaction() as db:
            await dpop.use(db, client, proof)
        form = dpop.bound(form, proof)
    async with database.transaction() as db:
        return PushedOut(request_uri=await service.push(db, client, form, settings.public_url))


async def _decided(
    request: Request, query: str, authorization: AuthorizationDep, keyring: Keyring, settings: AuthSettings
) -> Response:
    try:
        outcome = await authorization.decide(query, browser_cookie.read(request, keyring, settings))
    except RequestUnusable as problem:
        return render(request, settings, "message", message="request_unusable", problem=problem)
    return _shown(request, outcome, keyring, settings, query)


def _shown(request: Request, outcome: Outcome, keyring: Keyring, settings: AuthSettings, query: str) -> Response:
    if isinstance(outcome, SendTo):
        return RedirectResponse(outcome.url, status_code=303, headers=NO_STORE)
    if isinstance(outcome, SignInNeeded):
        continued = quote(f"{ENDPOINT}?{outcome.query}", safe="")
        return RedirectResponse(f"{SIGN_IN_PAGE}?continue={continued}", status_code=303, headers=NO_STORE)
    if isinstance(outcome, ReturnOffered):
        return _return_page(request, outcome, settings)
    return _consent_page(request, outcome, keyring, settings, query)


def _return_page(request: Request, offered: ReturnOffered, settings: AuthSettings) -> Response:
    return render(
        request,
        settings,
        "request_refused",
        problem=RequestUnusable("The person is not a member of the client's tenant."),
        client=offered.client.name,
        origin=form_action(offered.redirect_uri),
        onward=offered.url,
    )


def _consent_page(
    request: Request, asked: ConsentNeeded, keyring: Keyring, settings: AuthSettings, query: str
) -> Response:
    return consent_page(
        request,
        settings,
        asked.request.client,
        asked.browser,
        asked.member,
        asked.scopes,
        action="/oauth2/consent",
        fields={"request": query, "csrf": browser_cookie.form_token(asked.browser.session.id, query, keyring)},
        form_actions=[form_action(asked.request.redirect_uri)],
        languages=asked.request.ui_locales,
        other=f"{SIGN_IN_PAGE}?continue={quote(f'{ENDPOINT}?{query}', safe='')}",
    )
