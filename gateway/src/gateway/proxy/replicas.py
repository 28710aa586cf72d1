"""The replicas of each service behind the gateway: whose turn it is, and who is passed over for a while."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import structlog
from prometheus_client import Counter

from gateway.proxy.upstream import UpstreamError, UpstreamUnreachable

log = structlog.get_logger("gateway.replicas")

AWAY_S: Final = 5.0  # who could not be reached is passed over for so long; then one request tries, and tells the others

UNREACHABLE = Counter(
    "flotilla_gateway_unreachable_total", "Connections to a replica that could not be made.", ["upstream"]
)

T = TypeVar("T")
Origins: TypeAlias = Sequence[str]
"""Base URLs of replicas."""


class Replicas:
    """One service's replicas, each in its turn. Nothing is known of them but whether they could be reached."""

    def __init__(self, name: str, origins: Origins, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._clock = name, clock
        self._orders = [(*origins[first:], *origins[:first]) for first in range(len(origins))]
        self._turn = 0
        self._away: dict[str, float] = {}

    async def reach(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        """What `attempt` brings from the first replica that can be reached, by its base URL.

        Only a connection that was not made leads on to the next: whatever else fails may have been acted upon. Raises
        UpstreamError; UpstreamUnreachable where no replica can be reached.
        """
        unreachable = UpstreamUnreachable()
        for origin in self._in_turn():
            try:
                brought = await attempt(origin)
            except UpstreamUnreachable as error:
                unreachable = error
                self._lost(origin)
            except UpstreamError:
                self._found(origin)
                raise
            else:
                self._found(origin)
                return brought
        raise unreachable

    def _in_turn(self) -> Origins:
        """Everyone in the order of trying: who was reached last time comes before who was not."""
        order = self._orders[self._turn]
        self._turn = (self._turn + 1) % len(self._orders)
        if not self._away:
            return order
        now = self._clock()
        for origin, until in self._away.items():
            if until <= now:
                self._away[origin] = now + AWAY_S  # this request tries it; the others go on passing it over meanwhile
                return [origin, *(other for other in order if other != origin)]
        return sorted(order, key=self._away.__contains__)

    def _lost(self, origin: str) -> None:
        UNREACHABLE.labels(self._name).inc()
        if origin not in self._away:
            log.warning("replica_away", upstream=self._name, origin=origin)
        self._away[origin] = self._clock() + AWAY_S

    def _found(self, origin: str) -> None:
        if self._away and self._away.pop(origin, None) is not None:
            log.info("replica_back", upstream=self._name, origin=origin)
