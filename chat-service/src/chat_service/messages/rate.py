"""How many messages a person may send: 20 a second, 40 at once, over all their devices and all replicas."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.problems import Problem

RATE_S: Final = 20
BURST: Final = 40
_PRUNE_ABOVE: Final = 10_000

# The generic cell rate algorithm: one number says when the bucket would be empty again. The time is the cache's own.
_TAKE: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + 1 / tonumber(ARGV[1])
if full - now > tonumber(ARGV[2]) / tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], string.format('%.6f', full), 'PX', math.ceil((full - now) * 1000) + 1000)
return 1
"""


class RateLimited(Problem):
    """More messages a second than a person may send."""

    status, title = 429, "Too many messages"
    remedy = "Wait a moment and send the message again under the same client_id."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, retry_after_s=1)


class Buckets:
    """A bucket each for any number of keys, in this process; one that is full again is forgotten."""

    def __init__(self, rate_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate_s, self._burst, self._clock = rate_s, burst, clock
        self._empty_at: dict[tuple[UUID, UUID], float] = {}

    def take(self, key: tuple[UUID, UUID]) -> bool:
        """Take one; False where none is left."""
        now = self._clock()
        if len(self._empty_at) > _PRUNE_ABOVE:
            self._empty_at = {known: at for known, at in self._empty_at.items() if at > now}
        full = max(self._empty_at.get(key, now), now) + 1 / self._rate_s
        if full - now > self._burst / self._rate_s:
            return False
        self._empty_at[key] = full
        return True


class MessageRate:
    """One person's messages, counted here and, where the cache answers, over all replicas."""

    def __init__(self, cache: Redis) -> None:
        self._cache = cache
        self._here = Buckets(RATE_S, BURST)

    async def take(self, tenant_id: UUID, user_id: UUID) -> None:
        """Count one message here and everywhere. Raises RateLimited."""
        if not (self.take_here(tenant_id, user_id) and await self.take_everywhere(tenant_id, user_id)):
            raise RateLimited

    def take_here(self, tenant_id: UUID, user_id: UUID) -> bool:
        """Count a message of this process: no waiting, so a flood is refused as it is read."""
        return self._here.take((tenant_id, user_id))

    async def take_everywhere(self, tenant_id: UUID, user_id: UUID) -> bool:
        """Count it over all replicas; with the cache away each replica's own count has to do."""
        key = f"chat:rate:{tenant_id}:{user_id}"
        try:
            return bool(await self._cache.eval(_TAKE, 1, key, str(RATE_S), str(BURST)))
        except (RedisError, OSError):
            return True


class Tally:
    """How often something happened in the last minute."""

    def __init__(self, most: int, within_s: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._times: deque[float] = deque(maxlen=most)

    def full(self) -> bool:
        """Count one more; whether that makes `most` within the time."""
        now = self._clock()
        self._times.append(now)
        return len(self._times) == self._most and now - self._times[0] < self._within_s
