"""Asks the shared bucket whether a request may pass, and this gateway's own while the cache is away."""

import hashlib
import time
from typing import Any, Final

from prometheus_client import Counter

from gateway.policy.limits.bucket import GIVE_BACK, SCRIPT, Decision, Limit, LocalBuckets
from gateway.policy.limits.pipe import CacheAway, CacheRefused, Pipe

_SHA: Final = {text: hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest() for text in (SCRIPT, GIVE_BACK)}

LOCAL = Counter("flotilla_gateway_limits_local_total", "Requests judged by this gateway's own share of the limit.")
REFUSED = Counter("flotilla_gateway_limited_total", "Requests refused because the limit was used up.", ["tier"])


class Limiter:
    """Exact over all gateways while the cache answers; each admits N / `gateways` by itself while it does not."""

    def __init__(self, url: str | None, gateways: int) -> None:
        self.pipe = Pipe(url, opening=tuple(("SCRIPT", "LOAD", text) for text in _SHA)) if url else None
        self._gateways = gateways
        self._local = LocalBuckets()

    async def take(self, key: str, limit: Limit) -> Decision:
        """Count one request of the caller `key` against `limit`."""
        decision = await self._shared(key, limit) or self._own(key, limit)
        if not decision.admitted:
            REFUSED.labels(limit.tier).inc()
        return decision

    async def give_back(self, key: str, limit: Limit) -> None:
        """Let the last request of the caller `key` count no longer."""
        try:
            await self._run(GIVE_BACK, key, limit.interval_us)
        except (CacheAway, CacheRefused):
            self._local.give_back(key, limit.share(self._gateways))

    async def _shared(self, key: str, limit: Limit) -> Decision | None:
        try:
            return Decision(limit, *await self._run(SCRIPT, key, limit.interval_us, limit.burst_us))
        except (CacheAway, CacheRefused):
            return None

    async def _run(self, script: str, key: str, *arguments: int) -> Any:
        """The script's answer about the caller `key`. Raises CacheAway, CacheRefused."""
        if self.pipe is None:
            raise CacheAway
        try:
            return await self.pipe.call("EVALSHA", _SHA[script], 1, f"limit:{key}", *arguments)
        except CacheRefused as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            return await self.pipe.call("EVAL", script, 1, f"limit:{key}", *arguments)

    def _own(self, key: str, limit: Limit) -> Decision:
        LOCAL.inc()
        return self._local.take(key, limit.share(self._gateways), time.monotonic_ns() // 1000)

    def close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
