"""Proofs of possession (RFC 9449): a request is signed by the key that its access token is bound to.

A proof is a JWT in the `DPoP` header, made for one request: its method, its URL and its access token. This module
verifies what a proof says. That each is used once is the caller's to ensure, by `Proof.digest` until `Proof.ends_at`.
"""

import base64
import hashlib
import re
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import jwt

from shared.deadline import CLOCK_DIFFERENCE_S
from shared.identity.keys import KeyInvalid, VerifyingKey, verifying_key
from shared.problems import Unauthenticated

ALGORITHMS: Final = ("ES256", "RS256", "EdDSA")
"""What proofs may be signed with; the type of the key decides."""

MAX_AGE_S: Final = 60  # of a proof: it is signed for one request that is sent at once
MAX_PROOF_BYTES: Final = 4 * 1024  # with an RSA key of 4096 bits about 2.2 KiB

_TYP: Final = "dpop+jwt"
_MAX_JTI_LENGTH: Final = 128
_REQUIRED: Final = ("jti", "htm", "htu", "iat")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9._~-]")  # RFC 3986, section 2.3


def challenge(error: str | None = None) -> str:
    """The value of `WWW-Authenticate` (RFC 9449, section 7.1)."""
    said = "" if error is None else f', error="{error}"'
    return f'DPoP realm="flotilla"{said}, algs="{" ".join(ALGORITHMS)}"'


def by_dpop(bearer_challenge: str) -> str:
    """A challenge of the scheme Bearer as one of DPoP, whose errors are the same (RFC 9449, section 7.1)."""
    scheme, _, parameters = bearer_challenge.partition(" ")
    return f'DPoP {parameters}, algs="{" ".join(ALGORITHMS)}"' if scheme == "Bearer" else bearer_challenge


class InvalidDpopProof(Unauthenticated):
    """The DPoP proof is missing, malformed, too old, used before, or for another request or token."""

    status, title = 401, "The DPoP proof is not valid"
    remedy = "Sign a new proof for each request, of its method, URL, access token and time (RFC 9449, section 4.2)."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, challenge=challenge("invalid_dpop_proof"))


@dataclass(frozen=True, slots=True)
class Proof:
    """A valid proof by the key with the thumbprint `jkt`.

    `digest` is its identity: the key and the `jti`. From `ends_at` (epoch seconds) on it is too old to be accepted.
    """

    jkt: str
    digest: bytes
    ends_at: int
    nonce: str | None


def verify_proof(
    proof: str, *, method: str, url: str, access_token: str | None = None, now: float | None = None
) -> Proof:
    """The proof for the request `method` `url`, with `access_token` if it carries one. Raises InvalidDpopProof.

    The checks of RFC 9449, section 4.3, without those of the nonce and of a replay.
    """
    key = _key(proof)
    claims = _claims(proof, key)
    _check_request(claims, method, url)
    if access_token is not None and claims.get("ath") != token_hash(access_token):
        raise InvalidDpopProof("The proof is not for this access token (`ath`).")
    issued_at = _issued_at(claims, time.time() if now is None else now)
    jti, nonce = claims["jti"], claims.get("nonce")
    if not isinstance(jti, str) or not 0 < len(jti) <= _MAX_JTI_LENGTH:
        raise InvalidDpopProof(f"`jti` must be a string of at most {_MAX_JTI_LENGTH} characters.")
    digest = hashlib.sha256(f"{key.thumbprint} {jti}".encode("utf-8", "surrogatepass")).digest()
    return Proof(key.thumbprint, digest, issued_at + MAX_AGE_S + 1, nonce if isinstance(nonce, str) else None)


def token_hash(access_token: str) -> str:
    """The claim `ath` of proofs that are sent with the token."""
    digest = hashlib.sha256(access_token.encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def normalized(url: object) -> str | None:
    """The URL without query and fragment, in one spelling (RFC 3986, sections 6.2.2 and 6.2.3); None if unusable."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        return None
    named = f"[{host}]" if ":" in host else host
    authority = named if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{named}:{port}"
    return f"{parts.scheme}://{authority}{_ESCAPE.sub(_one_spelling, parts.path) or '/'}"


def _one_spelling(escape: re.Match[str]) -> str:
    character = unquote(escape[0], "latin-1")
    return character if _UNRESERVED.fullmatch(character) else escape[0].upper()


def _key(proof: str) -> VerifyingKey:
    """The public key in the proof's header; nothing is verified yet."""
    if len(proof) > MAX_PROOF_BYTES or not proof.isascii() or proof.count(".") != 2:
        raise InvalidDpopProof("The proof is malformed, too long, or sent twice.")
    try:
        header = jwt.get_unverified_header(proof)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidDpopProof("The proof is malformed.") from None
    typ = header.get("typ")
    if not isinstance(typ, str) or typ.lower().removeprefix("application/") != _TYP:
        raise InvalidDpopProof(f"`typ` must be {_TYP}.")
    try:
        key = verifying_key(header.get("jwk"))
    except KeyInvalid as invalid:
        raise InvalidDpopProof(f"`jwk` is not usable: {invalid}.") from None
    if header.get("alg") != key.algorithm:
        raise InvalidDpopProof(f"`alg` must be {key.algorithm} for this key.")
    return key


def _claims(proof: str, key: VerifyingKey) -> dict[str, Any]:
    options: jwt.types.Options = {"require": list(_REQUIRED), "verify_aud": False, "verify_iat": False}
    try:
        return jwt.decode(proof, key.key, [key.algorithm], options, leeway=CLOCK_DIFFERENCE_S)
    except jwt.MissingRequiredClaimError as missing:
        raise InvalidDpopProof(f"The proof lacks `{missing.claim}`.") from None
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidDpopProof("The signature does not verify, or the proof is malformed.") from None


def _check_request(claims: dict[str, Any], method: str, url: str) -> None:
    if claims["htm"] != method:
        raise InvalidDpopProof("The proof is for another method (`htm`).")
    named = normalized(claims["htu"])
    if named is None or named != normalized(url):
        raise InvalidDpopProof("The proof is for another URL (`htu`).")


def _issued_at(claims: dict[str, Any], now: float) -> int:
    """When the proof was signed, in whole seconds."""
    issued_at = claims["iat"]
    if not isinstance(issued_at, int | float) or isinstance(issued_at, bool):
        raise InvalidDpopProof("`iat` must be a number of seconds.")
    if not now - MAX_AGE_S <= issued_at <= now + CLOCK_DIFFERENCE_S:  # NaN is in no window
        raise InvalidDpopProof(f"The proof is older than {MAX_AGE_S} s, or from the future (`iat`).")
    return int(issued_at)
