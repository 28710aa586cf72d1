"""People's access tokens (RFC 9068): verified at the gateway, and by chat-service when a connection is renewed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from shared.identity.dpop import challenge
from shared.identity.jwks import Jwks
from shared.identity.keys import SigningKey, VerifyingKey
from shared.identity.principal import Principal
from shared.identity.tokens import Header, read_header, sign, verified_claims
from shared.identity.trust import Trust
from shared.identity.verified_tokens import VerifiedTokens
from shared.problems import InvalidToken

ACCESS_TTL_S: Final = 600  # short: between refreshes only the revocation feed can end a token
IMPERSONATION_TTL_S: Final = 900  # such a token is not refreshed
LONGEST_TTL_S: Final = max(ACCESS_TTL_S, IMPERSONATION_TTL_S)
TYP: Final = "at+jwt"  # RFC 9068, section 2.1: an ID token or an internal token is never taken for one
ALGORITHM: Final = "ES256"
"""The one algorithm of access tokens. The same key set lists RS256 keys, which sign ID tokens and nothing else."""
CACHE_SIZE: Final = 20_000  # about 1.5 KiB each

_REQUIRED: Final = ("iss", "sub", "aud", "exp", "iat", "jti", "client_id")


class AccessTokenVerifier:
    """Verifies people's access tokens: `iss` and `aud` are PUBLIC_URL, the keys are auth-service's.

    A service outside the fleet has an `audience` of its own (RFC 8707).

    A development issuer's tokens are taken as well where `trust` lists one; outside development no trust file may.
    A token that is bound to a key (RFC 9449) is valid only for a caller that names it as `proven_jkt`, after it has
    verified the request's proof. Without one, such a token is refused, so no service takes it as a bearer token.
    """

    def __init__(
        self,
        jwks: Jwks | None,
        *,
        public_url: str,
        audience: str | None = None,
        trust: Callable[[], Trust] | None = None,
        cache_size: int = CACHE_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._jwks, self._public_url, self._trust = jwks, public_url, trust
        self._audience = audience or public_url
        self._verified: VerifiedTokens[Principal] = VerifiedTokens(cache_size, clock=clock)

    @property
    def loaded(self) -> bool:
        """Whether the keys are there that tokens are verified with; part of being ready."""
        return self._jwks is None or self._jwks.loaded

    def verify_now(self, token: str, *, proven_jkt: str | None = None) -> Principal | None:
        """Who shows the token, without waiting: a look-up for a token seen before, one signature for a new one.

        None when its key is unknown: `await verify(token)` then asks for it. Raises InvalidToken. Says nothing about
        revocation: `Revocations.admit` is asked on every request.
        """
        if (principal := self._verified.find(token, self._generation)) is not None:
            return _bound_to(principal, proven_jkt)
        header = self._header(token)
        if (development := self._development_key(header.kid)) is not None:
            return _bound_to(self._principal(token, *development), proven_jkt)
        key = self._jwks.find(header.kid) if self._jwks else None
        if key is None:
            return None
        principal = self._principal(token, key, self._public_url)
        self._verified.add(token, principal, keys=self._generation, ends=principal.expires_at)
        return _bound_to(principal, proven_jkt)

    async def verify(self, token: str, *, proven_jkt: str | None = None) -> Principal:
        """Who shows the token, fetching auth-service's keys once if it names a new one. Raises InvalidToken."""
        if (principal := self.verify_now(token, proven_jkt=proven_jkt)) is not None:
            return principal
        key = await self._jwks.key(self._header(token).kid) if self._jwks else None
        if key is None:
            raise InvalidToken("The token is signed with an unknown key.")
        return _bound_to(self._principal(token, key, self._public_url), proven_jkt)

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
        if key.algorithm != ALGORITHM:
            raise InvalidToken("The token is signed with a key that does not sign access tokens.")
        claims = verified_claims(token, key, audience=self._audience, issuer=issuer, required=_REQUIRED)
        # `person_exp` is a word of internal tokens, and so is a service as the actor: an access token ends when it says
        return replace(Principal.from_claims({**claims, "person_exp": claims["exp"]}), actor=None)

    @property
    def _generation(self) -> int:
        return self._jwks.generation if self._jwks else 0


def _bound_to(principal: Principal, proven_jkt: str | None) -> Principal:
    """The principal, whose token is bound to exactly that key, or to none. Raises InvalidToken."""
    if principal.dpop_jkt == proven_jkt:
        return principal
    if proven_jkt is None:
        detail = "The token is bound to a key: send it as `Authorization: DPoP`, with a proof (RFC 9449)."
    elif principal.dpop_jkt is None:
        detail = "The token is a bearer token, not bound to a key."
    else:
        detail = "The token is bound to another key than that of the proof."
    raise InvalidToken(detail, challenge=challenge("invalid_token"))


def sign_access_token(
    claims: Mapping[str, Any],
    key: SigningKey,
    *,
    issuer: str,
    audience: str,
    now: int,
    act: Mapping[str, Any] | None = None,
) -> str:
    """An access token over a person's claims (`Principal.to_claims`), which bring `exp` by `person_exp`.

    `act` is who acts for the person (RFC 8693, section 4.1).
    """
    frame: dict[str, Any] = {"iss": issuer, "aud": audience, "iat": now, "exp": claims["person_exp"]}
    if act is not None:
        frame["act"] = act
    return sign({**{k: v for k, v in claims.items() if k not in {"person_exp", "act"}}, **frame}, key, typ=TYP)
