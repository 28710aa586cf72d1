"""Tokens between services: signed with a service's own key, verified by the trust file, at most a minute old.

A person's access token stops at the gateway (access_tokens.py); behind it only these are believed.
"""

import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import jwt
import orjson

from shared.deadline import CLOCK_DIFFERENCE_S
from shared.identity.keys import KeyInvalid, SigningKey, VerifyingKey, parse_private_key
from shared.identity.principal import Principal, ServiceCaller, lifetime_s
from shared.identity.trust import Trust, TrustedKey
from shared.identity.verified_tokens import VerifiedTokens
from shared.identity.watched_file import WatchedFile
from shared.ids import new_id
from shared.problems import InvalidToken

INTERNAL_TTL_S: Final = 60  # the longest life of an internal token, kept by the signer and checked by the verifier
LEEWAY_S: Final = CLOCK_DIFFERENCE_S  # an honest token of a clock that is ahead or behind is accepted
MAX_TOKEN_BYTES: Final = 8 * 1024  # the fleet's are about 1 KiB; longer ones are not parsed
REMEMBERED: Final = 4096  # about 1 KiB each; a caller has one token for a minute

Clock = Callable[[], float]

ADDRESS_HEADER: Final = "X-Client-Address"
"""Carries the address of a request's client, signed by the gateway: services believe no forwarding header."""

_JWS: Final = jwt.PyJWS()
_ADDRESS_TYP: Final = "client-address+jwt"  # a type of its own: it identifies nobody
_ADDRESS_REQUIRED: Final = ("iss", "aud", "exp", "iat", "address")
_REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat", "jti")


@dataclass(frozen=True, slots=True)
class Header:
    """What a token's header says before anything is verified: it may name a key, never an algorithm or an address."""

    kid: str
    typ: str


def read_header(token: str) -> Header:
    """The header's key id and media type, lower-case and without `application/`. Raises InvalidToken."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii() or token.count(".") != 2:
        raise InvalidToken("The token is malformed.")
    segment = token.partition(".")[0]
    try:
        header = orjson.loads(base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):  # orjson's own errors, depth included, are ValueErrors
        raise InvalidToken("The token is malformed.") from None
    if not isinstance(header, dict):
        raise InvalidToken("The token is malformed.")
    kid, typ = header.get("kid"), header.get("typ")
    if not isinstance(kid, str) or not isinstance(typ, str):
        raise InvalidToken("The token's header lacks `kid` or `typ`.")
    return Header(kid, typ.lower().removeprefix("application/"))


def verified_claims(
    token: str, key: VerifyingKey, *, audience: str, issuer: str, required: Sequence[str] = _REQUIRED
) -> dict[str, Any]:
    """The claims of a token that `key` signed for `audience`, now. Raises InvalidToken.

    The algorithm is the key's, whatever the token says. `aud` is one text, equal to `audience` (RFC 8725, section 3.9).
    """
    options: jwt.types.Options = {"require": list(required), "strict_aud": True}
    try:
        return jwt.decode(token, key.key, [key.algorithm], options, audience=audience, issuer=issuer, leeway=LEEWAY_S)
    except jwt.ExpiredSignatureError:
        raise InvalidToken("The token has expired.") from None
    except (jwt.PyJWTError, ValueError, RecursionError):  # the latter two: numbers and nesting past the parser's limits
        raise InvalidToken("The token is not valid for this service.") from None


def sign(claims: dict[str, Any], key: SigningKey, *, typ: str) -> str:
    """A compact JWS over the claims, which are JSON values, by the key's algorithm."""
    return _JWS.encode(orjson.dumps(claims), key.key, key.algorithm, {"kid": key.kid, "typ": typ}, sort_headers=False)


class Signer:
    """Signs what one service says to another. Read at each signature, so a rotated key file needs no restart."""

    def __init__(self, service: str, key: Callable[[], SigningKey], *, clock: Callable[[], float] = time.time) -> None:
        self.service = service
        self._key, self._clock = key, clock

    @classmethod
    def from_file(cls, service: str, path: Path) -> "Signer":
        """Signs with the mounted private key. Raises KeyInvalid or OSError when there is none."""
        return cls(service, WatchedFile(path, parse_private_key, errors=(KeyInvalid,)).current)

    def sign_for(self, principal: Principal, audience: str, ttl_s: int = INTERNAL_TTL_S) -> str:
        """A token with which this service acts for the person at `audience` (`act`, RFC 8693).

        It ends after `ttl_s`, at most 60 s, and never after the person's own token.
        """
        return self.forward(replace(principal, actor=self.service), audience, ttl_s)

    def forward(self, principal: Principal, audience: str, ttl_s: int = INTERNAL_TTL_S) -> str:
        """The same, for the person's own request passed on: without an `act` of this service."""
        return self._sign(principal.to_claims(), audience, ttl_s, ends_by=principal.expires_at)

    def sign_as_service(self, audience: str, ttl_s: int = INTERNAL_TTL_S) -> str:
        """A token by which this service speaks for itself: `sub` = `iss`, no person, no tenant."""
        return self._sign({"sub": self.service, "jti": str(new_id())}, audience, ttl_s, ends_by=None)

    def sign_address(self, address: str, audience: str, ttl_s: int = INTERNAL_TTL_S) -> str:
        """The address of a request's client, for a request with or without a person."""
        return self._sign({"address": address}, audience, ttl_s, ends_by=None, typ=_ADDRESS_TYP)

    def _sign(self, claims: dict[str, Any], audience: str, ttl_s: int, *, ends_by: int | None, typ: str = "JWT") -> str:
        if not 0 < ttl_s <= INTERNAL_TTL_S:
            raise ValueError(f"the lifetime of an internal token must be 1 to {INTERNAL_TTL_S} s, not {ttl_s}")
        now = int(self._clock())
        ends = now + ttl_s if ends_by is None else min(now + ttl_s, ends_by)
        frame = {"iss": self.service, "aud": audience, "iat": now, "exp": ends}
        return sign({**claims, **frame}, self._key(), typ=typ)


class InternalVerifier:
    """Believes the services that the trust file names, for what it says they may."""

    def __init__(
        self, service: str, trust: Callable[[], Trust], *, remembered: int = REMEMBERED, clock: Clock = time.time
    ) -> None:
        self.service = service
        self._trust = trust
        self._verified: VerifiedTokens[Principal | ServiceCaller] = VerifiedTokens(remembered, clock=clock)

    def remembered(self, token: str) -> Principal | ServiceCaller | None:
        """The caller of a token that `verify` accepted before, until it expires or the trust file changes."""
        return self._verified.find(token, self._trust())

    def verify(self, token: str, header: Header) -> Principal | ServiceCaller:
        """The caller whom the token identifies. Raises InvalidToken."""
        trust = self._trust()
        signer = trust.services.get(header.kid)
        if header.typ != "jwt" or signer is None:
            raise InvalidToken("The token was not issued by this fleet.")
        claims = verified_claims(token, signer.key, audience=self.service, issuer=signer.service)
        if lifetime_s(claims) > INTERNAL_TTL_S:
            raise InvalidToken("The token's lifetime is too long.")
        return self._verified.add(token, _caller(claims, signer), keys=trust, ends=claims["exp"] + LEEWAY_S)

    def client_address(self, token: str) -> str:
        """The client's address as a service that forwards people's requests signed it. Raises InvalidToken."""
        header = read_header(token)
        signer = self._trust().services.get(header.kid)
        if header.typ != _ADDRESS_TYP or signer is None or not signer.terms.forwards:
            raise InvalidToken("The address was not signed by a gateway.")
        claims = verified_claims(
            token, signer.key, audience=self.service, issuer=signer.service, required=_ADDRESS_REQUIRED
        )
        return str(claims["address"])


def _caller(claims: Mapping[str, Any], signer: TrustedKey) -> Principal | ServiceCaller:
    if claims["sub"] == signer.service:
        return ServiceCaller.from_claims(claims, signer.terms.grants)
    return _person(claims, signer)


def _person(claims: Mapping[str, Any], signer: TrustedKey) -> Principal:
    """The person, with no scope that the signer may not use for one, whatever the token says."""
    principal, terms = Principal.from_claims(claims), signer.terms
    if terms.acts_with is None:
        raise InvalidToken(f"{signer.service} may not act for people.")
    if terms.forwards:
        return principal
    if principal.actor != signer.service:
        raise InvalidToken(f"{signer.service} must name itself as the actor (`act`).")
    return replace(principal, scopes=principal.scopes & terms.acts_with)
