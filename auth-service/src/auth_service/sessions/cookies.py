"""The refresh token as a cookie, for pages: set, read and expired.

Host-only, HttpOnly, SameSite=Strict and Path=/auth, so that no script reads it, no other site sends it, and nothing but
these paths sees it. `__Secure-` makes browsers insist on https; plain http is a developer's own machine.
"""

from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from auth_service.settings import AuthSettings

_NAME: Final = "flotilla_refresh"


def _is_secure(settings: AuthSettings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"


def name(settings: AuthSettings) -> str:
    return f"__Secure-{_NAME}" if _is_secure(settings) else _NAME


def put(response: Response, token: str, settings: AuthSettings, *, remembered: bool) -> None:
    """Set the cookie; unless the session is remembered, it ends with the browser."""
    response.set_cookie(
        name(settings),
        token,
        max_age=settings.sessions.remembered_idle_ttl_s if remembered else None,
        path="/auth",
        secure=_is_secure(settings),
        httponly=True,
        samesite="strict",
    )


def expire(response: Response, settings: AuthSettings) -> None:
    response.delete_cookie(name(settings), path="/auth", secure=_is_secure(settings), httponly=True, samesite="strict")


def read(request: Request, settings: AuthSettings) -> str | None:
    return request.cookies.get(name(settings))
