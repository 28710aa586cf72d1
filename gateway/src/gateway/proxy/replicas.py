"""The replicas of each service: round robin; a replica that does not answer is skipped until a probe finds it again.

Health is passive: it is learned from requests. A failed connection proves that a replica is down. Silence does not,
since one route may be slow: a silent replica is sent a probe, and skipped only if that is not answered either.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

import structlog
from prometheus_client import Counter, Gauge

from gateway.proxy.upstream import (
    UpstreamClient,
    UpstreamError,
    UpstreamRequest,
    UpstreamTimedOut,
    UpstreamUnreachable,
)

log = structlog.get_logger("gateway.replicas")

SKIP_S: Final = 5.0  # how long a replica is skipped before the next probe
SUSPECT_S: Final = 2.0  # a replica that answered nothing for so long, though it was sent a request, is sent a probe
PROBE_S: Final = 2.0

UNREACHABLE = Counter("flotilla_gateway_unreachable_total", "Failed connections and probes.", ["upstream"])
SKIPPED = Gauge("flotilla_gateway_replicas_skipped", "Replicas that are skipped now.", ["upstream"])

T = TypeVar("T")
Origins: TypeAlias = Sequence[str]
"""Base URLs of replicas."""

Probe: TypeAlias = Callable[[str], Awaitable[None]]
"""Returns when the replica at the base URL answers. Raises UpstreamError."""


def prober(client: UpstreamClient) -> Probe:
    """A probe that any answer of the replica's `/livez` satisfies."""

    async def probe(origin: str) -> None:
        request = UpstreamRequest("GET", "/livez", [], None, None, PROBE_S)
        (await client.send(request, origin)).close()

    return probe


class Replicas:
    """The replicas of one service."""

    def __init__(self, name: str, origins: Origins, probe: Probe, clock: Callable[[], float] = time.monotonic) -> None:
        self._name, self._probe, self._clock = name, probe, clock
        self._orders = [(*origins[first:], *origins[:first]) for first in range(len(origins))]
        self._turn = 0
        self._skipped_until: dict[str, float] = {}
        self._silent_since: dict[str, float] = {}
        """When the first request was sent to a replica that has answered nothing since."""
        self._probes: dict[str, asyncio.Task[None]] = {}

    async def reach(self, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Call `attempt` with one replica's base URL after another until one can be reached; return its result.

        Only a failed connection leads to the next replica: after any other failure the request may have been
        processed. Raises UpstreamError; UpstreamUnreachable if no replica can be reached.
        """
        unreachable = UpstreamUnreachable()
        for origin in self._in_turn():
            self._silent_since.setdefault(origin, self._clock())
            try:
                result = await attempt(origin)
            except UpstreamUnreachable as error:
                unreachable = error
                self._skip(origin, "connection failed")
            except UpstreamTimedOut:
                self._start_probe(origin)
                raise
            except UpstreamError:
                self._mark_answered(origin)
                raise
            else:
                self._mark_answered(origin)
                return result
        raise unreachable

    def _in_turn(self) -> Origins:
        """All replicas in the order of trying: those that are not skipped come first."""
        order = self._orders[self._turn]
        self._turn = (self._turn + 1) % len(self._orders)
        if self._silent_since or self._skipped_until:
            self._probe_due()
        return sorted(order, key=self._skipped_until.__contains__) if self._skipped_until else order

    def _probe_due(self) -> None:
        now = self._clock()
        for origin, until in self._skipped_until.items():
            if until <= now:
                self._start_probe(origin)
        for origin, since in self._silent_since.items():
            if now - since >= SUSPECT_S and origin not in self._skipped_until:
                self._start_probe(origin)

    def _start_probe(self, origin: str) -> None:
        if origin not in self._probes:
            self._probes[origin] = task = asyncio.create_task(self._run_probe(origin))
            task.add_done_callback(lambda _: self._probes.pop(origin))

    async def _run_probe(self, origin: str) -> None:
        try:
            await self._probe(origin)
        except UpstreamError:
            self._skip(origin, "no answer to a probe")
        else:
            self._mark_answered(origin)

    def _skip(self, origin: str, reason: str) -> None:
        UNREACHABLE.labels(self._name).inc()
        if origin not in self._skipped_until:
            log.warning("replica_unreachable", upstream=self._name, origin=origin, reason=reason)
        self._silent_since.pop(origin, None)
        self._skipped_until[origin] = self._clock() + SKIP_S
        SKIPPED.labels(self._name).set(len(self._skipped_until))

    def _mark_answered(self, origin: str) -> None:
        self._silent_since.pop(origin, None)
        if self._skipped_until and self._skipped_until.pop(origin, None) is not None:
            log.info("replica_reachable", upstream=self._name, origin=origin)
            SKIPPED.labels(self._name).set(len(self._skipped_until))
