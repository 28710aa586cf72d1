"""API keys at the edge: redeemed at auth-service, remembered for a minute at most, ended by the revocation feed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakValueDictionary

from pydantic import BaseModel

from shared.clients import ServiceClient, UnexpectedAnswer
from shared.identity import Principal
from shared.identity.api_keys import is_well_formed
from shared.identity.revocations import Revocations
from shared.identity.verified_tokens import VerifiedTokens
from shared.problems import Forbidden, InvalidToken

HEADER: Final = b"x-api-key"
REMEMBERED_S: Final = 60.0
_REMEMBERED_KEYS: Final = 20_000


class ApiKeyNotAllowed(Forbidden):
    """The operation manages an account, its sessions, its clients or its keys, and the caller comes by an API key."""

    status, title = 403, "An API key cannot do this"
    remedy = "Send an access token of a sign-in as `Authorization: Bearer` instead."


class _Key(BaseModel):
    key: str
    confirm: bool


class _Redeemed(BaseModel):
    claims: dict[str, Any]


class ApiKeys:
    """Finds the person behind a key. What is remembered is never older than the feeds: they are asked at each use."""

    def __init__(self, revocations: Revocations, auth: ServiceClient) -> None:
        self._revocations, self._auth = revocations, auth
        self._known: VerifiedTokens[Principal] = VerifiedTokens(_REMEMBERED_KEYS)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def find(self, key: str) -> Principal | None:
        """The person behind a key that was redeemed within the last minute; None if a feed has ended that since."""
        principal = self._known.find(key, None)
        if principal is None or self._revocations.ended(principal) is not None:
            return None
        return principal

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """One redemption of a key at a time: a request that waited finds what was remembered."""
        async with self._turns.setdefault(key, asyncio.Lock()):
            yield

    async def redeem(self, key: str) -> Principal:
        """The person behind the key by auth-service. Raises InvalidToken or ServiceUnavailable.

        A misspelled key costs no call. If a feed knows of a newer membership than auth-service used, it asks
        users-service; then the answer is right although the event of the change has not arrived there.
        """
        if not is_well_formed(key):
            raise InvalidToken("The API key is misspelled: its form or its checksum is wrong.")
        principal = await self._redeem(key, confirm=False)
        ended = self._revocations.ended(principal)
        if ended is not None and ended.reason in ("membership", "tenant"):
            principal = await self._redeem(key, confirm=True)
        return self._known.add(key, principal, keys=None, ends=min(time.time() + REMEMBERED_S, principal.expires_at))

    async def _redeem(self, key: str, *, confirm: bool) -> Principal:
        body = _Key(key=key, confirm=confirm)
        try:
            redeemed = await self._auth.send("POST", "/internal/api-keys/redeem", body, _Redeemed)
        except UnexpectedAnswer as answer:
            if answer.received_code not in ("invalid_token", "invalid_input"):
                raise
            raise InvalidToken("The API key is unknown, expired or revoked.") from answer
        return Principal.from_claims(redeemed.claims)


def key_of(header: bytes) -> str:
    """The key that an X-API-Key header shows."""
    return header.strip().decode("latin-1")
