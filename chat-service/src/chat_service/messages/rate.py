"""How many messages a person may send: 20 a second, 40 at once, over all their devices and all replicas."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final
from uuid import UUID

from shared.limits import Bucket, CacheError, Limit, LocalBuckets, SharedBuckets
from shared.problems import Problem

MESSAGES: Final = Limit("messages", quota=20, window_s=1, burst=40)
TYPING: Final = Limit("typing", quota=5, window_s=1, burst=10)


class RateLimited(Problem):
    """More messages a second than a person may send."""

    status, title = 429, "Too many messages"
    remedy = "Wait a moment and send the message again under the same client_id."

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail, retry_after_s=1)


class MessageRate:
    """One person's messages, counted in this process and, while the cache answers, over all replicas."""

    def __init__(self, shared: SharedBuckets) -> None:
        self._shared = shared
        self._local = LocalBuckets()

    async def take(self, tenant_id: UUID, user_id: UUID) -> None:
        """Count one message here and everywhere. Raises RateLimited."""
        if not (self.take_here(tenant_id, user_id) and await self.take_everywhere(tenant_id, user_id)):
            raise RateLimited

    def take_here(self, tenant_id: UUID, user_id: UUID) -> bool:
        """Count a message of this process: no waiting, so a flood is refused as it is read."""
        return self._local.take(_bucket(MESSAGES, tenant_id, user_id)).allowed

    async def take_everywhere(self, tenant_id: UUID, user_id: UUID) -> bool:
        """Count it over all replicas; without the cache, each replica's own count is the limit."""
        try:
            return (await self._shared.take(_bucket(MESSAGES, tenant_id, user_id))).allowed
        except CacheError:
            return True

    def take_typing(self, tenant_id: UUID, user_id: UUID) -> bool:
        """Count a sign of typing, in this process only."""
        return self._local.take(_bucket(TYPING, tenant_id, user_id)).allowed


def _bucket(limit: Limit, tenant_id: UUID, user_id: UUID) -> Bucket:
    return Bucket(f"{limit.name}:{tenant_id}:{user_id}", limit)


class Tally:
    """How often something happened in the last minute."""

    def __init__(self, most: int, within_s: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._within_s, self._clock = most, within_s, clock
        self._times: deque[float] = deque(maxlen=most)

    def add(self) -> bool:
        """Count one more; returns whether that makes `most` within the time."""
        now = self._clock()
        self._times.append(now)
        return len(self._times) == self._most and now - self._times[0] < self._within_s
