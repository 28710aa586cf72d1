from typing import Annotated

from fastapi import Query, Request, Response

from auth_service.authorization.deps import AuthorizationDep
from auth_service.authorization.flow import Authorization
from auth_service.authorization.request import RequestUnusable
from auth_service.browser_sign_in.continuing import continuation, signed_in
from auth_service.browser_sign_in.factor_api import FactorPageDep
from auth_service.browser_sign_in.offered import Offered, OfferedProviders, start_url
from auth_service.browser_sign_in.schemas import SignInForm
from auth_service.deps import KeyringDep, Settings
from auth_service.forms import validated
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.sign_in.api import SignInDep
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.service import MfaRequired
from shared.problems import Problem
from shared.web.router import Router

router = Router(prefix="/auth/pages", include_in_schema=False)


@router.get("/sign-in")
async def show_sign_in(
    request: Request,
    settings: Settings,
    authorization: AuthorizationDep,
    offered: OfferedProviders,
    continued: Annotated[str, Query(alias="continue", max_length=10_000)] = "",
) -> Response:
    return await _page(request, settings, authorization, offered, continued)


@router.post("/sign-in")
async def submit_sign_in(
    request: Request,
    fields: Form,
    sign_in: SignInDep,
    page: FactorPageDep,
    authorization: AuthorizationDep,
    offered: OfferedProviders,
    keyring: KeyringDep,
    settings: Settings,
) -> Response:
    continued = fields.get("continue", "")
    try:
        form = validated(SignInForm, {name: value for name, value in fields.items() if value})
        tokens = await sign_in.with_password(form.username, form.password, Choices(tenant=form.tenant))
    except MfaRequired as required:
        return await page.first(required, await continuation(authorization, continued, offered.named_tenant))
    except Problem as problem:
        username = fields.get("username", "")
        return await _page(request, settings, authorization, offered, continued, username=username, problem=problem)
    return signed_in(tokens.session_id, continued, keyring, settings)


@router.get("/signed-in")
async def show_signed_in(request: Request, settings: Settings) -> Response:
    return render(
        request, settings, "message", message="signed_in", onward="/oauth2/account", onward_text="account_open"
    )


@router.get("/signed-out")
async def show_signed_out(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="signed_out")


async def _page(
    request: Request,
    settings: Settings,
    authorization: Authorization,
    offered: Offered,
    continued: str,
    *,
    username: str = "",
    problem: Problem | None = None,
) -> Response:
    try:
        continuing = await continuation(authorization, continued, offered.named_tenant)
    except RequestUnusable as unusable:
        return render(request, settings, "message", message="request_unusable", problem=unusable)
    providers = await offered.of(continuing.tenant)
    return render(
        request,
        settings,
        "sign_in",
        problem=problem,
        form_actions=continuing.form_actions,
        languages=continuing.languages,
        brand=continuing.tenant,
        continued=continuing.url,
        username=username or continuing.username,
        providers=[{"name": provider.name, "start": start_url(provider.id, continuing.url)} for provider in providers],
    )
