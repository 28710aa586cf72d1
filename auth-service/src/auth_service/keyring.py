"""The service's root secrets, and what is made of them: encryption at rest and authenticated tokens.

Every use has a key of its own, derived from the root (HKDF-Expand with one block, RFC 5869, section 2.3), so that
nothing signed for one purpose means anything for another. During a rotation there are several roots: the first
encrypts and signs, all decrypt and verify.
"""

import base64
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auth_service.settings import ROOT_BYTES, KeySettings, root_secrets
from shared.resources import MissingSetting

KEY_ID_BYTES: Final = 4
MAC_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class CannotDecrypt(Exception):
    """None of the keys at hand encrypted this, or it was altered."""


@dataclass(frozen=True, slots=True)
class Root:
    """One root secret and its public name."""

    key_id: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> "Root":
        return cls(_derived(secret, "key id")[:KEY_ID_BYTES], secret)

    def mac(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 over `message` with the key of `purpose`."""
        return hmac.digest(_derived(self._secret, purpose), message, "sha256")

    def cipher(self, purpose: str) -> AESGCM:
        return AESGCM(_derived(self._secret, purpose))


class Keyring:
    def __init__(self, roots: Sequence[Root]) -> None:
        self.current = roots[0]
        self._by_id = {root.key_id: root for root in roots}

    @classmethod
    def load(cls, settings: KeySettings) -> "Keyring":
        """The keyring that the settings name. Raises MissingSetting, KeyringInvalid or OSError."""
        if settings.encryption_key is not None:
            text = settings.encryption_key.get_secret_value()
        elif settings.encryption_key_file is not None:
            text = settings.encryption_key_file.read_text(encoding="ascii")
        else:
            raise MissingSetting("KEYS__ENCRYPTION_KEY_FILE")
        return cls([Root.of(secret) for secret in root_secrets(text)])

    def find(self, key_id: bytes) -> Root | None:
        """The root of that name; None for one that was taken out."""
        return self._by_id.get(key_id)

    def encrypt(self, plain: bytes, *, context: str) -> bytes:
        """`plain` by AES-256-GCM, readable only with the same `context`: a row cannot be passed off as another."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self.current.cipher("encryption").encrypt(nonce, plain, context.encode())
        return self.current.key_id + nonce + sealed

    def decrypt(self, stored: bytes, *, context: str) -> bytes:
        """What `encrypt` was given. Raises CannotDecrypt."""
        root = self.find(stored[:KEY_ID_BYTES])
        if root is None:
            raise CannotDecrypt(context)
        nonce, sealed = stored[KEY_ID_BYTES : KEY_ID_BYTES + _NONCE_BYTES], stored[KEY_ID_BYTES + _NONCE_BYTES :]
        try:
            return root.cipher("encryption").decrypt(nonce, sealed, context.encode())
        except InvalidTag:
            raise CannotDecrypt(context) from None


def generate_root() -> str:
    """A new root secret as the settings take it."""
    return base64.urlsafe_b64encode(os.urandom(ROOT_BYTES)).decode().rstrip("=")


def _derived(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, f"flotilla auth {purpose}".encode() + b"\x01", "sha256")
