"""A loop that works while there is work, sleeps until it is woken, and backs off while a server is away."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final
from weakref import WeakSet

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.events.bus import BusUnavailable, backoff_s, stop_if_cancelled
from shared.problems import ServiceUnavailable

OUTBOX: Final = "outbox"
INBOX: Final = "inbox"
POLL_S: Final = 1.0  # behind the wake-ups: finds rows of other processes, and those whose next attempt is due
BUSY_S: Final = 0.03  # another process holds the lock for one batch, usually a few milliseconds

_TRY_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(hashtext(:name))")

log = structlog.get_logger(__name__)


class Progress(Enum):
    """What one step found."""

    MORE = auto()
    IDLE = auto()
    BUSY = auto()
    """Another process is at it."""


class Pump:
    """Runs `step` again and again; `name` is what `wake` calls it by."""

    def __init__(self, name: str, step: Callable[[], Awaitable[Progress]], *, poll_s: float = POLL_S) -> None:
        self._name, self._step, self._poll_s = name, step, poll_s
        self._woken = asyncio.Event()
        self._failures = 0
        _pumps.add(self)

    def wake(self, name: str) -> None:
        if name == self._name:
            self._woken.set()

    async def run(self) -> None:
        """Work until cancelled. A failure is logged as it begins and as it ends, and never ends the loop."""
        while True:
            stop_if_cancelled()
            self._woken.clear()
            try:
                progress = await self._step()
            except (ServiceUnavailable, BusUnavailable) as error:
                await self._back_off(repr(error), error=None)
            except Exception as error:  # noqa: BLE001 - one batch ends here: recorded, and tried again after a pause
                await self._back_off(repr(error), error=error)
            else:
                if self._failures:
                    log.info("events_resumed", work=self._name, failures=self._failures)
                self._failures = 0
                await self._rest(progress)

    async def _rest(self, progress: Progress) -> None:
        if progress is Progress.BUSY:  # never longer: what this process wrote may wait, unknown to the one at work
            await asyncio.sleep(BUSY_S)
        if progress is Progress.IDLE:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._woken.wait()
            except TimeoutError:
                return

    async def _back_off(self, reason: str, error: Exception | None) -> None:
        if not self._failures:
            log.warning("events_interrupted", work=self._name, reason=reason, exc_info=error)
        pause_s = backoff_s(self._failures)
        self._failures += 1
        await asyncio.sleep(pause_s)


_pumps: WeakSet[Pump] = WeakSet()


def wake(name: str) -> None:
    """Wake this process's loops of that name."""
    for each in tuple(_pumps):
        each.wake(name)


async def alone(db: AsyncSession, name: str) -> bool:
    """Whether this transaction may do `name`'s next batch; no other may until it ends.

    The lock goes with the transaction: a holder that was stopped loses both after idle_in_transaction_session_timeout.
    """
    return bool(await db.scalar(_TRY_LOCK, {"name": f"flotilla {name}"}))
