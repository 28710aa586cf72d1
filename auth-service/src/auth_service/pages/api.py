"""The pages behind mailed links. Opening one spends nothing: mail programs and scanners open links as well."""

from importlib.resources import files
from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.deps import Settings
from auth_service.email_verification.api import EmailVerificationDep
from auth_service.email_verification.schemas import VerifyIn
from auth_service.forms import FORM, form_fields, validated
from auth_service.pages.rendering import render
from auth_service.pages.service import FormRefused, is_own_form
from auth_service.passwords.api import PasswordChangeDep
from auth_service.passwords.schemas import ResetConfirmIn, ResetIn
from shared.problems import Problem, UnsupportedMediaType
from shared.web.early_responses import AnswerInstead
from shared.web.json_input import checked
from shared.web.router import Router

router = Router(prefix="/auth/pages", include_in_schema=False)

Token = Annotated[str, Query(max_length=100)]


async def form(request: Request, settings: Settings) -> dict[str, Any]:
    """The fields of a form that one of these pages sent. Raises AnswerInstead, MalformedRequest, InvalidInput."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise UnsupportedMediaType(f"Send {FORM}.")
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    if not is_own_form(origin, site, settings.public_url):
        raise AnswerInstead(render(request, settings, "message", message="link_invalid", problem=FormRefused()))
    fields: dict[str, Any] = checked(form_fields(await request.body()))
    return fields


Form = Annotated[dict[str, Any], Depends(form)]


def _see(page: str) -> Response:
    return RedirectResponse(f"/auth/pages/{page}", status_code=303)


@router.get("/verify-email")
async def show_verify_email(request: Request, settings: Settings, token: Token = "") -> Response:
    return render(request, settings, "verify_email", token=token)


@router.post("/verify-email")
async def submit_verify_email(
    request: Request, settings: Settings, fields: Form, verification: EmailVerificationDep
) -> Response:
    try:
        await verification.verify(validated(VerifyIn, fields).token)
    except Problem as problem:
        return render(request, settings, "message", message="link_invalid", problem=problem)
    return _see("email-verified")


@router.get("/email-verified")
async def show_email_verified(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="email_verified")


@router.get("/password/reset")
async def show_password_reset(request: Request, settings: Settings) -> Response:
    return render(request, settings, "password_reset", email="")


@router.post("/password/reset")
async def submit_password_reset(
    request: Request, settings: Settings, fields: Form, change: PasswordChangeDep
) -> Response:
    try:
        await change.request_reset(validated(ResetIn, fields).email)
    except Problem as problem:
        return render(request, settings, "password_reset", email=fields.get("email", ""), problem=problem)
    return _see("password/reset/sent")


@router.get("/password/reset/sent")
async def show_password_reset_sent(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="reset_sent")


@router.get("/password/reset/confirm")
async def show_password_reset_confirm(request: Request, settings: Settings, token: Token = "") -> Response:
    return render(request, settings, "password_reset_confirm", token=token)


@router.post("/password/reset/confirm")
async def submit_password_reset_confirm(
    request: Request, settings: Settings, fields: Form, change: PasswordChangeDep
) -> Response:
    try:
        body = validated(ResetConfirmIn, fields)
        await change.reset(body.token, body.password, body.confirm_password)
    except Problem as problem:
        return render(request, settings, "password_reset_confirm", token=fields.get("token", ""), problem=problem)
    return _see("password-changed")


@router.get("/password-changed")
async def show_password_changed(request: Request, settings: Settings) -> Response:
    return render(request, settings, "message", message="password_changed")


@router.get("/assets/pages.css")
async def read_style() -> Response:
    style = files("auth_service.pages").joinpath("static", "pages.css").read_bytes()
    return Response(style, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})
