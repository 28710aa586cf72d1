"""The pages behind mailed links. Opening one spends nothing: mail programs and scanners open links as well."""

from importlib.resources import files
from typing import Annotated, Final

from fastapi import Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from auth_service.deps import Settings
from auth_service.email_verification.api import EmailVerificationDep
from auth_service.email_verification.schemas import VerificationIn, VerifyIn
from auth_service.forms import validated
from auth_service.pages.continued import keep_continued, kept_continued, known, sign_in_url
from auth_service.pages.form import Form
from auth_service.pages.rendering import render
from auth_service.passwords.api import PasswordChangeDep
from auth_service.passwords.schemas import ResetConfirmIn, ResetIn
from auth_service.settings import AuthSettings
from shared.colors import carries_white_text
from shared.problems import NotFound, Problem
from shared.web.router import Router

router = Router(prefix="/auth/pages", include_in_schema=False)

_DARK: Final = "@media (prefers-color-scheme: dark) { :root { --brand-line: var(--line); } }\n"
"""A line around buttons: a color that white text can be read on may be as dark as the page."""

Token = Annotated[str, Query(max_length=100)]
Continued = Annotated[str, Query(alias="continue", max_length=10_000)]


def _see(page: str) -> Response:
    return RedirectResponse(f"/auth/pages/{page}", status_code=303)


def _look_for_mail(page: str, continued: str, settings: AuthSettings) -> Response:
    """To a page that says that a mail is on its way; the browser keeps where it continues afterwards."""
    response = _see(page)
    keep_continued(response, continued, settings)
    return response


def _message(request: Request, settings: AuthSettings, message: str) -> Response:
    """A page with the way on: to the sign-in that the person has left."""
    onward = sign_in_url(kept_continued(request, settings))
    return render(request, settings, "message", message=message, onward=onward, onward_text="sign_in_button")


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
    return _message(request, settings, "email_verified")


@router.get("/verify-email/request")
async def show_verify_email_request(request: Request, settings: Settings, continued: Continued = "") -> Response:
    return render(request, settings, "verify_email_request", continued=known(continued), username="", email="")


@router.post("/verify-email/request")
async def submit_verify_email_request(
    request: Request, settings: Settings, fields: Form, verification: EmailVerificationDep
) -> Response:
    continued = known(fields.pop("continue", ""))
    try:
        body = validated(VerificationIn, {name: value for name, value in fields.items() if value})
        await verification.request(body.username, body.password, body.email, user=None)
    except Problem as problem:
        typed = {name: fields.get(name, "") for name in ("username", "email")}
        return render(request, settings, "verify_email_request", continued=continued, problem=problem, **typed)
    return _look_for_mail("verify-email/sent", continued, settings)


@router.get("/verify-email/sent")
async def show_verify_email_sent(request: Request, settings: Settings) -> Response:
    return _message(request, settings, "verification_sent")


@router.get("/password/reset")
async def show_password_reset(request: Request, settings: Settings, continued: Continued = "") -> Response:
    return render(request, settings, "password_reset", continued=known(continued), email="")


@router.post("/password/reset")
async def submit_password_reset(
    request: Request, settings: Settings, fields: Form, change: PasswordChangeDep
) -> Response:
    continued = known(fields.pop("continue", ""))
    try:
        await change.request_reset(validated(ResetIn, fields).email)
    except Problem as problem:
        email = fields.get("email", "")
        return render(request, settings, "password_reset", continued=continued, email=email, problem=problem)
    return _look_for_mail("password/reset/sent", continued, settings)


@router.get("/password/reset/sent")
async def show_password_reset_sent(request: Request, settings: Settings) -> Response:
    return _message(request, settings, "reset_sent")


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
    return _message(request, settings, "password_changed")


@router.get("/assets/colors/{color}.css")
async def read_color(color: Annotated[str, Path(pattern="^[0-9a-f]{6}$")]) -> Response:
    """The color of buttons on the pages of a tenant that has chosen it; the pages' policy allows no style in them."""
    if not carries_white_text(f"#{color}"):
        raise NotFound
    style = f":root {{ --brand: #{color}; --brand-text: #ffffff; }}\n{_DARK}"
    return Response(style, media_type="text/css", headers={"Cache-Control": "public, max-age=86400"})


@router.get("/assets/pages.css")
async def read_style() -> Response:
    style = files("auth_service.pages").joinpath("static", "pages.css").read_bytes()
    return Response(style, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@router.get("/assets/passkeys.js")
async def read_passkey_script() -> Response:
    script = files("auth_service.pages").joinpath("static", "passkeys.js").read_bytes()
    return Response(script, media_type="text/javascript", headers={"Cache-Control": "public, max-age=3600"})
