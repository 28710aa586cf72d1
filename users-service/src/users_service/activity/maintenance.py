"""Forgets what is older than the log is kept."""

from functools import partial
from typing import Final

from shared.background import PollingLoop
from shared.data.database import Database
from users_service.activity import models
from users_service.tenants.models import all_tenants

_EVERY_S: Final = 3600.0


def pruning(database: Database, keep_days: int) -> PollingLoop:
    return PollingLoop("activity log", partial(prune, database, keep_days), every_s=_EVERY_S)


async def prune(database: Database, keep_days: int) -> None:
    """Delete the old entries of every tenant, each in transactions of its own."""
    async with database.transaction(role="fleet") as fleet:
        tenants = await all_tenants(fleet)
    for tenant_id in tenants:
        more = True
        while more:
            async with database.transaction(tenant_id) as db:
                more = await models.prune(db, tenant_id, keep_days)
