"""Tokens that an attacker builds from what is public: keys, headers and the rules of other token types (RFC 8725)."""

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives import serialization

from shared.identity.keys import SigningKey, generate_key

SIGNED = "/api/v1/rooms/7/messages"
PUBLIC_URL = "http://localhost:8000"


@pytest.fixture(scope="module")
def rsa_key() -> SigningKey:
    return generate_key("RS256")


@dataclass(frozen=True)
class Forger:
    """Knows every public key, and has a key of its own. `claims` are those of a valid token."""

    auth: Any
    id_token_key: SigningKey
    own: SigningKey
    claims: dict[str, Any]

    def token(self, key: SigningKey | None = None, *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Signed with `key`, or with the fleet's own: then only the changed header or claims can be what is wrong."""
        signer = key or self.auth.key
        head = {"typ": "at+jwt", "kid": signer.kid, **(header or {})}
        wanted = {name: value for name, value in {**self.claims, **claims}.items() if value is not None}
        return jwt.encode(wanted, signer.key, signer.algorithm, head)

    def raw(self, header: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
        head = {"typ": "at+jwt", "kid": self.auth.key.kid, **header}
        signed = b".".join(_text(orjson.dumps(part)) for part in (head, self.claims))
        return b".".join([signed, _text(signature(signed))]).decode()

    def by_public_key(self, key: SigningKey, encoding: serialization.Encoding) -> str:
        """HS256 over the published key: what a verifier that lets the token choose would take."""
        secret = key.key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
        return self.raw({"alg": "HS256", "kid": key.kid}, lambda signed: hmac.digest(secret, signed, "sha256"))


def _text(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


@pytest.fixture
def forger(auth: Any, rsa_key: SigningKey, sign_in: Any) -> Forger:
    auth.id_token_keys.append(rsa_key)  # before the gateway starts: it knows the key
    valid = sign_in.token(sign_in.principal("ann"))
    claims = jwt.decode(valid, options={"verify_signature": False})
    return Forger(auth, rsa_key, generate_key(), claims)


Forged = Callable[[Forger], str]
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER

FORGED: dict[str, Forged] = {
    # the algorithm
    "none": lambda f: f.raw({"alg": "none"}, lambda signed: b""),
    "None in capitals": lambda f: f.raw({"alg": "NoNe"}, lambda signed: b""),
    "none with a signature": lambda f: f.raw({"alg": "none"}, lambda signed: b"x" * 64),
    "no algorithm": lambda f: f.raw({}, lambda signed: b"x" * 64),
    "HS256 by the EC key as PEM": lambda f: f.by_public_key(f.auth.key, PEM),
    "HS256 by the EC key as DER": lambda f: f.by_public_key(f.auth.key, DER),
    "HS256 by the RSA key as PEM": lambda f: f.by_public_key(f.id_token_key, PEM),
    "HS256 by an empty secret": lambda f: f.raw({"alg": "HS256"}, lambda signed: hmac.digest(b"", signed, "sha256")),
    "RS256 by the ID-token key": lambda f: f.token(f.id_token_key),
    "RS256 under the access-token key's name": lambda f: f.token(f.id_token_key, header={"kid": f.auth.key.kid}),
    "ES256 under the ID-token key's name": lambda f: f.token(header={"kid": f.id_token_key.kid}),
    "an all-zero signature": lambda f: f.raw({"alg": "ES256"}, lambda signed: bytes(64)),
    "an empty signature": lambda f: f.raw({"alg": "ES256"}, lambda signed: b""),
    # the type
    "an ID token": lambda f: f.token(f.id_token_key, header={"typ": "JWT"}),
    "typ JWT by the access-token key": lambda f: f.token(header={"typ": "JWT"}),
    "typ logout+jwt": lambda f: f.token(header={"typ": "logout+jwt"}),
    "typ dpop+jwt": lambda f: f.token(header={"typ": "dpop+jwt"}),
    "no typ": lambda f: f.token(header={"typ": ""}),
    # audience, issuer, times
    "another audience": lambda f: f.token(aud="https://other.example"),
    "a list of audiences": lambda f: f.token(aud=[PUBLIC_URL, "https://other.example"]),
    "an audience that begins alike": lambda f: f.token(aud=PUBLIC_URL + ".evil.example"),
    "no audience": lambda f: f.token(aud=None),
    "another issuer": lambda f: f.token(iss="https://other.example"),
    "the issuer with a slash": lambda f: f.token(iss=PUBLIC_URL + "/"),
    "no issuer": lambda f: f.token(iss=None),
    "expired": lambda f: f.token(exp=int(time.time()) - 60),
    "no end": lambda f: f.token(exp=None),
    "an end that is no number": lambda f: f.token(exp="2999999999"),
    "not yet valid": lambda f: f.token(nbf=int(time.time()) + 600),
    "no token id": lambda f: f.token(jti=None),
    # the key's name
    "an unknown kid": lambda f: f.token(header={"kid": "unknown"}),
    "another key under a known kid": lambda f: f.token(f.own, header={"kid": f.auth.key.kid}),
    "no kid": lambda f: f.token(header={"kid": ""}),
    "kid with a path": lambda f: f.raw(
        {"alg": "HS256", "kid": "../../../../dev/null"}, lambda signed: hmac.digest(b"", signed, "sha256")
    ),
    "kid with a URL": lambda f: f.token(f.own, header={"kid": f.auth.url + "/key"}),
    "kid with SQL": lambda f: f.token(f.own, header={"kid": "' UNION SELECT 'secret' --"}),
    "kid with NUL": lambda f: f.token(f.own, header={"kid": f.auth.key.kid + "\0"}),
    "kid of 6,000 characters": lambda f: f.token(f.own, header={"kid": "k" * 6000}),
    "kid that is a list": lambda f: f.raw({"alg": "ES256", "kid": [f.auth.key.kid]}, lambda signed: bytes(64)),
    # keys that the token brings or points to
    "jku": lambda f: f.token(f.own, header={"jku": f.auth.url + "/jwks.json"}),
    "jku under a known kid": lambda f: f.token(f.own, header={"jku": f.auth.url, "kid": f.auth.key.kid}),
    "x5u": lambda f: f.token(f.own, header={"x5u": f.auth.url + "/cert.pem", "kid": f.auth.key.kid}),
    "jwk": lambda f: f.token(f.own, header={"jwk": f.own.public_jwk, "kid": f.auth.key.kid}),
    "x5c": lambda f: f.token(f.own, header={"x5c": ["MIIB"], "kid": f.auth.key.kid}),
    # extensions that must be understood (RFC 7515, section 4.1.11)
    "crit": lambda f: f.token(header={"crit": ["unknown"], "unknown": True}),
    "crit exp": lambda f: f.token(header={"crit": ["exp"], "exp": 1}),
    "crit that is empty": lambda f: f.token(header={"crit": []}),
    "crit that is a text": lambda f: f.token(header={"crit": "exp"}),
    "b64 false": lambda f: f.token(header={"crit": ["b64"], "b64": False}),
    # the form
    "a fourth part": lambda f: f.token() + ".x",
    "a header that is a list": lambda f: f"{_text(b'[]').decode()}.{f.token().partition('.')[2]}",
    "a JWE": lambda f: f"{f.token()}.x.y",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_token_is_refused_and_leads_nowhere(
    forger: Forger, client: Any, upstream: Any, forged: Forged
) -> None:
    reply = await client.get(SIGNED, headers={"Authorization": f"Bearer {forged(forger)}"})
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert upstream.calls == 0  # neither forwarded nor asked for a key


async def test_the_forger_is_refused_for_what_it_changes_alone(forger: Forger, client: Any) -> None:
    for token in (forger.token(), forger.token(header={"typ": "application/at+jwt"}), forger.token(header={"jku": ""})):
        reply = await client.get(SIGNED, headers={"Authorization": f"Bearer {token}"})
        assert reply.status_code == 200
