"""People's access tokens (RFC 9068): verified at the gateway, and by chat-service when a connection is renewed."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from shared.identity.jwks import Jwks
from shared.identity.keys import SigningKey, VerifyingKey
from shared.identity.principal import Principal
from shared.identity.tokens import Header, read_header, sign, verified_claims
from shared.identity.trust import Trust
from shared.identity.verified_tokens import VerifiedTokens
from shared.problems import InvalidToken

ACCESS_TTL_S: Final = 600  # short: between refreshes only the revocation feed can end a token
TYP: Final = "at+jwt"  # RFC 9068, section 2.1: an ID token or an internal token is never taken for one
CACHE_SIZE: Final = 20_000  # about 1.5 KiB each

_REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat", "jti", "client_id")


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
        self._verified: VerifiedTokens[Principal] = VerifiedTokens(cache_size, clock=clock)

    @property
    def loaded(self) -> bool:
        """Whether the keys are there that tokens are verified with; part of being ready."""
        return self._jwks is None or self._jwks.loaded

    def verify_now(self, token: str) -> Principal | None:
        """Who shows the token, without waiting: a look-up for a token seen before, one signature for a new one.

        None when its key is unknown: `await verify(token)` then asks for it. Raises InvalidToken. Says nothing about
        revocation: `Revocations.admit` is asked on every request.
        """
        if (principal := self._verified.find(token, self._generation)) is not None:
            return principal
        header = self._header(token)
        if (development := self._development_key(header.kid)) is not None:
            return self._principal(token, *development)
        key = self._jwks.find(header.kid) if self._jwks else None
        if key is None:
            return None
        principal = self._principal(token, key, self._public_url)
        return self._verified.add(token, principal, keys=self._generation, ends=principal.expires_at)

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
        self._verified.clear()

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

    @property
    def _generation(self) -> int:
        return self._jwks.generation if self._jwks else 0


def sign_access_token(claims: Mapping[str, Any], key: SigningKey, *, issuer: str, public_url: str, now: int) -> str:
    """An access token over a person's claims (`Principal.to_claims`), which bring `exp` by `person_exp`."""
    frame = {"iss": issuer, "aud": public_url, "iat": now, "exp": claims["person_exp"]}
    return sign({**{k: v for k, v in claims.items() if k not in {"person_exp", "act"}}, **frame}, key, typ=TYP)
