"""The cookie that binds a ceremony to its browser.

SameSite=Lax, because the issuer sends the browser back from another site; `__Host-`, so that no subdomain can plant it.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from auth_service.settings import AuthSettings
from auth_service.upstream_sign_in.models import CEREMONY_TTL_S

_NAME: Final = "flotilla_upstream"
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def read(request: Request, settings: AuthSettings) -> str | None:
    """The browser's secret; None if the cookie is missing or malformed."""
    value = request.cookies.get(_name(settings), "")
    return value if _SECRET.fullmatch(value) else None


def put(response: Response, secret: str, settings: AuthSettings) -> None:
    """Set or prolong it. Ceremonies in several tabs share it."""
    secure = _is_secure(settings)
    response.set_cookie(
        _name(settings), secret, max_age=CEREMONY_TTL_S, path="/", secure=secure, httponly=True, samesite="lax"
    )


def _name(settings: AuthSettings) -> str:
    return f"__Host-{_NAME}" if _is_secure(settings) else _NAME


def _is_secure(settings: AuthSettings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"
