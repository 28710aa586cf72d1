"""The worker's loops: claim while there is room, keep the leases, reap those that expired, drain at the end."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import structlog

from shared.background import Backoff, PollingLoop, Progress, supervise
from shared.background.listen_notify import Listener
from tasks_service.jobs import transitions
from tasks_service.jobs.models import CANCELS_CHANNEL, QUEUE_CHANNEL
from tasks_service.jobs.transitions import Claimed, Lease, LeaseLost
from tasks_service.kinds.kind import Kind
from tasks_service.worker import leases, metrics
from tasks_service.worker.attempt import Attempt, Stop, Tools

_BACKOFF: Final = Backoff(first_s=0.1, most_s=0.5)  # while the database is unavailable
_SETTLE_S: Final = 5.0  # the time that stopped attempts get to write their end

log = structlog.get_logger(__name__)


class Worker:
    def __init__(self, tools: Tools, listener: Listener, kinds: Mapping[str, Kind]) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}"
        self._tools, self._listener, self._kinds = tools, listener, kinds
        self._settings = tools.settings.worker
        self._attempts: dict[Lease, Attempt] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        settings = self._settings
        due = partial(tools.database.finds, transitions.ANY_DUE, "fleet")
        overdue = partial(tools.database.finds, leases.ANY_OVERDUE, "fleet")
        self._claiming = PollingLoop("claim", self._claim, every_s=settings.poll_s, due=due, backoff=_BACKOFF)
        self._heartbeat = PollingLoop("heartbeat", self._beat, every_s=settings.heartbeat_s, backoff=_BACKOFF)
        self._reaper = PollingLoop("reaper", self._reap, every_s=settings.reap_s, due=overdue, backoff=_BACKOFF)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work for as long as the block lasts; then stop claiming, let run, and give the rest back to the queue."""
        with (
            self._listener.waking(self._claiming.wake, QUEUE_CHANNEL),
            self._listener.waking(self._heartbeat.wake, CANCELS_CHANNEL),
        ):
            async with supervise({loop.name: loop.run for loop in (self._heartbeat, self._reaper)}):
                async with supervise({self._claiming.name: self._claiming.run}):
                    yield
                await self._drain()

    async def _claim(self) -> None:
        """Fill the free places. Woken by NOTIFY and by each place that becomes free; polls behind both."""
        free = self._settings.concurrency - len(self._attempts)
        for job in await self._claimed(free) if free > 0 else ():
            self._start(job)

    async def _claimed(self, free: int) -> list[Claimed]:
        async with self._tools.database.transaction(role="fleet") as fleet:
            return await transitions.claim(
                fleet, self.id, free=free, kinds=self._kinds.keys(), lease_s=self._settings.lease_s
            )

    def _start(self, job: Claimed) -> None:
        metrics.START_DELAY.observe(max(0.0, job.waited_s))
        attempt = Attempt(job, self._kinds[job.kind], self._tools, time.monotonic() + self._settings.lease_s)
        self._attempts[job.lease] = attempt
        task = asyncio.create_task(attempt.run(), name=f"job {job.lease.id}")
        self._tasks.add(task)
        metrics.RUNNING.set(len(self._attempts))
        task.add_done_callback(lambda ended: self._ended(job.lease, ended))

    def _ended(self, lease: Lease, task: "asyncio.Task[None]") -> None:
        self._attempts.pop(lease, None)
        self._tasks.discard(task)
        metrics.RUNNING.set(len(self._attempts))
        self._claiming.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt_broke", job_id=str(lease.id), exc_info=error)

    async def _beat(self) -> None:
        """Extend the leases; stop the attempts that are to be cancelled and those whose lease is lost."""
        try:
            await self._extend()
        finally:
            self._stop_overdue()

    async def _extend(self) -> None:
        asked_at, attempts = time.monotonic(), dict(self._attempts)
        if not attempts:
            return
        async with self._tools.database.transaction(role="fleet") as fleet:
            extended = await leases.extend(fleet, attempts.keys(), self._settings.lease_s)
        for lease, attempt in attempts.items():
            if lease not in extended:
                if lease in self._attempts:  # else it has settled while the database was asked
                    attempt.stop(Stop.LOST)
                continue
            attempt.held_until = asked_at + self._settings.lease_s
            if extended[lease]:
                attempt.stop(Stop.CANCELLED)

    def _stop_overdue(self) -> None:
        """A lease that could not be extended in time may be another worker's by now."""
        now = time.monotonic()
        for attempt in self._attempts.values():
            if attempt.held_until < now:
                attempt.stop(Stop.LOST)

    async def _reap(self) -> Progress:
        """Take jobs whose lease has expired from their workers, whichever worker that is."""
        async with self._tools.database.transaction(role="fleet") as fleet:
            overdue = await leases.overdue(fleet)
        reaped = [await self._reap_one(lease) for lease in overdue]
        more = len(overdue) == leases.OVERDUE_AT_ONCE and any(reaped)
        return Progress.MORE if more else Progress.IDLE

    async def _reap_one(self, lease: Lease) -> bool:
        """Whether it could be reaped now."""
        wait_s = self._settings.backoff.wait_s(lease.attempt - 1)
        try:
            async with self._tools.database.transaction(lease.tenant_id) as db:
                status = await transitions.reap(db, lease, wait_s)
        except LeaseLost:
            return False  # another reaper was faster, the worker came back in time, or it hangs in a write
        metrics.REAPED.inc()
        log.warning("job_reaped", job_id=str(lease.id), attempt=lease.attempt, status=status)
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
