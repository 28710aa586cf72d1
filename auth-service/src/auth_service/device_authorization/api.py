from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.consent_page import consent_page
from auth_service.authorization.deps import AuthorizationDep
from auth_service.authorization.flow import find_browser
from auth_service.authorization.outcomes import Browser
from auth_service.clients.deps import ClientDep, OAuthForm
from auth_service.deps import KeyringDep, Settings
from auth_service.device_authorization import service
from auth_service.device_authorization.flow import Asked, DeviceApproval
from auth_service.device_authorization.schemas import DeviceAuthorizationOut
from auth_service.forms import FORM
from auth_service.keyring import Keyring
from auth_service.oauth_errors import NO_STORE, OAuthError
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused
from auth_service.sessions import browser_cookie
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.deps import DatabaseDep
from shared.problems import Problem, raises
from shared.web.router import Router

router = Router(tags=["oauth2"])

PAGE: Final = "/oauth2/device"
_SIGN_IN_PAGE: Final = "/auth/pages/sign-in"
_EXAMPLE: Final = {"client_id": "01890a5d-ac96-774b-bcce-b302099a8057", "scope": "openid offline_access jobs:read"}
_FORM: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in _EXAMPLE},
                    "example": _EXAMPLE,
                }
            }
        },
    }
}


async def approval(authorization: AuthorizationDep) -> DeviceApproval:
    return DeviceApproval(authorization.database, authorization.tenants, authorization.settings, authorization.address)


ApprovalDep = Annotated[DeviceApproval, Depends(approval)]


@router.post("/oauth2/device_authorization", openapi_extra=_FORM)
@raises(
    OAuthError("unauthorized_client", "The client is not registered for the device grant."),
    OAuthError("invalid_scope", "None of the scopes is one that the client is registered for."),
    OAuthError("invalid_target", "The client's tokens cannot be for this resource."),
    OAuthError("temporarily_unavailable", "Too many devices wait for an answer. Try again in a minute."),
)
async def authorize_device(
    client: ClientDep, form: OAuthForm, database: DatabaseDep, settings: Settings, response: Response
) -> DeviceAuthorizationOut:
    """Get a code that the person enters in a browser, and one to poll the token endpoint with (RFC 8628)."""
    response.headers.update(NO_STORE)
    async with database.transaction() as db:
        device_code, user_code = await service.issue(db, client, form, settings.public_url)
    uri = f"{settings.public_url}{PAGE}"
    return DeviceAuthorizationOut(
        device_code=device_code,
        user_code=user_code,
        verification_uri=uri,
        verification_uri_complete=f"{uri}?user_code={user_code}",
    )


@router.get(PAGE, include_in_schema=False)
async def show_device(
    request: Request,
    database: DatabaseDep,
    keyring: KeyringDep,
    settings: Settings,
    user_code: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    browser = await _browser(request, database, keyring, settings)
    if browser is None:
        return _to_sign_in(user_code)
    return _page(request, browser, keyring, settings, user_code)


@router.post(PAGE, include_in_schema=False)
async def submit_device(
    request: Request,
    fields: Form,
    approval: ApprovalDep,
    database: DatabaseDep,
    keyring: KeyringDep,
    settings: Settings,
) -> Response:
    user_code, decision, token = fields.get("user_code", ""), fields.get("decision"), fields.get("csrf", "")
    browser = await _browser(request, database, keyring, settings)
    if browser is None:
        return _to_sign_in(user_code)
    purpose = _purpose(user_code if decision else "")
    if not browser_cookie.is_form_token(token, browser.session.id, purpose, keyring):
        return render(request, settings, "message", message="form_refused", problem=FormRefused())
    try:
        if decision is None:
            asked = await approval.look_up(browser, user_code)
            return _consent_page(request, browser, asked, keyring, settings)
        await approval.answer(browser, user_code, allowed=decision == "allow")
    except Problem as problem:
        return _page(request, browser, keyring, settings, user_code, problem)
    answered = "device-allowed" if decision == "allow" else "device-refused"
    return RedirectResponse(f"/auth/pages/{answered}", status_code=303, headers=NO_STORE)


@router.get("/auth/pages/device-allowed", include_in_schema=False)
async def show_device_allowed(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="device_allowed")


@router.get("/auth/pages/device-refused", include_in_schema=False)
async def show_device_refused(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="device_refused")


async def _browser(request: Request, database: Database, keyring: Keyring, settings: AuthSettings) -> Browser | None:
    async with database.transaction() as db:
        return await find_browser(db, browser_cookie.read(request, keyring, settings), settings)


def _to_sign_in(user_code: str) -> Response:
    """The sign-in page, which comes back with the code."""
    typed = service.typed(user_code)
    continued = PAGE if typed is None else f"{PAGE}?user_code={service.shown(typed)}"
    url = f"{_SIGN_IN_PAGE}?continue={quote(continued, safe='')}"
    return RedirectResponse(url, status_code=303, headers=NO_STORE)


def _page(
    request: Request,
    browser: Browser,
    keyring: Keyring,
    settings: AuthSettings,
    user_code: str,
    problem: Problem | None = None,
) -> Response:
    """The page that asks for the code; a code from the URL is filled in, for the person to compare (section 3.3.1)."""
    return render(
        request,
        settings,
        "device",
        problem=problem,
        brand=browser.tenant,
        username=browser.account.username,
        user_code=user_code[:40],
        other=f"{_SIGN_IN_PAGE}?continue={quote(PAGE, safe='')}",
        csrf=browser_cookie.form_token(browser.session.id, _purpose(""), keyring),
    )


def _consent_page(
    request: Request, browser: Browser, asked: Asked, keyring: Keyring, settings: AuthSettings
) -> Response:
    token = browser_cookie.form_token(browser.session.id, _purpose(asked.user_code), keyring)
    return consent_page(
        request,
        settings,
        asked.client,
        browser,
        asked.member,
        asked.scopes,
        action=PAGE,
        fields={"user_code": asked.user_code, "csrf": token},
        device_code=service.shown(asked.user_code),
    )


def _purpose(user_code: str) -> str:
    """What a form token is for: entering a code, or deciding about the one whose consent page was shown."""
    return f"device {user_code}"
