"""The bus carries bytes, by type, from a publisher to every service that consumes the type. It knows nothing else.

Two transports keep this contract and pass one suite: RabbitMQ (rabbit.py) and Valkey Streams (valkey_streams.py).
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol

from shared.background import PollingLoop

OnMessage = Callable[[bytes], Awaitable[None]]

PUBLISH_TIMEOUT_S: Final = 5.0  # well below the 15 s after which PostgreSQL ends the relay's idle transaction
UNROUTED_KEPT: Final = 10_000  # messages of types without a consumer: enough to see what they are
IN_FLIGHT: Final = 100  # messages that one consumer holds at a time
POLL_S: Final = 5.0  # behind the wake-ups: finds rows that a command wrote, and those of a process that died
APART_POLL_S: Final = 1.0  # of a relay apart from the API, whose commits cannot wake it


class BusUnavailable(Exception):
    """The broker does not answer, or did not confirm in time; a message being sent may or may not have arrived."""


class MessageRefused(Exception):
    """The broker is there and will not take this message, today or tomorrow."""


class Bus(Protocol):
    """A transport. Opening one connects to nothing: each call connects when it has to, and again after an outage."""

    async def declare(self, service: str, types: Collection[str]) -> None:
        """Make `service`'s queue and bind it to `types`; safe to repeat, and it never removes a binding.

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
        """The number of kept messages of types without a consumer (UNROUTED_KEPT at most). Raises BusUnavailable."""

    async def close(self) -> None:
        """Let go of every connection."""


async def consume_until_cancelled(consume_until_lost: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
    """Run `consume_until_lost` again each time the broker is lost.

    It is given a function to call once it receives, and raises BusUnavailable when the connection is lost.
    """

    async def step() -> None:
        await consume_until_lost(loop.recovered)
        raise BusUnavailable("the broker ended the connection")

    loop = PollingLoop("bus consumer", step, every_s=0, outages=(BusUnavailable,))
    await loop.run()
