"""Chaining the audit trail, by one replica at a time, and exporting the head of the chain every hour."""

from typing import Final

import structlog
from sqlalchemy import or_, select

from auth_service.audit import chain
from shared.background import PollingLoop, Progress
from shared.background.single_active import single_active
from shared.data.after_commit import after_commit
from shared.data.database import Database

_AT_ONCE: Final = 500
_POLL_S: Final = 2.0
EXPORT_EVERY_S: Final = 3600.0

log = structlog.get_logger()


class Chaining:
    """Gives each new event its place in the hash chain. The head's log line is the proof that is kept elsewhere."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.chaining = PollingLoop("audit chain", self.step, every_s=_POLL_S, due=self._due)
        """Background work: chains what is new every two seconds."""

    async def _due(self) -> bool:
        return await self._database.finds(select(or_(chain.unchained(), chain.export_due(EXPORT_EVERY_S))))

    async def step(self) -> Progress:
        """Chain a batch, and export the head if an hour has passed."""
        async with self._database.transaction() as db:
            if not await single_active(db, "audit chain"):
                return Progress.IDLE
            chained = await chain.append(db, _AT_ONCE)
            head = await chain.claim_export(db, EXPORT_EVERY_S)
            if head is not None:
                seq, digest = head
                after_commit(db, lambda: log.info("audit_head", seq=seq, hash=digest))
        return Progress.MORE if chained == _AT_ONCE else Progress.IDLE
