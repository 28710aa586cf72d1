"""How long the current work may still take: set where work begins, carried by every call between services.

    gateway: the route's time-out  →  X-Deadline  →  service: remaining_s()  →  X-Deadline of its own calls  → …

The header is epoch seconds, because a request may wait in a socket's queue before it is read; a process keeps the same
instant on its monotonic clock. It is a hint from inside the fleet: the gateway replaces what a client sends.

What ends at the deadline, and what does not:
- A request that is read after its deadline is answered with 504 before any work (web/requests.py). Machines' clocks
  differ by up to CLOCK_DIFFERENCE_S, so only a request that is later than that is certainly late.
- A call to another service is abandoned at the deadline, and refused without being sent after it (clients.py).
- Event handlers and job attempts have time-outs of their own that cancel them inside their transaction, which rolls
  back. They start a deadline of the same length, so that the services they call stop as early.
- Nothing else is cancelled. A request that has begun runs to its commit: cancelling a commit would leave it unknown
  whether the commit took effect. PostgreSQL's statement time-out bounds this work.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

HEADER: Final = "X-Deadline"
CLOCK_DIFFERENCE_S: Final = 5  # how far two machines' clocks may be apart
MAX_S: Final = 3600.0  # the longest time-out that a route may have; a later deadline is cut to this

_EPOCH_SECONDS = re.compile(rb"[0-9]{1,12}(\.[0-9]{1,6})?")

_until: ContextVar[float | None] = ContextVar("deadline", default=None)
"""By the monotonic clock."""


def remaining_s() -> float | None:
    """The seconds that are left, zero or less once they have passed; None where there is no deadline."""
    until = _until.get()
    return None if until is None else until - time.monotonic()


def has_passed() -> bool:
    """Whether no time is left; False where there is no deadline."""
    left = remaining_s()
    return left is not None and left <= 0


def start(seconds: float | None) -> None:
    """Give the current task `seconds` from now; None removes its deadline."""
    _until.set(None if seconds is None else time.monotonic() + seconds)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give the block `seconds`, or what is left of the deadline around it where that is less."""
    left = remaining_s()
    token = _until.set(time.monotonic() + (seconds if left is None else min(seconds, left)))
    try:
        yield
    finally:
        _until.reset(token)


def header(seconds: float) -> str:
    """The header's value for a call whose caller waits `seconds`."""
    return f"{time.time() + seconds:.3f}"


def seconds_of(value: bytes) -> float | None:
    """The seconds that a received header leaves, at most MAX_S; negative where the deadline has certainly passed.

    None for an invalid value, and for a deadline so close to now that the machines' clocks may be the difference.
    """
    if _EPOCH_SECONDS.fullmatch(value) is None:
        return None
    left = float(value) - time.time()
    return None if -CLOCK_DIFFERENCE_S <= left <= 0 else min(left, MAX_S)
