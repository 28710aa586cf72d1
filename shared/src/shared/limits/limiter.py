"""Buckets in the cache, shared by all replicas: one script and one round trip for all buckets of a request."""

import hashlib
from typing import Final

from prometheus_client import Counter

from shared.limits.buckets import Bucket, Decision, LocalBuckets, tightest
from shared.limits.connection import Argument, CacheError, CacheRefused, PipelinedConnection

SCRIPT: Final = """
local time = redis.call('TIME')
local now, cost = time[1] * 1000000 + time[2], ARGV[1]
local reply, refused = {}, false
for i = 1, #KEYS do
  local full_in = (redis.call('GET', KEYS[i]) or 0) - now
  if full_in < 0 then full_in = 0 end
  local wait = full_in + cost * ARGV[2 * i] - ARGV[2 * i + 1]
  if wait > 0 then refused = true else wait = 0 end
  reply[2 * i - 1], reply[2 * i] = full_in, wait
end
if refused then return reply end
for i = 1, #KEYS do
  local full_in = reply[2 * i - 1] + cost * ARGV[2 * i]
  if full_in < 0 then full_in = 0 end
  redis.call('SET', KEYS[i], string.format('%.0f', now + full_in), 'PX', math.ceil(full_in / 1000) + 1)
  reply[2 * i - 1] = full_in
end
return reply
"""
"""`buckets.judge` in the cache, by the cache's clock; times are in µs.

KEYS: the buckets, all different. ARGV: the cost, then interval and burst of each bucket. Returns for each bucket the
time until it is full and the time to wait. A key expires a millisecond late, since the cache counts whole ones.
"""

_SHA: Final = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

LOCAL = Counter("flotilla_limits_local_total", "Decisions made by a process's own share of a limit.")


class SharedBuckets:
    """The buckets in the cache at `url`. Its `connection.run` is background work of the process."""

    def __init__(self, url: str) -> None:
        self.connection = PipelinedConnection(url, opening=(("SCRIPT", "LOAD", SCRIPT),))

    async def take(self, *buckets: Bucket, cost: int = 1) -> Decision:
        """Charge all of the buckets or none, and return the tightest one. Raises CacheError."""
        arguments: list[Argument] = [f"limit:{bucket.key}" for bucket in buckets]
        arguments.append(cost)
        for bucket in buckets:
            arguments += (bucket.limit.interval_us, bucket.limit.burst_us)
        try:
            reply = await self.connection.call("EVALSHA", _SHA, len(buckets), *arguments)
        except CacheRefused as error:
            if not str(error).startswith("NOSCRIPT"):  # the cache was restarted, or flushed of its scripts
                raise
            reply = await self.connection.call("EVAL", SCRIPT, len(buckets), *arguments)
        if len(buckets) == 1:  # spares most requests half a microsecond
            return Decision(buckets[0], *reply)
        return tightest(map(Decision, buckets, reply[::2], reply[1::2]))


class Limiter:
    """Exact over all replicas while the cache answers; while it does not, each replica grants its share of a limit."""

    def __init__(self, url: str | None, replicas: int = 1) -> None:
        self._shared = None if url is None else SharedBuckets(url)
        self._replicas = replicas
        self._local = LocalBuckets()

    @property
    def connection(self) -> PipelinedConnection | None:
        """Its `run` is background work of the process."""
        return None if self._shared is None else self._shared.connection

    async def take(self, *buckets: Bucket, cost: int = 1) -> Decision:
        """Charge all of the buckets or none, and return the tightest one. A negative cost gives units back."""
        if self._shared is not None:
            try:
                return await self._shared.take(*buckets, cost=cost)
            except CacheError:
                pass
        LOCAL.inc()
        share = [Bucket(bucket.key, bucket.limit.share(self._replicas)) for bucket in buckets]
        return self._local.take(*share, cost=cost)
