"""The one loop: do a step, again at once while there is more to do, else after a while or when woken."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Final

import structlog

from shared.background.backoff import Backoff
from shared.background.supervision import raise_if_cancelled
from shared.problems import ServiceUnavailable
from shared.telemetry.metrics import LOOP_FAILURES

BUSY_S: Final = 0.03  # another process holds the lock for one batch, usually a few milliseconds
_BACKOFF: Final = Backoff()
STABLE_S: Final = 2.0  # a step that fails again sooner has not recovered: the same outage goes on
_CLOCKS_S: Final = 0.02  # a timer may be early by the time that a statement takes
_JITTER: Final = 0.1  # replicas that started together spread out

log = structlog.get_logger(__name__)


class Progress(Enum):
    """What one step found."""

    MORE = auto()
    IDLE = auto()
    BUSY = auto()
    """Another process is doing this work now."""


Step = Callable[[], Awaitable[Progress | None]]
"""One unit of work. None means IDLE."""

Due = Callable[[], Awaitable[bool]]
"""Whether a step would find anything now: a cheaper question than the step itself."""


async def _always() -> bool:
    return True


class PollingLoop:
    """Runs `step` every `every_s` seconds (±10 %), at once when woken or while a step returns MORE.

    A poll, which nothing woke, asks `due` first and is over when nothing is due: an idle process pays for that only.

    `at_once=False` leaves the first step until some time within `every_s`: a process that starts has better things to
    do, and replicas that start together spread out.

    A step that raises is tried again after `backoff`. An outage is logged when it begins and when it ends and counted
    in between; errors of the types in `outages` mean that a server is unreachable, and are logged without a traceback.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        *,
        every_s: float,
        due: Due = _always,
        at_once: bool = True,
        backoff: Backoff = _BACKOFF,
        outages: tuple[type[Exception], ...] = (ServiceUnavailable,),
    ) -> None:
        self.name = name
        self._step, self._every_s, self._backoff, self._outages = step, every_s, backoff, outages
        self._due, self._polls, self._at_once = due, False, at_once
        self._woken = asyncio.Event()
        self._failures = 0
        self._ending: asyncio.TimerHandle | None = None

    def wake(self, _reason: object = None) -> None:
        """Do the next step now, or right after the one that runs."""
        self._woken.set()

    def wake_after(self, seconds: float) -> None:
        """Do a step when something is due by the database's clock; polls would find it up to `every_s` later."""
        asyncio.get_running_loop().call_later(seconds + _CLOCKS_S, self.wake)

    def recovered(self) -> None:
        """Report success, for a step that holds a connection until it is lost. An outage ends STABLE_S later."""
        if self._failures and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(STABLE_S, self._end_outage)

    def _end_outage(self) -> None:
        log.info("loop_recovered", loop=self.name, failures=self._failures)
        self._failures, self._ending = 0, None

    def _continue_outage(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    async def run(self) -> None:
        """Loop until cancelled; errors never end it."""
        try:
            if not self._at_once:
                await self._wait(random.uniform(0, self._every_s))  # noqa: S311 - spreads load; not a secret
            await self._repeat()
        finally:
            self._continue_outage()

    async def _repeat(self) -> None:
        while True:
            raise_if_cancelled()
            self._woken.clear()
            try:
                progress = await self._next_step()
            except Exception as error:  # noqa: BLE001 - one step ends here: recorded, and tried again after a backoff
                await self._back_off(error)
            else:
                self.recovered()
                await self._rest(progress or Progress.IDLE)

    async def _next_step(self) -> Progress | None:
        polls, self._polls = self._polls, False
        return None if polls and not await self._due() else await self._step()

    async def _rest(self, progress: Progress) -> None:
        if progress is Progress.BUSY:  # no longer: rows that this process wrote may be unknown to the active one
            await asyncio.sleep(BUSY_S)
        if progress is Progress.IDLE:
            spread = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads load; not a secret
            self._polls = not await self._wait(self._every_s * spread)

    async def _wait(self, seconds: float) -> bool:
        """Until woken, or until so many seconds have passed; whether it was woken."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    async def _back_off(self, error: Exception) -> None:
        LOOP_FAILURES.labels(self.name).inc()
        self._continue_outage()
        if not self._failures:
            unexpected = None if isinstance(error, self._outages) else error
            log.warning("loop_interrupted", loop=self.name, reason=repr(error), exc_info=unexpected)
        wait_s = self._backoff.wait_s(self._failures)
        self._failures += 1
        await asyncio.sleep(wait_s)
