"""Token buckets as arithmetic: the generic cell rate algorithm (GCRA, ITU-T I.371), in whole microseconds.

A bucket is one number, the time at which it is full again. A request moves that time one interval (`window_s / quota`)
further for each unit that it costs, and is refused when the time would be more than `burst` intervals ahead of now.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import IPv6Address, ip_address
from typing import Final, NamedTuple

_MAX_BUCKETS: Final = 50_000


@dataclass(frozen=True)
class Limit:
    """`quota` units every `window_s` seconds, refilled evenly; `burst` of them at once, all where it is not given."""

    name: str
    quota: int
    window_s: int = 3600
    burst: int | None = None

    @cached_property
    def interval_us(self) -> int:
        """Time in which one unit is refilled."""
        return max(1, self.window_s * 1_000_000 // self.quota)

    @cached_property
    def burst_us(self) -> int:
        """Time in which an empty bucket is full again."""
        return self.interval_us * (self.quota if self.burst is None else self.burst)

    def share(self, replicas: int) -> "Limit":
        """The part of this limit that one of several replicas grants on its own."""
        burst = None if self.burst is None else max(1, self.burst // replicas)
        return replace(self, quota=max(1, self.quota // replicas), burst=burst)


class Bucket(NamedTuple):
    """The units of a limit that are left to one caller; `key` names the caller and is unique over all limits."""

    key: str
    limit: Limit


class Decision(NamedTuple):
    """A bucket after a request was allowed or refused. Times are in microseconds from now."""

    bucket: Bucket
    full_in_us: int
    wait_us: int
    """Until the bucket would allow the request; 0 where it does."""

    @property
    def allowed(self) -> bool:
        return self.wait_us == 0

    @property
    def remaining(self) -> int:
        limit = self.bucket.limit
        return max(0, (limit.burst_us - self.full_in_us) // limit.interval_us)

    @property
    def reset_s(self) -> int:
        """Seconds until the bucket is full, rounded up."""
        return -(-self.full_in_us // 1_000_000)

    @property
    def retry_after_s(self) -> int:
        """Seconds until the request would be allowed, rounded up, at least 1."""
        return max(1, -(-self.wait_us // 1_000_000))


def judge(buckets: Sequence[Bucket], full_at_us: Sequence[int], cost: int, now_us: int) -> list[Decision]:
    """Charge `cost` units to every bucket, or to none when one of them refuses. A negative cost gives units back.

    The script in limiter.py does the same in the cache. A cost above the burst is never allowed.
    """
    before = [max(0, full_at - now_us) for full_at in full_at_us]
    after = [full_in + cost * bucket.limit.interval_us for bucket, full_in in zip(buckets, before, strict=True)]
    waits = [max(0, full_in - bucket.limit.burst_us) for bucket, full_in in zip(buckets, after, strict=True)]
    full_in_us = before if any(waits) else [max(0, full_in) for full_in in after]
    return list(map(Decision, buckets, full_in_us, waits))


def tightest(decisions: Iterable[Decision]) -> Decision:
    """The bucket that the caller has to wait for longest or, when all allow the request, the one with the least left.

    So the tightest one is allowed exactly when all are.
    """
    return min(decisions, key=lambda one: (-one.wait_us, one.remaining))


def _monotonic_us() -> int:
    return time.monotonic_ns() // 1000


class LocalBuckets:
    """Buckets in this process alone. Above 50,000, the least recently used ones are dropped, and so full again."""

    def __init__(self, clock_us: Callable[[], int] = _monotonic_us) -> None:
        self._clock_us = clock_us
        self._full_at_us: OrderedDict[str, int] = OrderedDict()

    def take(self, *buckets: Bucket, cost: int = 1) -> Decision:
        """Charge all of the buckets or none, and return the tightest one."""
        now_us = self._clock_us()
        decisions = judge(buckets, [self._full_at_us.get(bucket.key, 0) for bucket in buckets], cost, now_us)
        for decision in decisions:
            self._full_at_us[decision.bucket.key] = now_us + decision.full_in_us
            self._full_at_us.move_to_end(decision.bucket.key)
        while len(self._full_at_us) > _MAX_BUCKETS:
            self._full_at_us.popitem(last=False)
        return tightest(decisions)


def client_network(address: str) -> str:
    """The part of a client's address that limits count by: an IPv4 address, or the /64 of an IPv6 address.

    One IPv6 customer usually owns at least a whole /64 (RFC 6177). Text that is not an address is returned unchanged.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or f"{IPv6Address(int(parsed) >> 64 << 64)}/64")
