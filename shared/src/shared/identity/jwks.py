"""auth-service's public keys (RFC 7517), fetched ahead of need and kept while auth-service is unavailable."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import structlog

from shared.background import Backoff, PollingLoop
from shared.identity.keys import KeyInvalid, VerifyingKey, verifying_key
from shared.problems import Problem, ServiceUnavailable

Fetch = Callable[[], Awaitable[Mapping[str, Any]]]
"""Brings the key set as parsed JSON. Fails by a Problem, OSError or ValueError, as shared.clients does."""

REFRESH_EVERY_S: Final = 60.0  # auth-service lists a key well before it signs with it, so a poll usually sees it first
MIN_INTERVAL_S: Final = 5.0  # tokens that name made-up keys make us ask this often at most
FETCH_TIMEOUT_S: Final = 3.0
MAX_KEYS: Final = 64
_BACKOFF: Final = Backoff(first_s=0.5, most_s=MIN_INTERVAL_S)

log = structlog.get_logger()


class Jwks:
    """A key set by key id. Synchronous to look into, asynchronous to renew."""

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: dict[str, VerifyingKey] = {}
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._reason = ""
        self.generation = 0
        """Grows when the keys change, so that remembered verifications are dropped."""

    @property
    def loaded(self) -> bool:
        """Whether the keys were ever fetched. Before that, no access token can be verified."""
        return bool(self._keys)

    @property
    def only(self) -> VerifyingKey | None:
        """The one key of a set that has one alone, for tokens that name none; else None."""
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def find(self, kid: str) -> VerifyingKey | None:
        """The key of that name as of the last fetch, or None; makes no call."""
        return self._keys.get(kid)

    async def key(self, kid: str) -> VerifyingKey | None:
        """The key of that name, asking auth-service once for an unknown one if it was not asked in the last 5 s."""
        if (found := self.find(kid)) is not None:
            return found
        async with self._asking:  # a crowd with the same new key makes one fetch
            if kid not in self._keys and self._clock() - self._asked_at >= MIN_INTERVAL_S:
                await self._refresh()
        return self.find(kid)

    async def refresh(self) -> bool:
        """Fetch now; False (and what is known stays) when auth-service did not bring a usable set."""
        async with self._asking:
            return await self._refresh()

    async def run(self) -> None:
        """Keep the keys fresh until cancelled: every minute, and within 5 s after a failure."""
        await PollingLoop("jwks", self._refresh_or_raise, every_s=REFRESH_EVERY_S, backoff=_BACKOFF).run()

    async def _refresh_or_raise(self) -> None:
        if not await self.refresh():
            raise ServiceUnavailable(f"auth-service's keys cannot be fetched: {self._reason}")

    async def _refresh(self) -> bool:
        self._asked_at = self._clock()
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_S):
                keys = _usable_keys(await self._fetch())
        except (Problem, OSError, ValueError) as error:  # TimeoutError is an OSError
            self._reason = repr(error)
            return False
        if keys != self._keys:
            self._keys = keys
            self.generation += 1
        return True


def _usable_keys(document: object) -> dict[str, VerifyingKey]:
    """The keys that we can verify with; others are passed over (RFC 7517, section 5). ValueError without any."""
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise ValueError("not a key set")
    keys: dict[str, VerifyingKey] = {}
    for jwk in listed:
        try:
            key = verifying_key(jwk)
        except KeyInvalid as invalid:
            log.warning("jwks_key_passed_over", reason=str(invalid))
        else:
            keys[key.kid] = key
    if not keys:
        raise ValueError("the key set has no usable key")
    return keys
