"""One attempt at one job: run its kind in time, tell how far it is, settle how it ended, or write nothing at all."""

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
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Principal
from shared.problems import InternalError, InvalidInput, Problem, ServiceUnavailable
from shared.telemetry.traces import continued
from shared.web.json_input import Input
from tasks_service.kinds.faults import ResultTooLarge
from tasks_service.kinds.kind import Kind, LocalFile
from tasks_service.settings import TasksSettings
from tasks_service.worker import metrics, owner, queue, settle
from tasks_service.worker.backoff import delay_s
from tasks_service.worker.children import Children
from tasks_service.worker.faults import JobTimedOut, LeaseLost, UsersUnavailable
from tasks_service.worker.queue import Claimed

_FIRST_REPORT_S: Final = 0.05  # a job that is done by then has nothing to tell but its end
_MOST_POSTPONED_S: Final = 15.0  # another service's outage: come back soon after it
_SETTLE_PAUSE_S: Final = 0.3

log = structlog.get_logger(__name__)


class Stop(Enum):
    """Why an attempt is stopped before it ends by itself."""

    CANCELLED = "cancelled"
    LOST = "lost"
    RETURNED = "returned"


@dataclass(frozen=True)
class Means:
    """What every attempt of a worker works with."""

    database: Database
    users: ServiceClient
    children: Children
    settings: TasksSettings
    folder: Path


@dataclass
class Attempt:
    """A running attempt; `held_until` (by this process's monotonic clock) is when its lease ends unless extended."""

    job: Claimed
    kind: Kind
    means: Means
    held_until: float
    stopped: Stop | None = None
    _work: "asyncio.Task[bytes] | None" = None
    _limit: "asyncio.Timeout | None" = None
    _owner: Principal | None = None
    _told: tuple[float, str | None] = (0.0, None)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _settling: bool = False

    # What the kind sees: kinds.kind.Running.

    @property
    def job_id(self) -> UUID:
        return self.job.held.id

    @property
    def created_at(self) -> datetime:
        return self.job.created_at

    @property
    def settings(self) -> TasksSettings:
        return self.means.settings

    def progress(self, percent: float, message: str | None = None) -> None:
        self._told = (percent, message)
        self._news.set()

    async def confirm(self) -> None:
        lease_s = self.settings.worker.lease_s
        async with self.means.database.transaction(role="fleet") as fleet:
            extended = await queue.extend(fleet, [self.job.held], lease_s)
        if extended.get(self.job.held) is not False:  # lost, or to be cancelled: either way nothing goes out
            self.stop(Stop.LOST if self.job.held not in extended else Stop.CANCELLED)
            raise LeaseLost

    async def compute(self, function: Callable[..., bytes], **arguments: Any) -> bytes:
        self._give(None)  # standing in line for a child is not the job's time
        return await self.means.children.run(function, arguments, self.progress, lambda: self._give(self._timeout_s))

    def file(self, file_id: UUID) -> AbstractAsyncContextManager[LocalFile]:
        assert self._owner is not None  # noqa: S101 - asked for before the kind runs
        means = self.means
        return owner.fetched(means.users, self._owner, file_id, means.folder, self.settings.worker.max_file_bytes)

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
            attempt=self.job.held.attempt,
            kind=self.kind.name,
            request_id=self.job.request_id,
            tenant=str(self.job.held.tenant_id),
            user=str(self.job.user_id),
        )
        with continued(f"job {self.kind.name}", self.job.traceparent) as span:
            span.set_attribute("job.id", str(self.job_id))
            span.set_attribute("job.attempt", self.job.held.attempt)
            began = time.monotonic()
            outcome = await self._attempt()
            metrics.DURATION.labels(self.kind.name).observe(time.monotonic() - began)
            metrics.SETTLED.labels(self.kind.name, outcome).inc()
            span.set_attribute("job.outcome", outcome)
            log.info("job_attempt", outcome=outcome, duration_ms=round((time.monotonic() - began) * 1000, 1))

    async def _attempt(self) -> str:
        telling = asyncio.create_task(self._tell())
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
            telling.cancel()
            await asyncio.gather(self._work, telling, return_exceptions=True)

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

    def _give(self, more_s: float | None) -> None:
        """Let the work go on for so many seconds from now; None: until it is told again."""
        if self._limit is not None:
            self._limit.reschedule(None if more_s is None else asyncio.get_running_loop().time() + more_s)
            deadline.start(more_s)

    async def _worked(self) -> bytes:
        if self.settings.worker.owners == "users":
            person = await owner.owner_now(self.means.users, self.job)
        else:
            person = owner.owner_as_submitted(self.job)
        given = self._input()
        self._owner = owner.limited_to(self.kind.scopes_for(given), person)
        result = await self.kind.run(given, self)
        if len(result) > self.settings.worker.max_result_bytes:
            raise ResultTooLarge
        return result

    def _input(self) -> Input:
        """The input as its kind reads it today: a release in between may have become stricter."""
        try:
            return self.kind.input.model_validate_json(self.job.input)
        except ValidationError as error:
            raise InvalidInput("The kind does not take this input any more.") from error

    async def _tell(self) -> None:
        """Store the newest progress, not more often than the settings say."""
        pause_s = _FIRST_REPORT_S
        while True:
            await self._news.wait()
            await asyncio.sleep(pause_s)
            pause_s = self.settings.worker.progress_s
            async with self._writing:
                if self._settling:
                    return
                self._news.clear()
                await self._store(*self._told)

    async def _store(self, percent: float, message: str | None) -> None:
        try:
            async with self.means.database.transaction(self.job.held.tenant_id) as db:
                await settle.report(db, self.job.held, percent, message)
        except ServiceUnavailable:
            pass  # the next one tells more anyway
        except LeaseLost:
            self.stop(Stop.LOST)

    async def _settle(self, work: "asyncio.Task[bytes]") -> str:
        """Write how the work ended, again and again while the database is away and the lease still stands."""
        while self.stopped is not Stop.LOST:
            try:
                async with self.means.database.transaction(self.job.held.tenant_id) as db:
                    return await self._written(db, work)
            except ServiceUnavailable:
                await asyncio.sleep(_SETTLE_PAUSE_S)
            except LeaseLost:
                break
        return "lost"

    async def _written(self, db: Any, work: "asyncio.Task[bytes]") -> str:
        held, settings = self.job.held, self.settings.worker
        error = None if work.cancelled() else work.exception()
        if work.cancelled() or isinstance(error, LeaseLost):  # stopped from outside, or by its own confirm()
            if self.stopped is Stop.CANCELLED:
                await settle.cancelled(db, held)
                return "cancelled"
            await settle.give_back(db, held, None, 0)
            return "returned"
        if error is None:
            await settle.complete(db, held, work.result())
            return "completed"
        wait_s = delay_s(held.attempt, settings.backoff_first_s, settings.backoff_most_s)
        match error:
            case UsersUnavailable():
                await settle.give_back(db, held, error, min(wait_s, _MOST_POSTPONED_S))
                return "postponed"
            case Problem() if error.status < 500:
                await settle.fail(db, held, error)
                return "failed"
            case Problem():
                return await settle.try_again(db, held, error, wait_s)
            case _:
                log.error("job_broke", exc_info=error)
                return await settle.try_again(db, held, InternalError(), wait_s)
