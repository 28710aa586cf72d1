"""Storing an object around the transaction of its row."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import Database
from users_service.files import models
from users_service.files.storage import Storage, Writer


@asynccontextmanager
async def writing(
    db: AsyncSession, database: Database, storage: Storage, key: str, max_s: int
) -> AsyncIterator[Writer]:
    """A writer for the object `key`, which stays only if the block succeeds and `add` is committed in `db`.

    Its removal is planned before its first byte, so that a process that dies in between leaves no object behind. If the
    block fails, `db` is rolled back: many failures at once would hold all connections while each needs another one.
    """
    async with database.transaction() as journal:
        models.plan_removal(journal, key, after_s=max_s)
    written = False
    try:
        yield storage.writer(key)
        written = True
    finally:
        if not written:
            await db.rollback()
            await _remove(database, storage, key)


async def _remove(database: Database, storage: Storage, key: str) -> None:
    await storage.remove(key)
    async with database.transaction() as journal:
        await models.cancel_removal(journal, key)
