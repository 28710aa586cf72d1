"""The receiver stores what the bus delivers in the inbox; only then is it acknowledged.

Messages that arrive together are stored by one transaction, in their order. What cannot be read, or has no handler, is
stored too, parked with the reason: nothing is lost and nothing blocks.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy.dialects.postgresql import insert

from shared.background import PollingLoop, Progress
from shared.data.after_commit import announce
from shared.data.database import Database
from shared.events import metrics
from shared.events.bus import Bus, BusUnavailable
from shared.events.event import Envelope, EventMalformed
from shared.events.handlers import EventHandlers
from shared.events.models import InboxRow, InboxWritten
from shared.problems import ServiceUnavailable

_EVERY_S: Final = 60.0  # each message wakes the writer

log = structlog.get_logger(__name__)


class Receiver:
    """Takes `service`'s messages off `bus` into the inbox of `database`."""

    def __init__(self, database: Database, bus: Bus, service: str, handlers: EventHandlers) -> None:
        self._database, self._bus, self._service, self._handlers = database, bus, service, handlers
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[None]]] = []
        self.writing = PollingLoop("receiver", self._write, every_s=_EVERY_S)
        """Stores the messages that `store` was given; `run` includes it."""

    async def run(self) -> None:
        """Receive until cancelled, over any outage of database or broker."""
        with suppress(BusUnavailable):  # then `consume` declares, once the broker is back
            await self._bus.declare(self._service, self._handlers.types)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.writing.run())
            group.create_task(self._bus.consume(self._service, self.store))

    async def store(self, message: bytes) -> None:
        """Return once the message is in the inbox, or was before, however long the database is unavailable.

        Needs `writing` beside it.
        """
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._row(message), stored))
        self.writing.wake()
        await stored

    async def _write(self) -> Progress:
        """Store the messages that wait. While the database is unavailable they stay in hand."""
        batch = tuple(self._waiting)
        if not batch:
            return Progress.IDLE
        try:
            await self._insert([row for row, _ in batch])
        except ServiceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one batch ends here: the bus records it and delivers each again
            for _, stored in batch:
                if not stored.done():
                    stored.set_exception(error)
        else:
            for row, stored in batch:
                metrics.RECEIVED.labels(row["type"]).inc()
                if not stored.done():
                    stored.set_result(None)
        del self._waiting[: len(batch)]
        return Progress.MORE

    async def _insert(self, rows: Sequence[dict[str, Any]]) -> None:
        async with self._database.transaction() as db:
            await db.execute(insert(InboxRow).values(list(rows)).on_conflict_do_nothing())
            announce(db, InboxWritten())

    def _row(self, message: bytes) -> dict[str, Any]:
        try:
            event = Envelope.decode(message)
        except EventMalformed as error:
            # Its id is its content: delivered again it is the same row.
            unread = {"id": UUID(bytes=sha256(message).digest()[:16]), "type": "", "subject": None, "tenant_id": None}
            return {**unread, "subject_version": 0, "message": message, **_parked(f"malformed: {error}")}
        fault = None if self._handlers.get(event.type) else f"no handler for {event.type}"
        return {
            "id": event.id,
            "type": event.type,
            "subject": event.subject,
            "tenant_id": event.tenantid,
            "subject_version": event.subjectversion,
            "message": message,
            **_parked(fault),
        }


def _parked(fault: str | None) -> dict[str, Any]:
    if fault is not None:
        log.warning("event_parked", reason=fault)
    return {"fault": fault, "parked_at": None if fault is None else datetime.now(UTC)}
