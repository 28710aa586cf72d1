"""The bus carries bytes, by type, from a publisher to every service that consumes the type. It knows nothing else.

Two transports keep this contract and pass one suite: RabbitMQ (rabbit.py) and Valkey Streams (valkey_streams.py).
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

import structlog

OnMessage = Callable[[bytes], Awaitable[None]]

PUBLISH_TIMEOUT_S: Final = 5.0  # well below the 15 s after which PostgreSQL ends the relay's idle transaction
UNROUTED_KEPT: Final = 10_000  # messages of types that nobody consumes: enough to see what they are
IN_FLIGHT: Final = 100  # messages that one consumer holds at a time
MAX_BACKOFF_S: Final = 5.0

log = structlog.get_logger(__name__)


class BusUnavailable(Exception):
    """The broker does not answer, or did not confirm in time; a message being sent may or may not have arrived."""


class MessageRefused(Exception):
    """The broker is there and will not take this message, today or tomorrow."""


class Bus(Protocol):
    """A transport. Opening one connects to nothing: each call connects when it has to, and again after an outage."""

    async def declare(self, service: str, types: Collection[str]) -> None:
        """Make `service`'s queue and bind it to `types`; safe to repeat, and it never takes a binding away.

        A binding outlives the release that asked for it, because an older release may still run beside a newer one.
        Raises BusUnavailable.
        """

    async def publish(self, message: bytes, *, event_type: str, event_id: str) -> None:
        """Hand over one message; on return it is stored for every service that is bound to `event_type`.

        Returns or raises within PUBLISH_TIMEOUT_S. Raises BusUnavailable or MessageRefused.
        """

    async def consume(self, service: str, on_message: OnMessage) -> None:
        """Receive `service`'s messages until cancelled, over any number of outages.

        Calls of `on_message` begin in the order of arrival, up to IN_FLIGHT at a time. A message is acknowledged after
        its call returned; one whose call raises comes again.
        """

    async def depth(self, service: str) -> int:
        """How many messages wait for `service`. Raises BusUnavailable."""

    async def unrouted(self) -> int:
        """How many messages of types that nobody consumes are kept (UNROUTED_KEPT at most). Raises BusUnavailable."""

    async def close(self) -> None:
        """Let go of every connection."""


async def until_cancelled(
    consume_until_lost: Callable[[Callable[[], None]], Awaitable[None]], *, service: str, broker: str
) -> None:
    """Run `consume_until_lost` again each time it ends, with a growing pause; log each change of state once.

    It is given a function to call once it receives, and raises BusUnavailable when the broker is lost.
    """
    failures, away = 0, False
    bound = log.bind(service=service, broker=broker)

    def receiving() -> None:
        nonlocal failures, away
        if away:
            bound.info("bus_consumer_back", failures=failures)
        failures, away = 0, False

    while True:
        stop_if_cancelled()
        reason = "ended by the broker"
        try:
            await consume_until_lost(receiving)
        except BusUnavailable as error:
            reason = str(error)
        if not away:
            bound.warning("bus_consumer_lost", reason=reason)
            away = True
        bound.debug("bus_consumer_waits", reason=reason, failures=failures)
        await asyncio.sleep(backoff_s(failures))
        failures += 1


def stop_if_cancelled() -> None:
    """Raise CancelledError where a library lost one: Python 3.11's `wait_for`, which redis-py sends with, can."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def backoff_s(failures: int, *, first_s: float = 0.1, most_s: float = MAX_BACKOFF_S) -> float:
    """The pause after that many failures before this one: doubling from `first_s` to `most_s`."""
    return min(most_s, first_s * 2.0 ** min(failures, 32))
