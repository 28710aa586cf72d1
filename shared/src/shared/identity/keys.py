"""Signing keys: made, kept as PEM, published as JWK (RFC 7517), and named by their thumbprint (RFC 7638)."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

Algorithm = Literal["ES256", "RS256"]
"""What this fleet signs with: ID tokens by RS256, which every OpenID Connect client verifies, all else by ES256."""

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

MIN_RSA_BITS: Final = 2048  # RFC 7518, section 3.3

_THUMBPRINT_MEMBERS: Final = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_ALGORITHMS: Final = {("EC", "P-256"): "ES256", ("RSA", None): "RS256", ("OKP", "Ed25519"): "EdDSA"}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MAX_KID_LENGTH: Final = 128


class KeyInvalid(Exception):
    """A key that cannot be used; the message says what is wrong and never shows the key."""


@dataclass(frozen=True, slots=True)
class VerifyingKey:
    """A public key, its name, and the one algorithm that its type pins: no token chooses (RFC 8725, 3.1)."""

    kid: str
    algorithm: str
    thumbprint: str
    key: PublicKey = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An own key, named by its thumbprint: EC P-256 signs with ES256, RSA with RS256."""

    kid: str
    algorithm: Algorithm
    key: PrivateKey = field(repr=False, compare=False)

    @property
    def public_jwk(self) -> dict[str, str]:
        """The public half as others list it in a trust file or a key set."""
        return public_jwk(self.key)


def generate_key(algorithm: Algorithm = "ES256") -> SigningKey:
    """A new key. One for RS256 takes some 50 ms of a core, so an event loop makes it in a thread."""
    if algorithm == "RS256":
        return _signing_key(rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS))
    return _signing_key(ec.generate_private_key(ec.SECP256R1()))


def parse_private_key(pem: bytes, algorithm: Algorithm = "ES256") -> SigningKey:
    """The key for that algorithm which a PEM text holds, unencrypted (PKCS #8, SEC 1 or PKCS #1). Raises KeyInvalid."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyInvalid(f"not a readable PEM private key ({type(error).__name__})") from None
    if algorithm == "RS256":
        if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
            raise KeyInvalid(f"the key is not an RSA key of {MIN_RSA_BITS} bits or more")
    elif not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise KeyInvalid("the key is not an EC P-256 key")
    return _signing_key(key)


def private_pem(key: SigningKey) -> bytes:
    return key.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def write_private_key(path: Path, key: SigningKey) -> None:
    """Put the key into a file that only its owner reads, from its first byte on; an older one is replaced at once."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)  # left by a process of the same number that died in here
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private_pem(key))
    fresh.replace(path)


def public_jwk(key: PrivateKey) -> dict[str, str]:
    """The public half, with `kid`, `use` and `alg`."""
    if isinstance(key, rsa.RSAPrivateKey):
        modulus = key.public_key().public_numbers()
        jwk = {"kty": "RSA", "n": _base64url(modulus.n), "e": _base64url(modulus.e)}
    else:
        point = key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256", "x": _base64url(point.x, 32), "y": _base64url(point.y, 32)}
    return {**jwk, "kid": thumbprint(jwk), "use": "sig", "alg": _algorithm(key)}


def thumbprint(jwk: Mapping[str, Any]) -> str:
    """base64url(SHA-256) over the required members in order of name (RFC 7638, section 3)."""
    members = {name: jwk[name] for name in _THUMBPRINT_MEMBERS[jwk["kty"]]}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True)
    return _encode(hashlib.sha256(canonical.encode()).digest())


def verifying_key(jwk: object) -> VerifyingKey:
    """A public JWK made ready for verification: EC P-256, RSA of 2048 bits or more, or Ed25519. Raises KeyInvalid.

    Without a `kid` the thumbprint is its name. `alg`, where it is given, must be the one that the type pins.
    """
    if not isinstance(jwk, Mapping):
        raise KeyInvalid("a key must be a JSON object")
    if _PRIVATE_MEMBERS & jwk.keys():
        raise KeyInvalid("the key contains a private or symmetric part; list the public key only")
    if jwk.get("use", "sig") != "sig":
        raise KeyInvalid("the key is not for signatures (`use`)")
    members = _members(jwk)
    algorithm = _ALGORITHMS.get((members["kty"], members.get("crv")))
    if algorithm is None or jwk.get("alg", algorithm) != algorithm:
        raise KeyInvalid("the key does not support ES256, RS256 or EdDSA (`kty`, `crv`, `alg`)")
    key = _public_key({**members, "alg": algorithm})
    kid = jwk.get("kid", thumbprint(members))
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID_LENGTH:
        raise KeyInvalid(f"`kid` must be a string of at most {_MAX_KID_LENGTH} characters")
    return VerifyingKey(kid, algorithm, thumbprint(members), key)


def _members(jwk: Mapping[str, Any]) -> dict[str, str]:
    """Only the members that make the key; whatever else a JWK says (`x5u`, `jku`) is never looked at."""
    names = _THUMBPRINT_MEMBERS.get(kty) if isinstance(kty := jwk.get("kty"), str) else None
    if names is None:
        raise KeyInvalid("`kty` must be EC, RSA or OKP")
    if not all(isinstance(jwk.get(name), str) for name in names):
        raise KeyInvalid(f"a key of type {kty} requires the strings {', '.join(names)}")
    return {name: jwk[name] for name in names}


def _public_key(jwk: dict[str, str]) -> PublicKey:
    try:
        key = jwt.PyJWK(jwk).key
    except (jwt.PyJWTError, ValueError):
        raise KeyInvalid(f"not a readable {jwk['kty']} public key") from None
    if not isinstance(key, PublicKey):
        raise KeyInvalid(f"not a readable {jwk['kty']} public key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise KeyInvalid(f"an RSA key requires {MIN_RSA_BITS} bits or more")
    return key


def _signing_key(key: PrivateKey) -> SigningKey:
    return SigningKey(public_jwk(key)["kid"], _algorithm(key), key)


def _algorithm(key: PrivateKey) -> Algorithm:
    return "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"


def _base64url(number: int, length: int = 0) -> str:
    """In `length` bytes as RFC 7518 wants coordinates, or in the fewest as it wants RSA's numbers."""
    return _encode(number.to_bytes(length or (number.bit_length() + 7) // 8, "big"))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
