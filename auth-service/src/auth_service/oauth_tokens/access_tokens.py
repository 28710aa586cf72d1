"""The access tokens that this service has signed, verified once each: a token's next look-up costs no signature."""

from dataclasses import dataclass, replace
from typing import Any, Final

import jwt

from auth_service.signing_keys import service as signing_keys
from shared.data.database import Database
from shared.identity import Principal
from shared.identity.access_tokens import TYP
from shared.identity.keys import VerifyingKey
from shared.identity.tokens import read_header
from shared.identity.verified_tokens import VerifiedTokens
from shared.problems import InvalidToken

_REMEMBERED: Final = 10_000  # about 2 KiB each
_MOST_KEYS: Final = 64


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a valid token says: its claims, and the person or the client that they are about."""

    claims: dict[str, Any]
    user: Principal


class AccessTokens:
    """Says nothing about revocation. A key is kept as long as tokens that it has signed may be valid."""

    def __init__(self, database: Database, public_url: str) -> None:
        self._database, self._public_url = database, public_url
        self._keys: dict[str, VerifyingKey] = {}
        self._verified: VerifiedTokens[AccessToken] = VerifiedTokens(_REMEMBERED)

    async def verified(self, token: str) -> AccessToken | None:
        """What an access token of this service says that has not expired; None for anything else."""
        known = self._verified.find(token, None)
        if known is not None:
            return known
        key = await self._key(token)
        if key is None:
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token, key.key, [key.algorithm], {"verify_aud": False, "require": ["exp"]}, issuer=self._public_url
            )
            user = replace(Principal.from_claims(claims), actor=None)
        except (jwt.PyJWTError, InvalidToken, ValueError, RecursionError):
            return None
        return self._verified.add(token, AccessToken(claims, user), keys=None, ends=claims["exp"])

    async def _key(self, token: str) -> VerifyingKey | None:
        try:
            header = read_header(token)
        except InvalidToken:
            return None
        if header.typ != TYP:
            return None
        if (known := self._keys.get(header.kid)) is not None:
            return known
        async with self._database.transaction() as db:
            key = await signing_keys.verifying(db, header.kid)
        if key is not None:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            self._keys[header.kid] = key
        return key
