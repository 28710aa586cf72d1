"""Where the pages of a sign-in continue: on pages of this service only, whatever a link asks for.

A person who leaves for their mailbox comes back by a link that says nothing of it: a mail carries no client's request,
which a stranger could have put into it. So the browser that left keeps it, in a cookie of the pages alone.
"""

import base64
import binascii
import re
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import Request, Response

from auth_service.settings import AuthSettings

SIGN_IN_PAGE: Final = "/auth/pages/sign-in"
KEPT_S: Final = 3600
_NAME: Final = "flotilla_continue"
_PATH: Final = "/auth/pages"
_MOST: Final = 2800  # characters: a browser keeps 4096 bytes of a cookie, and base64 makes four of three
_CONTINUED: Final = re.compile(
    r"/oauth2/(authorize|device|logout|operator|invitation|account(/[a-z0-9-]+)*)(\?[!-~]*)?"
)


def is_continued(url: str) -> bool:
    """Whether the sign-in page may continue at `url`, a path of this service with its query."""
    return _CONTINUED.fullmatch(url) is not None and "\\" not in url


def known(url: str) -> str:
    """The URL if the sign-in page may continue there, else nothing."""
    return url if is_continued(url) else ""


def split(url: str) -> tuple[str, str]:
    """The path and the query."""
    path, _, query = url.partition("?")
    return path, query


def sign_in_url(continued: str) -> str:
    """The sign-in page that continues there; at no page in particular if `continued` is none of this service."""
    return f"{SIGN_IN_PAGE}?continue={quote(continued, safe='')}" if is_continued(continued) else SIGN_IN_PAGE


def keep_continued(response: Response, continued: str, settings: AuthSettings) -> None:
    """Let the browser keep where it continues for an hour; what it kept before is replaced, also by nothing."""
    if not is_continued(continued) or len(continued) > _MOST:
        forget_continued(response, settings)
        return
    secure = _is_secure(settings)
    value = base64.urlsafe_b64encode(continued.encode()).decode().rstrip("=")
    response.set_cookie(
        _name(settings), value, max_age=KEPT_S, path=_PATH, secure=secure, httponly=True, samesite="lax"
    )


def kept_continued(request: Request, settings: AuthSettings) -> str:
    """Where the browser continues; empty without the cookie, and for a URL that is not a page of this service."""
    text = request.cookies.get(_name(settings), "")
    try:
        continued = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return ""
    return known(continued)


def forget_continued(response: Response, settings: AuthSettings) -> None:
    """Once the person is signed in."""
    secure = _is_secure(settings)
    response.delete_cookie(_name(settings), path=_PATH, secure=secure, httponly=True, samesite="lax")


def _name(settings: AuthSettings) -> str:
    return f"__Secure-{_NAME}" if _is_secure(settings) else _NAME


def _is_secure(settings: AuthSettings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"
