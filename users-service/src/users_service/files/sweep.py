"""Removes the objects whose time has come: of deleted files at once, of uploads that never ended after their term."""

import asyncio

import structlog

from shared.data.database import Database
from users_service.files import models
from users_service.files.storage import Storage

log = structlog.get_logger(__name__)


class Sweeper:
    """Any number may run: each takes rows that no other holds."""

    def __init__(self, database: Database, storage: Storage, interval_s: float) -> None:
        self._database, self._storage, self._interval_s = database, storage, interval_s

    async def run(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(self._interval_s)

    async def sweep(self) -> int:
        """Remove all that is due; how many objects went."""
        count = 0
        while await self._remove_next():
            count += 1
        return count

    async def _remove_next(self) -> bool:
        """One object and its row. The row is locked meanwhile: an upload that ends just now finds its object gone."""
        async with self._database.transaction() as db:
            if (removal := await models.next_removal(db)) is None:
                return False
            await self._storage.remove(removal.object_key)
            await db.delete(removal)
            log.info("object_removed", object_key=removal.object_key)
            return True
