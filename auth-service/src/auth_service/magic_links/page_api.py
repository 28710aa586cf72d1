"""The pages of signing in by a mailed link. Opening the link spends nothing."""

from typing import Annotated

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.authorization.deps import AuthorizationDep
from auth_service.browser_sign_in.continuing import kept_continuation, signed_in
from auth_service.browser_sign_in.factor_api import FactorPageDep
from auth_service.deps import KeyringDep, NamedTenant, Settings
from auth_service.forms import validated
from auth_service.magic_links import cookie
from auth_service.magic_links.deps import MagicLinksDep
from auth_service.magic_links.schemas import MagicLinkConfirmIn, MagicLinkIn
from auth_service.magic_links.service import CodeWrong, OtherBrowser
from auth_service.pages.continued import forget_continued, keep_continued, kept_continued, known
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.settings import AuthSettings
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.service import MfaRequired
from shared.problems import Problem
from shared.web.router import Router

router = Router(prefix="/auth/pages/magic-link", include_in_schema=False)


@router.get("")
async def show_magic_link(
    request: Request, settings: Settings, continued: Annotated[str, Query(alias="continue", max_length=10_000)] = ""
) -> Response:
    return render(request, settings, "magic_link", continued=known(continued), email="")


@router.post("")
async def submit_magic_link(request: Request, settings: Settings, fields: Form, links: MagicLinksDep) -> Response:
    browser, continued = cookie.read_or_make(request, settings), known(fields.pop("continue", ""))
    try:
        await links.request(validated(MagicLinkIn, fields).email, browser)
    except Problem as problem:
        email = fields.get("email", "")
        return render(request, settings, "magic_link", continued=continued, email=email, problem=problem)
    response = RedirectResponse("/auth/pages/magic-link/sent", status_code=303)
    cookie.put(response, browser, settings)
    keep_continued(response, continued, settings)
    return response


@router.get("/sent")
async def show_magic_link_sent(request: Request, settings: Settings, authorization: AuthorizationDep) -> Response:
    continuing = await kept_continuation(authorization, kept_continued(request, settings))
    return render(request, settings, "magic_link_sent", form_actions=continuing.form_actions)


@router.get("/confirm")
async def show_magic_link_confirm(
    request: Request,
    settings: Settings,
    links: MagicLinksDep,
    authorization: AuthorizationDep,
    token: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    continued = kept_continued(request, settings)
    try:
        await links.look_up(token, cookie.read(request, settings))
    except OtherBrowser as other:
        return render(request, settings, "magic_link_code", code=other.code_to_type)
    except Problem as problem:
        return render(request, settings, "magic_link", continued=continued, email="", problem=problem)
    continuing = await kept_continuation(authorization, continued)
    return render(request, settings, "magic_link_confirm", form_actions=continuing.form_actions, token=token)


@router.post("/confirm")
async def submit_magic_link_confirm(
    request: Request,
    settings: Settings,
    keyring: KeyringDep,
    fields: Form,
    links: MagicLinksDep,
    page: FactorPageDep,
    authorization: AuthorizationDep,
    named_tenant: NamedTenant,
) -> Response:
    browser = cookie.read(request, settings)
    continuing = await kept_continuation(authorization, kept_continued(request, settings))
    try:
        body = validated(MagicLinkConfirmIn, fields)
        choices = Choices(tenant_beside=named_tenant)
        tokens = await links.confirm(token=body.token, code=body.code, browser=browser, choices=choices)
    except OtherBrowser as other:
        return render(request, settings, "magic_link_code", code=other.code_to_type)
    except MfaRequired as required:
        return _spent(await page.first(required, continuing), settings)
    except CodeWrong as problem:
        actions = continuing.form_actions
        return render(request, settings, "magic_link_sent", form_actions=actions, problem=problem)
    except Problem as problem:
        return render(request, settings, "magic_link", continued=continuing.url, email="", problem=problem)
    return _spent(signed_in(tokens.session_id, continuing.url, keyring, settings), settings)


def _spent(response: Response, settings: AuthSettings) -> Response:
    """The browser forgets the link that was used, and where it led."""
    cookie.expire(response, settings)
    forget_continued(response, settings)
    return response
