"""The cookie of the browser that asked for a link: a random value, which signs no one in without the mail.

SameSite=Lax, because a mail program opens the link from another site.
"""

import secrets
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from auth_service.settings import AuthSettings

_NAME: Final = "flotilla_magic_link"
_BYTES: Final = 32


def _is_secure(settings: AuthSettings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"


def _name(settings: AuthSettings) -> str:
    return f"__Secure-{_NAME}" if _is_secure(settings) else _NAME


def read(request: Request, settings: AuthSettings) -> str | None:
    return request.cookies.get(_name(settings))


def read_or_make(request: Request, settings: AuthSettings) -> str:
    """The browser's value, so that all links that it asks for are good in it; a new one if it has none."""
    return read(request, settings) or secrets.token_urlsafe(_BYTES)


def put(response: Response, value: str, settings: AuthSettings) -> None:
    response.set_cookie(
        _name(settings),
        value,
        max_age=settings.links.sign_in_ttl_s,
        path="/auth",
        secure=_is_secure(settings),
        httponly=True,
        samesite="lax",
    )


def expire(response: Response, settings: AuthSettings) -> None:
    response.delete_cookie(_name(settings), path="/auth", secure=_is_secure(settings), httponly=True, samesite="lax")
