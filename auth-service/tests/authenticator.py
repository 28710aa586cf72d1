"""A WebAuthn authenticator in software, with the browser's part: it makes and uses passkeys as a laptop does."""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cbor2 import dumps
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ORIGIN = "http://localhost:8000"
_PRESENT, _VERIFIED, _BACKUP_ELIGIBLE, _BACKED_UP, _ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40


@dataclass
class Authenticator:
    """One device with one passkey. `verifies` is whether it asks its person for a PIN; `counts`: has a counter."""

    origin: str = ORIGIN
    verifies: bool = True
    synchronized: bool = False
    counts: bool = True
    sign_count: int = 0
    credential_id: bytes = field(default_factory=lambda: os.urandom(32))
    user_handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        """What `navigator.credentials.create` answers, as JSON."""
        self.user_handle = decoded(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        public = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + dumps(public)
        data = self._data(options["rp"]["id"], attested)
        return self._credential(
            clientDataJSON=self._client_data("webauthn.create", options),
            attestationObject=dumps({"fmt": "none", "attStmt": {}, "authData": data}),
        )

    def get(self, options: dict[str, Any]) -> dict[str, Any]:
        """What `navigator.credentials.get` answers, as JSON."""
        client_data, data = self._client_data("webauthn.get", options), self._data(options["rpId"])
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        return self._credential(
            clientDataJSON=client_data, authenticatorData=data, signature=signature, userHandle=self.user_handle
        )

    def _data(self, rp_id: str, attested: bytes = b"") -> bytes:
        self.sign_count += 1 if self.counts else 0
        flags = _PRESENT | (_VERIFIED if self.verifies else 0) | (_ATTESTED if attested else 0)
        flags |= _BACKUP_ELIGIBLE | _BACKED_UP if self.synchronized else 0
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4, "big") + attested

    def _client_data(self, kind: str, options: dict[str, Any]) -> bytes:
        data = {"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": False}
        return json.dumps(data).encode()

    def _credential(self, **response: bytes) -> dict[str, Any]:
        name = encoded(self.credential_id)
        answer = {key: encoded(value) for key, value in response.items()}
        return {"id": name, "rawId": name, "type": "public-key", "response": answer, "clientExtensionResults": {}}


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
