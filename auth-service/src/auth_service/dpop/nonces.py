"""Nonces that proofs must contain, so that none is signed ahead (RFC 9449, section 8); none is stored.

A nonce is base64url(key id ‖ time window ‖ HMAC-SHA256 of both). It is accepted in its window and in the next one.
"""

import base64
import binascii
import hmac
import time
from typing import Final

from auth_service.keyring import KEY_ID_BYTES, Keyring

WINDOW_S: Final = 150
_WINDOW_BYTES: Final = 8
_PURPOSE: Final = "dpop nonces"


def nonce(keyring: Keyring, now: float | None = None) -> str:
    """The current nonce, the same for every client."""
    body = keyring.current.key_id + _window(now).to_bytes(_WINDOW_BYTES, "big")
    return _text(body + keyring.current.mac(_PURPOSE, body))


def is_nonce(text: str, keyring: Keyring, now: float | None = None) -> bool:
    """Whether `text` is a nonce of the current window or the one before, by any key that still verifies."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    body, mac = raw[: KEY_ID_BYTES + _WINDOW_BYTES], raw[KEY_ID_BYTES + _WINDOW_BYTES :]
    root = keyring.find(body[:KEY_ID_BYTES])
    if root is None or not hmac.compare_digest(mac, root.mac(_PURPOSE, body)):
        return False
    return _window(now) - int.from_bytes(body[KEY_ID_BYTES:], "big") in (0, 1)


def _window(now: float | None) -> int:
    return int((time.time() if now is None else now) // WINDOW_S)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
