"""The bucket as arithmetic: a caller may use `requests` at once, and they come back evenly over `per_s` seconds.

Kept as one number, the time at which the bucket is full again (GCRA, ITU-T I.371): each request moves it `per_s /
requests` further, and is refused where that would leave it more than `per_s` ahead of now.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_CALLERS: Final = 50_000

SCRIPT: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = tonumber(redis.call('GET', KEYS[1]) or 0)
if full < now then full = now end
local after = full + interval
local wait = after - burst - now
if wait > 0 then return {-1, full - now, wait} end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', math.ceil((after - now) / 1000))
return {math.floor((burst - (after - now)) / interval), after - now, 0}
"""
"""KEYS[1] the caller; ARGV interval and burst in µs. Answers {left or -1, µs until full, µs to wait}."""

GIVE_BACK: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1])
if full > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
else
  redis.call('DEL', KEYS[1])
end
"""
"""KEYS[1] the caller; ARGV[1] the interval in µs: one request of the caller's counts no longer."""


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in `per_s` seconds, under the name that answers carry."""

    tier: str
    requests: int
    per_s: int = 3600

    @property
    def burst_us(self) -> int:
        return self.interval_us * self.requests

    @property
    def interval_us(self) -> int:
        """Time in which one request comes back."""
        return max(1, self.per_s * 1_000_000 // self.requests)

    def share(self, gateways: int) -> "Limit":
        """What one of several gateways admits on its own."""
        return Limit(self.tier, max(1, self.requests // gateways), self.per_s)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request is admitted, and what is left; times in µs from now."""

    limit: Limit
    left: int
    full_in_us: int
    wait_us: int

    @property
    def admitted(self) -> bool:
        return self.left >= 0


class LocalBuckets:
    """The same buckets in this process alone, for while the cache is away; the callers least recently seen go first."""

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, int] = OrderedDict()

    def take(self, key: str, limit: Limit, now_us: int) -> Decision:
        full = max(self._full_at.get(key, 0), now_us)
        after = full + limit.interval_us
        wait = after - limit.burst_us - now_us
        if wait > 0:
            return Decision(limit, -1, full - now_us, wait)
        self._full_at[key] = after
        self._full_at.move_to_end(key)
        if len(self._full_at) > _CALLERS:
            self._full_at.popitem(last=False)
        return Decision(limit, (limit.burst_us - (after - now_us)) // limit.interval_us, after - now_us, 0)

    def give_back(self, key: str, limit: Limit) -> None:
        if key in self._full_at:
            self._full_at[key] -= limit.interval_us
