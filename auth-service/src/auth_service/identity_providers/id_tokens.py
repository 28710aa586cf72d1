"""Verifying ID tokens of upstream issuers (OpenID Connect Core 1.0, section 3.1.3.7)."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import jwt

from auth_service.identity_providers.issuers import Issuer, UpstreamFailed
from shared.identity.keys import VerifyingKey

LEEWAY_S: Final = 60  # clocks of two organizations
_MOST_SUBJECT: Final = 255  # OpenID Connect Core 1.0, section 2
_REQUIRED: Final = ["iss", "sub", "aud", "exp", "iat"]
_TYPES: Final = (None, "JWT", "jwt")


async def verified(
    issuer: Issuer, token: str, *, client_id: str, nonce: str, access_token: str | None
) -> dict[str, Any]:
    """The claims of an ID token that was issued for this client and this sign-in. Raises UpstreamFailed.

    The key decides the algorithm, and the issuer's metadata must list it; the token chooses nothing but a key of the
    issuer's key set.
    """
    key = await _key_of(issuer, token)
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=[key.algorithm],
            audience=client_id,
            issuer=issuer.metadata.issuer,
            leeway=LEEWAY_S,
            options={"require": _REQUIRED},
        )
    except jwt.InvalidTokenError as error:
        raise UpstreamFailed(f"The ID token is not valid ({type(error).__name__}).") from None
    _check_parties(claims, client_id)
    if not isinstance(claims.get("nonce"), str) or not hmac.compare_digest(claims["nonce"].encode(), nonce.encode()):
        raise UpstreamFailed("The ID token was issued for another sign-in (nonce).")
    if "at_hash" in claims and (access_token is None or claims["at_hash"] != _at_hash(access_token, key.algorithm)):
        raise UpstreamFailed("The ID token was issued with another access token (at_hash).")
    return claims


async def _key_of(issuer: Issuer, token: str) -> VerifyingKey:
    try:
        header = jwt.get_unverified_header(token)
    except jwt.InvalidTokenError:
        raise UpstreamFailed("The ID token is not a signed JWT.") from None
    if "crit" in header or header.get("typ") not in _TYPES:
        raise UpstreamFailed("The ID token is of another type.")
    if header.get("alg") not in issuer.metadata.algorithms:
        raise UpstreamFailed("The ID token is signed by an algorithm that the issuer does not list.")
    kid = header.get("kid")
    key = await issuer.keys.key(kid) if isinstance(kid, str) else issuer.keys.only
    if key is None or key.algorithm != header["alg"]:
        raise UpstreamFailed("The ID token is signed by a key that is not in the issuer's key set.")
    return key


def _check_parties(claims: Mapping[str, Any], client_id: str) -> None:
    subject, audience = claims["sub"], claims["aud"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT:
        raise UpstreamFailed("The ID token has no usable subject.")
    several = isinstance(audience, list) and len(audience) > 1
    if claims.get("azp", client_id if not several else None) != client_id:
        raise UpstreamFailed("The ID token was issued to another client (azp).")


def _at_hash(access_token: str, algorithm: str) -> str:
    """The left half of the hash that the signature uses (OpenID Connect Core 1.0, section 3.1.3.6)."""
    digest = hashlib.new("sha512" if algorithm == "EdDSA" else "sha256", access_token.encode()).digest()
    return base64.urlsafe_b64encode(digest[: len(digest) // 2]).decode().rstrip("=")
