"""One attempt at one job: run its kind in time, report progress, write how it ended, or nothing without the lease."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import structlog
from pydantic import ValidationError

from shared import deadline
from shared.background import Backoff
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Principal
from shared.problems import InternalError, InvalidInput, Problem, ServiceUnavailable
from shared.telemetry.traces import continued
from shared.web.json_input import Input
from tasks_service.jobs import transitions
from tasks_service.jobs.transitions import Claimed, LeaseLost
from tasks_service.kinds.kind import Kind, LocalFile
from tasks_service.kinds.problems import ResultTooLarge
from tasks_service.settings import TasksSettings
from tasks_service.worker import leases, metrics, on_behalf
from tasks_service.worker.pool.child_pool import ChildPool
from tasks_service.worker.problems import JobTimedOut, UsersUnavailable

_FIRST_REPORT_S: Final = 0.05  # a job that ends sooner reports its end only
_MOST_POSTPONED_S: Final = 15.0  # another service's outage: come back soon after it
_SETTLE_BACKOFF: Final = Backoff(first_s=0.2, most_s=0.5)

log = structlog.get_logger(__name__)


class Stop(Enum):
    """Why an attempt is stopped before it ends by itself."""

    CANCELLED = "cancelled"
    LOST = "lost"
    RETURNED = "returned"


@dataclass(frozen=True)
class Tools:
    """What every attempt of a worker uses."""

    database: Database
    users: ServiceClient
    children: ChildPool
    settings: TasksSettings
    folder: Path


@dataclass
class Attempt:
    """A running attempt; `held_until` (by this process's monotonic clock) is when its lease ends unless extended."""

    job: Claimed
    kind: Kind
    tools: Tools
    held_until: float
    stopped: Stop | None = None
    _work: "asyncio.Task[bytes] | None" = None
    _limit: "asyncio.Timeout | None" = None
    _owner: Principal | None = None
    _progress: tuple[float, str | None] = (0.0, None)
    _progress_changed: asyncio.Event = field(default_factory=asyncio.Event)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _settling: bool = False

    # What the kind sees: kinds.kind.Running.

    @property
    def job_id(self) -> UUID:
        return self.job.lease.id

    @property
    def created_at(self) -> datetime:
        return self.job.created_at

    @property
    def settings(self) -> TasksSettings:
        return self.tools.settings

    def progress(self, percent: float, message: str | None = None) -> None:
        self._progress = (percent, message)
        self._progress_changed.set()

    async def confirm(self) -> None:
        lease_s = self.settings.worker.lease_s
        async with self.tools.database.transaction(role="fleet") as fleet:
            extended = await leases.extend(fleet, [self.job.lease], lease_s)
        if extended.get(self.job.lease) is not False:  # lost, or to be cancelled: either way nothing goes out
            self.stop(Stop.LOST if self.job.lease not in extended else Stop.CANCELLED)
            raise LeaseLost

    async def compute(self, function: Callable[..., bytes], **arguments: Any) -> bytes:
        self._limit_to(None)  # waiting for a free child does not count
        return await self.tools.children.run(
            function, arguments, self.progress, lambda: self._limit_to(self._timeout_s)
        )

    def file(self, file_id: UUID) -> AbstractAsyncContextManager[LocalFile]:
        assert self._owner is not None  # noqa: S101 - asked for before the kind runs
        tools = self.tools
        return on_behalf.fetched(tools.users, self._owner, file_id, tools.folder, self.settings.worker.max_file_bytes)

    # What the worker sees.

    def stop(self, why: Stop) -> None:
        """End the work. The first reason counts, but a lost lease beats all."""
        if self.stopped is None or why is Stop.LOST:
            self.stopped = why
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> None:
        """Do the work and settle it; raises nothing but CancelledError."""
        structlog.contextvars.bind_contextvars(
            job_id=str(self.job_id),
            attempt=self.job.lease.attempt,
            kind=self.kind.name,
            request_id=self.job.request_id,
            tenant=str(self.job.lease.tenant_id),
            user=str(self.job.user_id),
        )
        if self.job.impersonator_id is not None:
            structlog.contextvars.bind_contextvars(act=str(self.job.impersonator_id))
        with continued(f"job {self.kind.name}", self.job.traceparent) as span:
            span.set_attribute("job.id", str(self.job_id))
            span.set_attribute("job.attempt", self.job.lease.attempt)
            began = time.monotonic()
            outcome = await self._attempt()
            metrics.DURATION.labels(self.kind.name).observe(time.monotonic() - began)
            metrics.SETTLED.labels(self.kind.name, outcome).inc()
            span.set_attribute("job.outcome", outcome)
            log.info("job_attempt", outcome=outcome, duration_ms=round((time.monotonic() - began) * 1000, 1))

    async def _attempt(self) -> str:
        reporting = asyncio.create_task(self._report_progress())
        self._work = asyncio.create_task(self._timed())
        try:
            if self.stopped is not None:  # stopped before it began
                self._work.cancel()
            await asyncio.wait([self._work])
            self._settling = True
            async with self._writing:
                return await self._settle(self._work)
        finally:
            self._work.cancel()
            reporting.cancel()
            await asyncio.gather(self._work, reporting, return_exceptions=True)

    async def _timed(self) -> bytes:
        """The kind's result. Raises what the kind raises, or JobTimedOut."""
        self.progress(0)
        try:
            async with asyncio.timeout(self._timeout_s) as self._limit:
                deadline.start(self._timeout_s)
                return await self._worked()
        except TimeoutError:
            if self._limit is not None and self._limit.expired():
                raise JobTimedOut(f"The attempt took longer than {self._timeout_s:g} s.") from None
            raise

    @property
    def _timeout_s(self) -> float:
        return self.kind.timeout_s * self.settings.worker.timeout_scale

    def _limit_to(self, more_s: float | None) -> None:
        """Limit the work to so many seconds from now; None: no limit until the next call."""
        if self._limit is not None:
            self._limit.reschedule(None if more_s is None else asyncio.get_running_loop().time() + more_s)
            deadline.start(more_s)

    async def _worked(self) -> bytes:
        if self.settings.worker.owners == "users":
            person = await on_behalf.owner_now(self.tools.users, self.job)
        else:
            person = on_behalf.owner_as_submitted(self.job)
        given = self._input()
        self._owner = on_behalf.limited_to(self.kind.scopes_for(given), person)
        result = await self.kind.run(given, self)
        if len(result) > self.settings.worker.max_result_bytes:
            raise ResultTooLarge
        return result

    def _input(self) -> Input:
        """The input as its kind reads it today: a release in between may have become stricter."""
        try:
            return self.kind.input.model_validate_json(self.job.input)
        except ValidationError as error:
            raise InvalidInput("The kind no longer accepts this input.") from error

    async def _report_progress(self) -> None:
        """Store the newest progress, not more often than the settings say."""
        pause_s = _FIRST_REPORT_S
        while True:
            await self._progress_changed.wait()
            await asyncio.sleep(pause_s)
            pause_s = self.settings.worker.progress_s
            async with self._writing:
                if self._settling:
                    return
                self._progress_changed.clear()
                await self._store(*self._progress)

    async def _store(self, percent: float, message: str | None) -> None:
        try:
            async with self.tools.database.transaction(self.job.lease.tenant_id) as db:
                await transitions.report(db, self.job.lease, percent, message)
        except ServiceUnavailable:
            pass  # the next report replaces it
        except LeaseLost:
            self.stop(Stop.LOST)

    async def _settle(self, work: "asyncio.Task[bytes]") -> str:
        """Write how the work ended; tried again while the database is unavailable and the lease is held."""
        failures = 0
        while self.stopped is not Stop.LOST:
            try:
                async with self.tools.database.transaction(self.job.lease.tenant_id) as db:
                    return await self._written(db, work)
            except ServiceUnavailable:
                await asyncio.sleep(_SETTLE_BACKOFF.wait_s(failures))
                failures += 1
            except LeaseLost:
                break
        return "lost"

    async def _written(self, db: Any, work: "asyncio.Task[bytes]") -> str:
        lease, settings = self.job.lease, self.settings.worker
        error = None if work.cancelled() else work.exception()
        if work.cancelled() or isinstance(error, LeaseLost):  # stopped from outside, or by its own confirm()
            if self.stopped is Stop.CANCELLED:
                await transitions.end_cancelled(db, lease)
                return "cancelled"
            await transitions.give_back(db, lease, None, 0)
            return "returned"
        if error is None:
            await transitions.complete(db, lease, work.result())
            return "completed"
        wait_s = settings.backoff.wait_s(lease.attempt - 1)
        match error:
            case UsersUnavailable():
                await transitions.give_back(db, lease, error, min(wait_s, _MOST_POSTPONED_S))
                return "postponed"
            case Problem() if error.status < 500:
                await transitions.fail(db, lease, error)
                return "failed"
            case Problem():
                return await transitions.try_again(db, lease, error, wait_s)
            case _:
                log.error("job_broke", exc_info=error)
                return await transitions.try_again(db, lease, InternalError(), wait_s)
