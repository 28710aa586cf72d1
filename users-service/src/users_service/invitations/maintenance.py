"""Deletes invitations that have ended or expired a while ago, with the addresses in them."""

from functools import partial
from typing import Final

from shared.background import PollingLoop
from shared.data.database import Database
from users_service.invitations import models

_PRUNE_EVERY_S: Final = 600.0


def pruning(database: Database) -> PollingLoop:
    return PollingLoop("invitations", partial(prune, database), every_s=_PRUNE_EVERY_S)


async def prune(database: Database) -> None:
    async with database.transaction(role="fleet") as fleet:
        await models.prune(fleet)
