"""The worker's loops: claim while there is room, keep the leases, reap what ran out, drain at the end."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from shared.background import supervise
from shared.problems import ServiceUnavailable
from tasks_service.kinds.kind import Kind
from tasks_service.notices import CANCELS, QUEUE, Notices, woken
from tasks_service.worker import metrics, queue, settle
from tasks_service.worker.attempt import Attempt, Means, Stop
from tasks_service.worker.backoff import delay_s
from tasks_service.worker.faults import LeaseLost
from tasks_service.worker.queue import Claimed, Held

_AWAY_S: Final = 0.5  # how soon the database is asked again after it did not answer
_SETTLE_S: Final = 5.0  # what stopped attempts get to write that they did

log = structlog.get_logger(__name__)


class Worker:
    def __init__(self, means: Means, notices: Notices, kinds: Mapping[str, Kind]) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}"
        self._means, self._notices, self._kinds = means, notices, kinds
        self._settings = means.settings.worker
        self._attempts: dict[Held, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._away = False

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work for as long as the block lasts; then stop claiming, let run, and give the rest back to the queue."""
        keeping = {"beat": self._repeat(self._beat), "reap": self._repeat(self._reap)}
        async with supervise(keeping):
            async with supervise({"claim": self._repeat(self._claim)}):
                yield
            await self._drain()

    def _repeat(self, step: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """`step` for ever; while the database is away, again after a moment."""

        async def repeated() -> None:
            while True:
                try:
                    await step()
                    self._is_away(False)
                except ServiceUnavailable:
                    self._is_away(True)
                    await asyncio.sleep(_AWAY_S)

        return repeated

    def _is_away(self, away: bool) -> None:
        if away != self._away:
            self._away = away
            log.warning("database_away") if away else log.info("database_back")

    async def _claim(self) -> None:
        """Fill the free places; wait for a notice, for a place that becomes free, or for the poll behind both."""
        with self._notices.waiter(QUEUE) as self._wake:
            while True:
                free = self._settings.concurrency - len(self._attempts)
                for job in await self._claimed(free) if free > 0 else ():
                    self._start(job)
                await woken(self._wake, self._settings.poll_s)

    async def _claimed(self, free: int) -> list[Claimed]:
        async with self._means.database.transaction(role="fleet") as fleet:
            return await queue.claim(
                fleet, self.id, free=free, kinds=self._kinds.keys(), lease_s=self._settings.lease_s
            )

    def _start(self, job: Claimed) -> None:
        metrics.START_DELAY.observe(max(0.0, job.waited_s))
        attempt = Attempt(job, self._kinds[job.kind], self._means, time.monotonic() + self._settings.lease_s)
        self._attempts[job.held] = attempt
        task = asyncio.create_task(attempt.run(), name=f"job {job.held.id}")
        self._tasks.add(task)
        metrics.RUNNING.set(len(self._attempts))
        task.add_done_callback(lambda ended: self._ended(job.held, ended))

    def _ended(self, held: Held, task: "asyncio.Task[None]") -> None:
        self._attempts.pop(held, None)
        self._tasks.discard(task)
        metrics.RUNNING.set(len(self._attempts))
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt_broke", job_id=str(held.id), exc_info=error)

    async def _beat(self) -> None:
        """Extend the leases; stop what is to be cancelled, what was lost, and what is held by nothing any more."""
        with self._notices.waiter(CANCELS) as told:
            while True:
                try:
                    await self._extend()
                finally:
                    self._let_go_of_the_overdue()
                await woken(told, self._settings.heartbeat_s)

    async def _extend(self) -> None:
        asked_at, held = time.monotonic(), dict(self._attempts)
        if not held:
            return
        async with self._means.database.transaction(role="fleet") as fleet:
            extended = await queue.extend(fleet, held.keys(), self._settings.lease_s)
        for key, attempt in held.items():
            if key not in extended:
                if key in self._attempts:  # else it has settled while the database was asked
                    attempt.stop(Stop.LOST)
                continue
            attempt.held_until = asked_at + self._settings.lease_s
            if extended[key]:
                attempt.stop(Stop.CANCELLED)

    def _let_go_of_the_overdue(self) -> None:
        """A lease that could not be extended in time may be another worker's by now."""
        now = time.monotonic()
        for attempt in self._attempts.values():
            if attempt.held_until < now:
                attempt.stop(Stop.LOST)

    async def _reap(self) -> None:
        async with self._means.database.transaction(role="fleet") as fleet:
            overdue = await queue.overdue(fleet)
        reaped = [await self._reap_one(held) for held in overdue]
        if len(overdue) < queue.OVERDUE_AT_ONCE or not any(reaped):
            await asyncio.sleep(self._settings.reap_s)

    async def _reap_one(self, held: Held) -> bool:
        """Whether it could be reaped now."""
        wait_s = delay_s(held.attempt, self._settings.backoff_first_s, self._settings.backoff_most_s)
        try:
            async with self._means.database.transaction(held.tenant_id) as db:
                status = await settle.reap(db, held, wait_s)
        except LeaseLost:
            return False  # another reaper was faster, the worker came back in time, or it hangs in a write
        metrics.REAPED.inc()
        log.warning("job_reaped", job_id=str(held.id), attempt=held.attempt, status=status)
        return True

    async def _drain(self) -> None:
        """Let the running jobs end; give back those that take too long."""
        if self._tasks:
            log.info("draining", running=len(self._tasks))
            await asyncio.wait(self._tasks, timeout=self._settings.drain_s)
        for attempt in tuple(self._attempts.values()):
            attempt.stop(Stop.RETURNED)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=_SETTLE_S)
            for task in left:  # their leases run out, and another worker's reaper takes them
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
