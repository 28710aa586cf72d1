"""DPoP proofs (RFC 9449, section 4.3): which are valid for a request."""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from shared.identity.dpop import MAX_AGE_S, InvalidDpopProof, normalized, token_hash, verify_proof
from shared.identity.keys import generate_key
from shared.testing.proofs import ProofKey

URL = "https://api.example/api/v1/jobs"
NOW = 1_700_000_000
TOKEN = "the.access.token"

KEY = ProofKey()
OTHER = ProofKey()


def check(proof: str) -> str:
    return verify_proof(proof, method="POST", url=URL, access_token=TOKEN, now=NOW).jkt


def signed(key: ProofKey = KEY, **changes: Any) -> str:
    return key.proof("POST", changes.pop("htu", URL), changes.pop("token", TOKEN), **{"iat": NOW, **changes})


def _encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


def unsigned(header: dict[str, Any]) -> str:
    body = signed().split(".")[1]
    return f"{_encoded({'typ': 'dpop+jwt', 'jwk': KEY.jwk, **header})}.{body}."


def by_public_key() -> str:
    """HS256 with the public key as its secret: what a verifier that lets the proof choose would take."""
    x, y = (base64.urlsafe_b64decode(KEY.jwk[name] + "=") for name in ("x", "y"))
    return signed(header={"alg": "HS256"}, signed_by=b"\x04" + x + y)


def private_jwk() -> dict[str, Any]:
    numbers = KEY.key.key.private_numbers()
    secret = base64.urlsafe_b64encode(numbers.private_value.to_bytes(32, "big")).decode().rstrip("=")  # type: ignore[union-attr]  # the same
    return {**KEY.jwk, "d": secret}


def weak_rsa() -> str:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - the proof must be refused
    jwk = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(weak.public_key()))
    key = ProofKey(generate_key("RS256"))
    return signed(key, header={"jwk": {**key.jwk, "n": jwk["n"]}})


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP384R1())
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    return signed(header={"alg": "ES384", "jwk": jwk}, signed_by=key)


REFUSED: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "no JWT": lambda: "garbage",
    "two of them": lambda: f"{signed()},{signed()}",
    "not ASCII": lambda: "é.é.é",
    "too long": lambda: signed(more="x" * 5000),
    "nested without end": lambda: f"{base64.urlsafe_b64encode(b'[' * 2000).decode()}.e30.e30",
    "another type": lambda: signed(header={"typ": "JWT"}),
    "an access token's type": lambda: signed(header={"typ": "at+jwt"}),
    "no type": lambda: signed(header={"typ": None}),
    "no key": lambda: signed(header={"jwk": None}),
    "a key by name": lambda: signed(header={"jwk": None, "kid": KEY.jkt}),
    "a private key": lambda: signed(header={"jwk": private_jwk()}),
    "a symmetric key": lambda: signed(header={"jwk": {"kty": "oct", "k": "c2VjcmV0"}}),
    "a key for encryption": lambda: signed(header={"jwk": {**KEY.jwk, "use": "enc"}}),
    "a point that is not on the curve": lambda: signed(header={"jwk": {**KEY.jwk, "x": KEY.jwk["y"]}}),
    "an RSA key of 1024 bits": weak_rsa,
    "a curve that is not supported": other_curve,
    "none": lambda: unsigned({"alg": "none"}),
    "no algorithm": lambda: unsigned({}),
    "an algorithm that is a list": lambda: unsigned({"alg": ["ES256"]}),
    "HS256 by the public key": by_public_key,
    "another key's signature": lambda: signed(signed_by=OTHER.key.key),
    "an altered signature": lambda: signed()[:-8] + "AAAAAAAA",
    "crit": lambda: signed(header={"crit": ["exp"], "exp": NOW}),
    "another method": lambda: signed(htm="GET"),
    "the method in small letters": lambda: signed(htm="post"),
    "no method": lambda: signed(htm=None),
    "another path": lambda: signed(htu=f"{URL}/1"),
    "another host": lambda: signed(htu="https://evil.example/api/v1/jobs"),
    "another scheme": lambda: signed(htu=URL.replace("https", "http")),
    "another port": lambda: signed(htu="https://api.example:8443/api/v1/jobs"),
    "a user in the URL": lambda: signed(htu="https://api.example@evil.example/api/v1/jobs"),
    "a URL that is a list": lambda: signed(htu=[URL]),
    "no URL": lambda: signed(htu=None),
    "a line end in the URL": lambda: signed(htu="https://api.example/api/v1/jo\nbs"),
    "a port that is no number": lambda: signed(htu="https://api.example:x/api/v1/jobs"),
    "another token": lambda: signed(token="another"),
    "no token": lambda: signed(token=None),
    "too old": lambda: signed(iat=NOW - MAX_AGE_S - 1),
    "from the future": lambda: signed(iat=NOW + 6),
    "a time that is text": lambda: signed(iat=str(NOW)),
    "a time that is true": lambda: signed(iat=True),
    "a time that is no number": lambda: signed(iat=float("nan")),
    "no time": lambda: signed(iat=None),
    "no jti": lambda: signed(jti=None),
    "an empty jti": lambda: signed(jti=""),
    "a long jti": lambda: signed(jti="x" * 129),
}


@pytest.mark.parametrize("forged", REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_proof_is_refused(forged: Callable[[], str]) -> None:
    with pytest.raises(InvalidDpopProof) as refused:
        check(forged())
    assert refused.value.headers["WWW-Authenticate"].startswith('DPoP realm="flotilla", error="invalid_dpop_proof"')


def test_a_proof_shows_its_keys_thumbprint() -> None:
    assert check(signed()) == KEY.jkt
    rsa_key = ProofKey(generate_key("RS256"))
    assert check(signed(rsa_key)) == rsa_key.jkt


def test_ed25519_is_supported() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    jwk = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
    members = {name: jwk[name] for name in ("crv", "kty", "x")}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical.encode()).digest()).decode().rstrip("=")
    proof = jwt.encode(
        {"jti": "1", "htm": "POST", "htu": URL, "iat": NOW, "ath": token_hash(TOKEN)},
        key,
        "EdDSA",
        {"typ": "dpop+jwt", "jwk": jwk},
    )
    assert check(proof) == thumbprint


@pytest.mark.parametrize(
    "htu",
    [
        f"{URL}?page=2#top",
        "HTTPS://API.example:443/api/v1/jobs",
        "https://api.example/api/v1/%6aobs",
    ],
)
def test_another_spelling_of_the_url_is_the_same_url(htu: str) -> None:
    assert check(signed(htu=htu)) == KEY.jkt


def test_clocks_may_differ() -> None:
    for iat in (NOW - MAX_AGE_S, NOW + 5, NOW - 0.5):
        check(signed(iat=iat))


def test_a_proof_is_identified_by_its_key_and_its_jti() -> None:
    one, same, other_jti, other_key = (
        verify_proof(proof, method="POST", url=URL, now=NOW)
        for proof in (signed(jti="1"), signed(jti="1", htu=f"{URL}?x"), signed(jti="2"), signed(OTHER, jti="1"))
    )
    assert one.digest == same.digest
    assert len({one.digest, other_jti.digest, other_key.digest}) == 3
    assert one.ends_at > NOW + MAX_AGE_S


def test_a_proof_may_carry_a_nonce() -> None:
    assert verify_proof(signed(nonce="n"), method="POST", url=URL, now=NOW).nonce == "n"
    assert verify_proof(signed(nonce=1), method="POST", url=URL, now=NOW).nonce is None


def test_urls_in_one_spelling() -> None:
    assert normalized("https://api.example") == normalized("https://api.example/") == "https://api.example/"
    assert normalized("http://[::1]:80/a%2fb") == "http://[::1]/a%2Fb"
    assert normalized("ftp://api.example/") is None
