"""A small fleet: keys, a trust file, a person, and tokens that are right until a test bends them."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jwt

from shared.identity.access_tokens import AccessTokenVerifier, sign_access_token
from shared.identity.keys import SigningKey, generate_key
from shared.identity.principal import Principal
from shared.identity.tokens import InternalVerifier, Signer
from shared.identity.trust import Trust, parse_trust
from shared.identity.verifier import Verifier
from shared.ids import new_id

PUBLIC_URL = "https://flotilla.example"


def person(**changes: Any) -> Principal:
    """Ann, a user of acme, signed in for ten minutes."""
    ann = Principal(
        user_id=new_id(),
        username="ann",
        tenant_id=new_id(),
        tenant_slug="acme",
        roles=frozenset({"user"}),
        scopes=frozenset({"chat:read", "files:read"}),
        tier="free",
        session_id=new_id(),
        client_id="flotilla",
        token_id=str(new_id()),
        user_epoch=3,
        expires_at=int(time.time()) + 600,
        issuer=PUBLIC_URL,
        membership_version=1,
        tenant_version=1,
        auth_time=int(time.time()),
        amr=frozenset({"pwd"}),
        acr="aal1",
    )
    return replace(ann, **changes)


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def hmac_token(header: Mapping[str, Any], claims: Mapping[str, Any], secret: bytes) -> str:
    """What an attacker makes who hopes that a public key is taken for a shared secret."""
    signed = f"{segment(header)}.{segment(claims)}"
    return f"{signed}.{segment(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


@dataclass
class Fleet:
    """Three services: the gateway forwards everyone's requests, tasks acts with two scopes, auth only for itself."""

    gateway: SigningKey = field(default_factory=generate_key)
    tasks: SigningKey = field(default_factory=generate_key)
    auth: SigningKey = field(default_factory=generate_key)
    developer: SigningKey = field(default_factory=generate_key)
    access: SigningKey = field(default_factory=generate_key)

    def document(self) -> dict[str, Any]:
        return {
            "services": {
                "gateway": {"keys": [self.gateway.public_jwk], "acts_with": ["*"]},
                "tasks": {"keys": [self.tasks.public_jwk], "acts_with": ["files:read", "user:read"]},
                "auth": {"keys": [self.auth.public_jwk], "grants": ["registrations:write"]},
            }
        }

    def trust(self, **more: Any) -> Trust:
        return parse_trust(json.dumps({**self.document(), **more}).encode(), development=True)

    def development_trust(self) -> Trust:
        issuer = {"issuer": "flotilla-development", "keys": [self.developer.public_jwk]}
        return self.trust(development_issuer=issuer)

    def verifier(self, service: str = "chat", access: AccessTokenVerifier | None = None) -> Verifier:
        trust = self.trust()
        return Verifier(InternalVerifier(service, lambda: trust), access)

    def signer(self, service: str) -> Signer:
        key: SigningKey = getattr(self, service)
        return Signer(service, lambda: key)

    def internal(self, *, key: SigningKey | None = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A gateway's token for chat, bent where the test says so; a claim of `...` is left out."""
        now = int(time.time())
        frame = {"iss": "gateway", "aud": "chat", "iat": now, "exp": now + 60}
        said = {name: value for name, value in {**person().to_claims(), **frame, **claims}.items() if value is not ...}
        key = key or self.gateway
        # PyJWS signs whatever it is given; jwt.encode would refuse the malformed claims itself
        raw = json.dumps(said).encode()
        return jwt.PyJWS().encode(raw, key.key, "ES256", {"kid": key.kid, "typ": "JWT", **(header or {})})

    def access_token(self, ann: Principal | None = None, **bent: Any) -> str:
        """auth-service's token for Ann."""
        claims = {**(ann or person()).to_claims(), **bent.pop("claims", {})}
        said = {"issuer": PUBLIC_URL, "audience": PUBLIC_URL, "now": int(time.time()), "key": self.access, **bent}
        return sign_access_token(claims, **said)


class KeySource:
    """auth-service's JWKS as a test moves it: its keys, and whether it answers."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = list(keys)
        self.away = False
        self.asked = 0

    async def fetch(self) -> dict[str, Any]:
        self.asked += 1
        if self.away:
            raise ConnectionRefusedError
        return {"keys": [key.public_jwk for key in self.keys]}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task brings about, 10 s at most."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
