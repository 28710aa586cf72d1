"""The refresh token as a cookie, for pages: set, expired, and believed only with an allowed origin.

Host-only, HttpOnly, SameSite=Strict and Path=/auth, so that no script reads it, no other site sends it, and nothing but
these paths sees it. `__Secure-` makes browsers insist on https; plain http is a developer's own machine.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from auth_service.memberships.models import is_slug
from auth_service.settings import AuthSettings
from shared.data.database import Database

_NAME: Final = "flotilla_refresh"
_SLUG: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]")


def _is_secure(settings: AuthSettings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"


def name(settings: AuthSettings) -> str:
    return f"__Secure-{_NAME}" if _is_secure(settings) else _NAME


def put(response: Response, token: str, settings: AuthSettings) -> None:
    response.set_cookie(
        name(settings),
        token,
        max_age=settings.sessions.idle_ttl_s,
        path="/auth",
        secure=_is_secure(settings),
        httponly=True,
        samesite="strict",
    )


def expire(response: Response, settings: AuthSettings) -> None:
    response.delete_cookie(name(settings), path="/auth", secure=_is_secure(settings), httponly=True, samesite="strict")


def read(request: Request, settings: AuthSettings) -> str | None:
    return request.cookies.get(name(settings))


async def is_allowed_origin(origin: str | None, settings: AuthSettings, database: Database) -> bool:
    """Whether a page of this origin may refresh by cookie: PUBLIC_URL's, a tenant's subdomain of it, CORS__ORIGINS."""
    if origin is None:
        return False
    public = urlsplit(settings.public_url)
    if origin in {f"{public.scheme}://{public.netloc}", *(named.rstrip("/") for named in settings.cors.origins)}:
        return True
    scheme, _, host = origin.partition("://")
    slug, _, parent = host.partition(".")
    if (scheme, parent) != (public.scheme, public.netloc) or _SLUG.fullmatch(slug) is None:
        return False
    async with database.transaction() as db:
        return await is_slug(db, slug)
