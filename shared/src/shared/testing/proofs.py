"""A client's key and the DPoP proofs that it signs (RFC 9449)."""

import time
from dataclasses import dataclass, field
from typing import Any

import jwt

from shared.identity.dpop import token_hash
from shared.identity.keys import PrivateKey, SigningKey, generate_key
from shared.ids import new_id


@dataclass(frozen=True)
class ProofKey:
    """Signs proofs: valid ones, or as `header` and further claims change them; None leaves a claim out."""

    key: SigningKey = field(default_factory=generate_key)

    @property
    def jkt(self) -> str:
        return self.key.kid

    @property
    def jwk(self) -> dict[str, str]:
        """The public key, without the members that a proof does not need."""
        return {name: value for name, value in self.key.public_jwk.items() if name not in ("kid", "use", "alg")}

    def proof(
        self,
        method: str,
        url: str,
        token: str | None = None,
        *,
        header: dict[str, Any] | None = None,
        signed_by: PrivateKey | bytes | None = None,
        **claims: Any,
    ) -> str:
        """A proof for one request, with the access token that the request carries."""
        said: dict[str, Any] = {"jti": str(new_id()), "htm": method, "htu": url, "iat": int(time.time())}
        if token is not None:
            said["ath"] = token_hash(token)
        said = {name: value for name, value in {**said, **claims}.items() if value is not None}
        head = {"typ": "dpop+jwt", "alg": self.key.algorithm, "jwk": self.jwk, **(header or {})}
        signer = "" if head["alg"] == "none" else signed_by or self.key.key
        return jwt.encode(said, signer, head["alg"], head)
