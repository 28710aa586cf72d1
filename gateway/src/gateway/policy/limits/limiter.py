"""Asks the shared bucket whether a request may pass, and this gateway's own while the cache is away."""

import hashlib
import time
from typing import Final

from prometheus_client import Counter

from gateway.policy.limits.bucket import SCRIPT, Decision, Limit, LocalBuckets
from gateway.policy.limits.pipe import CacheAway, CacheRefused, Pipe

_SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

LOCAL = Counter("flotilla_gateway_limits_local_total", "Requests judged by this gateway's own share of the limit.")
REFUSED = Counter("flotilla_gateway_limited_total", "Requests refused because the limit was used up.", ["tier"])


class Limiter:
    """Exact over all gateways while the cache answers; each admits N / `gateways` by itself while it does not."""

    def __init__(self, url: str | None, gateways: int) -> None:
        self.pipe = Pipe(url, opening=(("SCRIPT", "LOAD", SCRIPT),)) if url else None
        self._gateways = gateways
        self._local = LocalBuckets()

    async def take(self, key: str, limit: Limit) -> Decision:
        """Count one request of the caller `key` against `limit`."""
        decision = await self._shared(key, limit) or self._own(key, limit)
        if not decision.admitted:
            REFUSED.labels(limit.tier).inc()
        return decision

    async def _shared(self, key: str, limit: Limit) -> Decision | None:
        pipe = self.pipe
        if pipe is None:
            return None
        arguments = (1, f"limit:{key}", limit.interval_us, limit.burst_us)
        try:
            try:
                reply = await pipe.call("EVALSHA", _SHA, *arguments)
            except CacheRefused as error:
                if not str(error).startswith("NOSCRIPT"):
                    return None
                reply = await pipe.call("EVAL", SCRIPT, *arguments)
        except (CacheAway, CacheRefused):
            return None
        return Decision(limit, *reply)

    def _own(self, key: str, limit: Limit) -> Decision:
        LOCAL.inc()
        return self._local.take(key, limit.share(self._gateways), time.monotonic_ns() // 1000)

    def close(self) -> None:
        if self.pipe is not None:
            self.pipe.close()
