"""A browser's sign-in at this service's own pages: a cookie that names a session.

Nothing is stored for it: base64url(key id ‖ session ‖ HMAC-SHA256 of both). It goes to the pages of the OAuth server
alone (Path=/oauth2), HttpOnly, and arrives by links from other sites too (SameSite=Lax), as an authorization request
does (OpenID Connect Core 1.0, section 3.1.2).
"""

import base64
import binascii
import hmac
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Request, Response

from auth_service.keyring import KEY_ID_BYTES, Keyring
from auth_service.settings import AuthSettings

_NAME: Final = "flotilla_browser"
_PATH: Final = "/oauth2"
_COOKIE: Final = "browser cookies"
_FORM: Final = "browser forms"
_ID_BYTES: Final = 16


def name(settings: AuthSettings) -> str:
    return f"__Secure-{_NAME}" if _is_secure(settings) else _NAME


def put(response: Response, session_id: UUID, keyring: Keyring, settings: AuthSettings) -> None:
    """Sign the browser in; the cookie ends with the browser, and with the session."""
    root = keyring.current
    body = root.key_id + session_id.bytes
    value = base64.urlsafe_b64encode(body + root.mac(_COOKIE, body)).decode().rstrip("=")
    response.set_cookie(name(settings), value, path=_PATH, secure=_is_secure(settings), httponly=True, samesite="lax")


def expire(response: Response, settings: AuthSettings) -> None:
    response.delete_cookie(name(settings), path=_PATH, secure=_is_secure(settings), httponly=True, samesite="lax")


def read(request: Request, keyring: Keyring, settings: AuthSettings) -> UUID | None:
    """The session that the browser's cookie names; None without a cookie, and for one that was not issued here."""
    text = request.cookies.get(name(settings), "")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, mac = raw[: KEY_ID_BYTES + _ID_BYTES], raw[KEY_ID_BYTES + _ID_BYTES :]
    root = keyring.find(body[:KEY_ID_BYTES])
    if root is None or not hmac.compare_digest(mac, root.mac(_COOKIE, body)):
        return None
    return UUID(bytes=body[KEY_ID_BYTES:])


def form_token(session_id: UUID, form: str, keyring: Keyring) -> str:
    """What a page puts into a form, so that no other site can send it: an HMAC of the session and of what it is for."""
    return keyring.current.mac(_FORM, session_id.bytes + form.encode()).hex()


def is_form_token(text: str, session_id: UUID, form: str, keyring: Keyring) -> bool:
    """Whether `text` is that token."""
    return text.isascii() and hmac.compare_digest(text, form_token(session_id, form, keyring))


def _is_secure(settings: AuthSettings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"
