"""Removes the objects whose time has come: of deleted files at once, of uploads that never ended after their term."""

from functools import partial

import structlog

from shared.background import PollingLoop, Progress
from shared.data.database import Database
from users_service.files import models
from users_service.files.storage import Storage

log = structlog.get_logger(__name__)


def sweeping(database: Database, storage: Storage, every_s: float) -> PollingLoop:
    """Removes all objects that are due. Any number of replicas may do so: each takes rows that no other holds."""
    due = partial(database.finds, models.ANY_REMOVAL_DUE)
    return PollingLoop("file sweeper", partial(remove_next, database, storage), every_s=every_s, due=due)


async def remove_next(database: Database, storage: Storage) -> Progress:
    """Remove one object and its row. The row is locked meanwhile, so an upload that ends now finds its object gone."""
    async with database.transaction() as db:
        if (removal := await models.next_removal(db)) is None:
            return Progress.IDLE
        await storage.remove(removal.object_key)
        await db.delete(removal)
        log.info("object_removed", object_key=removal.object_key)
        return Progress.MORE
