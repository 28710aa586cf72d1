"""The service prunes its own rows: every minute, in short transactions, by one replica at a time."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit import service as audit
from auth_service.links import service as links
from auth_service.mails import service as mails
from auth_service.registration import flow as registration
from auth_service.revocations import service as revocations
from auth_service.sessions import service as sessions
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.signing_keys import service as signing_keys
from auth_service.tickets import service as tickets
from shared.background import PollingLoop
from shared.background.single_active import single_active
from shared.clients import ServiceClient
from shared.data.database import Database

EVERY_S: Final = 60.0

Prune = Callable[[AsyncSession], Awaitable[None]]


def prunes(settings: AuthSettings) -> Sequence[Prune]:
    """What is deleted from each table."""
    return (
        lambda db: sessions.prune(db, settings.sessions),
        lambda db: throttle.prune(db, settings.sign_in.window_s),
        lambda db: audit.prune(db, settings.audit.kept_days),
        links.prune,
        mails.prune,
        revocations.prune,
        signing_keys.prune,
        tickets.prune,
    )


def maintenance(database: Database, users: ServiceClient, settings: AuthSettings) -> PollingLoop:
    """Prunes every table once a minute; a replica that finds another one at it leaves the work to it."""
    return PollingLoop("maintenance", partial(tidy, database, users, settings), every_s=EVERY_S)


async def tidy(database: Database, users: ServiceClient, settings: AuthSettings) -> None:
    """Prune every table once."""
    for prune in prunes(settings):
        async with database.transaction() as db:
            if await single_active(db, "maintenance"):
                await prune(db)
    await registration.end_overdue(database, users, settings.registration.pending_ttl_s)
