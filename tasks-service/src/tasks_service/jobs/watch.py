"""Watching one job: the events behind a sequence number, as they come, until the last or until the token ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson

from shared.background.listen_notify import Listener
from shared.data.database import Database
from shared.identity import Principal
from shared.identity.revocation_entries import Entry
from shared.identity.revocations import Revocations
from shared.problems import ServiceUnavailable
from shared.web import sse
from shared.web.health import HealthChecks
from tasks_service.jobs import models
from tasks_service.jobs.models import ENDED, EVENTS_CHANNEL, Job, JobEvent
from tasks_service.jobs.schemas import JobOut

POLL_S: Final = 2.0  # behind NOTIFY, for those that were lost with their connection


def seen_of(job: Job, last_event_id: str | None) -> int | None:
    """The sequence number that the watcher has seen; None where it named none, or none that this job ever gave."""
    if last_event_id is None or not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 19):
        return None
    seen = int(last_event_id)
    return seen if seen <= job.event_seq else None


@dataclass
class Watch:
    """One watcher of one job. `seen` as `seen_of` says: without it the job as it is now comes first."""

    database: Database
    listener: Listener
    revocations: Revocations
    health: HealthChecks
    user: Principal
    tenant_id: UUID

    async def events(self, job: Job, seen: int | None) -> AsyncIterator[bytes]:
        """The stream's events on the wire. It outlives an outage of the database; the client notices nothing.

        Where this process stops or the token ends, the stream ends without a last event: the client comes back by
        itself and names what it has seen.
        """
        with ExitStack() as stack:
            woke = asyncio.Event()
            stack.enter_context(self.listener.waking(woke.set, EVENTS_CHANNEL, str(job.id)))
            over = self._over(stack, woke)
            if seen is None:
                yield _now(job)
                if job.status in ENDED:
                    return
                seen = job.event_seq
            ended = False
            while not over.is_set() and not self.health.draining and time.time() < self.user.expires_at:
                page = await self._behind(job.id, seen)
                for event in page:
                    yield sse.event(event.name, orjson.dumps(event.data), id=str(event.seq))
                    seen, ended = event.seq, event.name in ENDED
                if len(page) == models.EVENTS_AT_ONCE:
                    continue
                if ended:
                    return  # nothing followed it: the job was not taken up again
                await _wait(woke, max(0.0, min(POLL_S, self.user.expires_at - time.time())))

    async def _behind(self, job_id: UUID, seen: int) -> Sequence[JobEvent]:
        try:
            async with self.database.transaction(self.tenant_id) as db:
                return await models.events_after(db, job_id, seen)
        except ServiceUnavailable:
            return ()

    def _over(self, stack: ExitStack, woke: asyncio.Event) -> asyncio.Event:
        """Set once the watcher's session, membership or tenant has ended."""
        over = asyncio.Event()

        def look(entries: Sequence[Entry]) -> None:
            if any(entry.ends(self.user) for entry in entries):
                over.set()
                woke.set()

        stack.callback(self.revocations.subscribe(look))
        if self.revocations.ended(self.user) is not None:  # since the request was let in
            over.set()
        return over


async def _wait(event: asyncio.Event, within_s: float) -> None:
    """Wait for the event, `within_s` seconds at most, and clear it."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    event.clear()


def _now(job: Job) -> bytes:
    name = job.status if job.status in ENDED else "progress"
    return sse.event(name, JobOut.of(job).model_dump_json(), id=str(job.event_seq))
