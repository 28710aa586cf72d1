"""The pages of a visit to an upstream issuer, and the request that begins to link an identity."""

from typing import Annotated

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.deps import AuthorizationDep
from auth_service.browser_sign_in.continuing import continuation, signed_in
from auth_service.browser_sign_in.factor_api import FactorPageDep
from auth_service.deps import Address, KeyringDep, Settings
from auth_service.identity_providers.deps import IssuersDep, OutboundDep
from auth_service.identity_providers.service import IdentityProviderNotFound
from auth_service.keyring import Keyring
from auth_service.oauth_errors import NO_STORE
from auth_service.pages.rendering import render
from auth_service.registration.api import RegistrationDep
from auth_service.sessions.service import SessionConfined
from auth_service.sessions.signed_in import AccountOwner
from auth_service.settings import AuthSettings
from auth_service.sign_in.api import SignInDep
from auth_service.upstream_sign_in import browser_secret
from auth_service.upstream_sign_in.flow import Finished, IssuerAnswer, UpstreamSignIn
from auth_service.upstream_sign_in.schemas import LinkOut, StartQuery
from auth_service.upstream_sign_in.service import CeremonyInvalid, LinkNeeded, UpstreamUnusable, new_browser_secret
from shared.deps import DatabaseDep, ExampleId
from shared.problems import InsufficientUserAuthentication, Problem, raises
from shared.web.router import Router

pages = Router(prefix="/auth/upstream", include_in_schema=False)
router = Router(prefix="/auth/identities", tags=["identities"])

LINKED_PAGE = "/auth/upstream/linked"
_MOST = 4096
_MESSAGES: dict[type[Problem], str] = {LinkNeeded: "link_needed", SessionConfined: "account_confined"}


async def upstream_sign_in(
    database: DatabaseDep,
    issuers: IssuersDep,
    outbound: OutboundDep,
    keyring: KeyringDep,
    sign_in: SignInDep,
    registration: RegistrationDep,
    settings: Settings,
    address: Address,
) -> UpstreamSignIn:
    return UpstreamSignIn(database, issuers, outbound, keyring, sign_in, registration, settings, address)


UpstreamSignInDep = Annotated[UpstreamSignIn, Depends(upstream_sign_in)]


@pages.get("/{provider_id}/start")
async def start_upstream_sign_in(
    provider_id: ExampleId,
    query: Annotated[StartQuery, Query()],
    request: Request,
    upstream: UpstreamSignInDep,
    settings: Settings,
) -> Response:
    browser = browser_secret.read(request, settings) or new_browser_secret()
    try:
        url = await upstream.start(provider_id, browser, continued=query.continued, tenant=query.tenant)
    except Problem as problem:
        return _failed(request, settings, problem)
    response = RedirectResponse(url, status_code=303, headers=NO_STORE)
    browser_secret.put(response, browser, settings)
    return response


@pages.get("/{provider_id}/callback")
async def finish_upstream_sign_in(
    provider_id: ExampleId,
    request: Request,
    upstream: UpstreamSignInDep,
    page: FactorPageDep,
    authorization: AuthorizationDep,
    keyring: KeyringDep,
    settings: Settings,
) -> Response:
    browser = browser_secret.read(request, settings)
    try:
        answer = _answer(request)
        if browser is None or answer is None:
            raise CeremonyInvalid
        finished = await upstream.finish(provider_id, browser, answer)
        if finished.required is not None:
            return await page.first(finished.required, await continuation(authorization, finished.continued))
    except Problem as problem:
        return _failed(request, settings, problem)
    return _arrived(finished, keyring, settings)


@pages.get("/linked")
async def show_linked(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="identity_linked")


@router.post("/{provider_id}/link", status_code=201)
@raises(IdentityProviderNotFound, UpstreamUnusable, InsufficientUserAuthentication)
async def start_link(
    provider_id: ExampleId,
    user: AccountOwner,
    request: Request,
    upstream: UpstreamSignInDep,
    settings: Settings,
    response: Response,
) -> LinkOut:
    """Begin to link who the caller is at an identity provider: open `authorization_url` in the same browser.

    Needs a recent sign-in or step-up, because the identity is another way to sign in.
    The answer's cookie binds it to this browser. The identity signs in to this account once the visit there is over.
    """
    browser = browser_secret.read(request, settings) or new_browser_secret()
    url = await upstream.start_link(provider_id, browser, user)
    browser_secret.put(response, browser, settings)
    response.headers.update(NO_STORE)
    return LinkOut(authorization_url=url)


def _answer(request: Request) -> IssuerAnswer | None:
    """The parameters of the answer; None for one without a state, and where a parameter is repeated or too long."""
    pairs = request.query_params.multi_items()
    found = dict(pairs)
    if len(found) < len(pairs) or not found.get("state") or any(len(value) > _MOST for value in found.values()):
        return None
    code = None if "error" in found else found.get("code") or None
    return IssuerAnswer(state=found["state"], code=code, iss=found.get("iss"))


def _arrived(finished: Finished, keyring: Keyring, settings: AuthSettings) -> Response:
    if finished.session_id is None:
        return RedirectResponse(finished.continued or LINKED_PAGE, status_code=303, headers=NO_STORE)
    return signed_in(finished.session_id, finished.continued, keyring, settings)


def _failed(request: Request, settings: AuthSettings, problem: Problem) -> Response:
    message = _MESSAGES.get(type(problem), "upstream_failed")
    return render(request, settings, "message", message=message, problem=problem)
