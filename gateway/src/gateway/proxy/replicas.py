"""The replicas of each service: round robin, and a replica that cannot be reached is skipped for a while."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import structlog
from prometheus_client import Counter

from gateway.proxy.upstream import UpstreamError, UpstreamUnreachable

log = structlog.get_logger("gateway.replicas")

SKIP_S: Final = 5.0  # how long an unreachable replica is skipped; then a single request tries it

UNREACHABLE = Counter("flotilla_gateway_unreachable_total", "Failed connections to a replica.", ["upstream"])

T = TypeVar("T")
Origins: TypeAlias = Sequence[str]
"""Base URLs of replicas."""


class Replicas:
    """The replicas of one service. The only state of a replica is whether the last connection to it succeeded."""

    def __init__(self, name: str, origins: Origins, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._orders = [(*origins[first:], *origins[:first]) for first in range(len(origins))]
        self._turn = 0
        self._skipped_until: dict[str, float] = {}

    async def reach(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Call `attempt` with one replica's base URL after another until one can be reached; return its result.

        Only a failed connection leads to the next replica: after any other failure the request may have been
        processed. Raises UpstreamError; UpstreamUnreachable if no replica can be reached.
        """
        unreachable = UpstreamUnreachable()
        for origin in self._in_turn():
            try:
                result = await attempt(origin)
            except UpstreamUnreachable as error:
                unreachable = error
                self._mark_unreachable(origin)
            except UpstreamError:
                self._mark_reachable(origin)
                raise
            else:
                self._mark_reachable(origin)
                return result
        raise unreachable

    def _in_turn(self) -> Origins:
        """All replicas in the order of trying: those that are not skipped come first."""
        order = self._orders[self._turn]
        self._turn = (self._turn + 1) % len(self._orders)
        if not self._skipped_until:
            return order
        now = self._clock()
        for origin, until in self._skipped_until.items():
            if until <= now:
                self._skipped_until[origin] = now + SKIP_S  # only this request tries it; others still skip it
                return [origin, *(other for other in order if other != origin)]
        return sorted(order, key=self._skipped_until.__contains__)

    def _mark_unreachable(self, origin: str) -> None:
        UNREACHABLE.labels(self._name).inc()
        if origin not in self._skipped_until:
            log.warning("replica_unreachable", upstream=self._name, origin=origin)
        self._skipped_until[origin] = self._clock() + SKIP_S

    def _mark_reachable(self, origin: str) -> None:
        if self._skipped_until and self._skipped_until.pop(origin, None) is not None:
            log.info("replica_reachable", upstream=self._name, origin=origin)
