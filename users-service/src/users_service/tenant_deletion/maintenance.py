"""Erases the tenants whose grace period is over. Any number of replicas may do so."""

from functools import partial

from shared.background import PollingLoop, Progress
from shared.data.database import Database
from users_service.tenant_deletion import service


def erasing(database: Database, every_s: float) -> PollingLoop:
    due = partial(database.finds, service.ANY_DUE, role="fleet")
    return PollingLoop("tenant erasure", partial(erase, database), every_s=every_s, due=due)


async def erase(database: Database) -> Progress:
    """A batch of each tenant that is due, in a transaction of its own."""
    async with database.transaction(role="fleet") as fleet:
        found = await service.due(fleet)
    progress = Progress.IDLE
    for tenant_id in found:
        async with database.transaction(tenant_id) as db:
            if await service.erase_some(db, tenant_id):
                progress = Progress.MORE
    return progress
