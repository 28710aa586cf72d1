"""Refresh tokens that are computed, not stored: base64url(key id ‖ family ‖ generation ‖ HMAC-SHA256 of all before).

One row per family stores the current generation, so a token can be computed again for a client that lost the response,
and a copy of the database contains no token.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from auth_service.keyring import KEY_ID_BYTES, MAC_BYTES, Keyring

_FAMILY_BYTES: Final = 16
_GENERATION_BYTES: Final = 4
_BODY_BYTES: Final = KEY_ID_BYTES + _FAMILY_BYTES + _GENERATION_BYTES
_PURPOSE: Final = "refresh tokens"


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """Which family (session) and which generation of it."""

    family: UUID
    generation: int

    def encode(self, keyring: Keyring) -> str:
        root = keyring.current
        body = root.key_id + self.family.bytes + self.generation.to_bytes(_GENERATION_BYTES, "big")
        return _text(body + root.mac(_PURPOSE, body))


def decode(text: str, keyring: Keyring) -> RefreshToken | None:
    """The decoded token; None if it was not issued here, was altered, or is not canonically encoded."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    body, mac = raw[:_BODY_BYTES], raw[_BODY_BYTES:]
    root = keyring.find(body[:KEY_ID_BYTES])
    if root is None or len(mac) != MAC_BYTES or not hmac.compare_digest(mac, root.mac(_PURPOSE, body)):
        return None
    if _text(raw) != text:
        return None
    family = body[KEY_ID_BYTES : KEY_ID_BYTES + _FAMILY_BYTES]
    return RefreshToken(UUID(bytes=family), int.from_bytes(body[-_GENERATION_BYTES:], "big"))


def csrf_token(session_id: UUID, keyring: Keyring) -> str:
    """The token that a page sends beside the cookie: an HMAC of the session, the same until the session ends."""
    return _text(keyring.current.key_id + keyring.current.mac("csrf tokens", session_id.bytes))


def is_csrf_token(text: str, session_id: UUID, keyring: Keyring) -> bool:
    """Whether `text` is the session's CSRF token, by any key that still verifies."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    root = keyring.find(raw[:KEY_ID_BYTES])
    return root is not None and hmac.compare_digest(raw[KEY_ID_BYTES:], root.mac("csrf tokens", session_id.bytes))


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
