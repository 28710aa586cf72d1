"""The pages of a second factor, and of a sign-in by a passkey alone."""

from typing import Annotated

from fastapi import Depends, Query, Request, Response

from auth_service.authorization.deps import AuthorizationDep
from auth_service.authorization.request import RequestUnusable
from auth_service.browser_sign_in.continuing import continuation, signed_in
from auth_service.browser_sign_in.factor_page import FactorPage
from auth_service.browser_sign_in.schemas import SecondFactorForm
from auth_service.deps import KeyringDep, NamedTenant, Settings
from auth_service.forms import validated
from auth_service.mfa.passkeys import Credential
from auth_service.mfa.service import Proof
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.sign_in.api import SecondFactorDep, SignInDep
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.service import MfaTokenInvalid
from shared.problems import Problem
from shared.web.router import Router

router = Router(prefix="/auth/pages", include_in_schema=False)


async def factor_page(request: Request, settings: Settings, second_factor: SecondFactorDep) -> FactorPage:
    return FactorPage(request, settings, second_factor)


TOTP_DIGITS = 6
FactorPageDep = Annotated[FactorPage, Depends(factor_page)]


@router.post("/second-factor")
async def submit_second_factor(
    fields: Form,
    page: FactorPageDep,
    sign_in: SignInDep,
    authorization: AuthorizationDep,
    named_tenant: NamedTenant,
    keyring: KeyringDep,
    settings: Settings,
) -> Response:
    continued, mfa_token = fields.get("continue", ""), fields.get("mfa_token", "")
    try:
        form = validated(SecondFactorForm, {name: value for name, value in fields.items() if value})
        tokens, _ = await sign_in.with_second_factor(form.mfa_token, proof_of(form.code, form.credential))
    except MfaTokenInvalid as problem:
        return render(page.request, settings, "message", message="sign_in_ended", problem=problem)
    except Problem as problem:
        continuing = await continuation(authorization, continued, named_tenant)
        try:
            return await page.again(mfa_token, continuing, problem)
        except MfaTokenInvalid:  # the proof was right, and a later step refused the sign-in
            return render(page.request, settings, "message", message="sign_in_ended", problem=problem)
    return signed_in(tokens.session_id, continued, keyring, settings)


@router.get("/passkey")
async def show_passkey(
    page: FactorPageDep,
    authorization: AuthorizationDep,
    named_tenant: NamedTenant,
    settings: Settings,
    continued: Annotated[str, Query(alias="continue", max_length=10_000)] = "",
) -> Response:
    try:
        continuing = await continuation(authorization, continued, named_tenant)
    except RequestUnusable as problem:
        return render(page.request, settings, "message", message="request_unusable", problem=problem)
    return await page.passkey_alone(continuing)


@router.post("/passkey")
async def submit_passkey(
    fields: Form,
    page: FactorPageDep,
    sign_in: SignInDep,
    authorization: AuthorizationDep,
    named_tenant: NamedTenant,
    keyring: KeyringDep,
    settings: Settings,
) -> Response:
    continued = fields.get("continue", "")
    try:
        form = validated(
            SecondFactorForm, {**{name: value for name, value in fields.items() if value}, "mfa_token": "-"}
        )
        tokens = await sign_in.with_passkey(form.credential or {}, Choices(tenant_beside=named_tenant))
    except Problem as problem:
        return await page.passkey_alone(await continuation(authorization, continued, named_tenant), problem)
    return signed_in(tokens.session_id, continued, keyring, settings)


def proof_of(code: str | None, credential: Credential | None) -> Proof:
    """A passkey's answer, else a code: of an app if it is as long as those are, else a recovery code."""
    if credential is not None:
        return Proof("passkey", credential=credential)
    code = (code or "").replace(" ", "")
    return Proof("totp" if len(code) == TOTP_DIGITS else "recovery_code", code)
