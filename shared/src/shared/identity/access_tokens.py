"""People's access tokens (RFC 9068): verified at the gateway, and by chat-service when a connection is renewed."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shared.identity.jwks import Jwks
from shared.identity.keys import SigningKey, VerifyingKey
from shared.identity.principal import Principal
from shared.identity.tokens import Header, read_header, sign, verified_claims
from shared.identity.trust import Trust
from shared.problems import InvalidToken

ACCESS_TTL_S: Final = 600  # short: between refreshes only the revocation feed can end a token
TYP: Final = "at+jwt"  # RFC 9068, section 2.1: an ID token or an internal token is never taken for one
CACHE_SIZE: Final = 20_000  # about 1.5 KiB each

_REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat", "jti", "client_id")


@dataclass(frozen=True, slots=True)
class _Known:
    """A verification that is remembered: until the token ends or the keys change."""

    principal: Principal
    generation: int
    ends: int


class AccessTokenVerifier:
    """Verifies people's access tokens: `iss` and `aud` are PUBLIC_URL, the keys are auth-service's.

    A development issuer's tokens are taken as well where `trust` lists one; outside development no trust file may.
    """

    def __init__(
        self,
        jwks: Jwks | None,
        *,
        public_url: str,
        trust: Callable[[], Trust] | None = None,
        cache_size: int = CACHE_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jwks, self._public_url, self._trust = jwks, public_url, trust
        self._clock, self._cache_size = clock, cache_size
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    @property
    def loaded(self) -> bool:
        """Whether the keys are there that tokens are verified with; part of being ready."""
        return self._jwks is None or self._jwks.loaded

    def verify_now(self, token: str) -> Principal | None:
        """Who shows the token, without waiting: a look-up for a token seen before, one signature for a new one.

        None when its key is unknown: `await verify(token)` then asks for it. Raises InvalidToken. Says nothing about
        revocation: `Revocations.admit` is asked on every request.
        """
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if (principal := self._remembered(digest)) is not None:
            return principal
        header = self._header(token)
        if (development := self._development_key(header.kid)) is not None:
            return self._principal(token, *development)
        key = self._jwks.find(header.kid) if self._jwks else None
        if key is None:
            return None
        return self._remember(digest, self._principal(token, key, self._public_url))

    async def verify(self, token: str) -> Principal:
        """Who shows the token, fetching auth-service's keys once if it names a new one. Raises InvalidToken."""
        if (principal := self.verify_now(token)) is not None:
            return principal
        key = await self._jwks.key(self._header(token).kid) if self._jwks else None
        if key is None:
            raise InvalidToken("The token is signed with an unknown key.")
        return self._principal(token, key, self._public_url)

    def forget(self) -> None:
        """Empty the memory of verified tokens; nothing but time is lost."""
        self._known.clear()

    def _header(self, token: str) -> Header:
        header = read_header(token)
        if header.typ != TYP:
            raise InvalidToken("The token is not an access token.")
        return header

    def _development_key(self, kid: str) -> tuple[VerifyingKey, str] | None:
        trust = self._trust() if self._trust else None
        if trust is None or trust.development_issuer is None or kid not in trust.development:
            return None
        return trust.development[kid], trust.development_issuer

    def _principal(self, token: str, key: VerifyingKey, issuer: str) -> Principal:
        claims = verified_claims(token, key, audience=self._public_url, issuer=issuer, required=_REQUIRED)
        # these two are words of internal tokens; an access token ends when it says and has no actor of the fleet
        return Principal.from_claims({**claims, "person_exp": claims["exp"], "act": None})

    def _remembered(self, digest: bytes) -> Principal | None:
        known = self._known.get(digest)
        if known is None:
            return None
        if self._clock() >= known.ends or known.generation != self._generation:
            del self._known[digest]
            return None
        self._known.move_to_end(digest)
        return known.principal

    def _remember(self, digest: bytes, principal: Principal) -> Principal:
        self._known[digest] = _Known(principal, self._generation, principal.expires_at)
        if len(self._known) > self._cache_size:
            self._known.popitem(last=False)
        return principal

    @property
    def _generation(self) -> int:
        return self._jwks.generation if self._jwks else 0


def sign_access_token(claims: Mapping[str, Any], key: SigningKey, *, issuer: str, public_url: str, now: int) -> str:
    """An access token over a person's claims (`Principal.to_claims`), which bring `exp` by `person_exp`."""
    frame = {"iss": issuer, "aud": public_url, "iat": now, "exp": claims["person_exp"]}
    return sign({**{k: v for k, v in claims.items() if k not in {"person_exp", "act"}}, **frame}, key, typ=TYP)
