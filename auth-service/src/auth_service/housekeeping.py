"""The service prunes its own rows: every minute, in short transactions, by one replica at a time."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts import abandoned, throttle
from auth_service.audit import service as audit
from auth_service.revocations import service as revocations
from auth_service.sessions import service as sessions
from auth_service.settings import AuthSettings
from auth_service.signing_keys import service as signing_keys
from auth_service.tickets import service as tickets
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.problems import ServiceUnavailable

EVERY_S: Final = 60.0

Prune = Callable[[AsyncSession], Awaitable[None]]


def prunes(settings: AuthSettings) -> Sequence[Prune]:
    """What each table lets go of."""
    return (
        lambda db: sessions.prune(db, settings.sessions),
        lambda db: throttle.prune(db, settings.sign_in.window_s),
        lambda db: audit.prune(db, settings.audit.kept_days),
        revocations.prune,
        signing_keys.prune,
        tickets.prune,
    )


async def tidy(database: Database, users: ServiceClient, settings: AuthSettings) -> None:
    """Prune every table once; a replica that finds another one at it leaves it the work."""
    for prune in prunes(settings):
        async with database.transaction() as db:
            if await db.scalar(select(func.pg_try_advisory_xact_lock(func.hashtext("flotilla housekeeping")))):
                await prune(db)
    await abandoned.tidy(database, users, settings.registration.pending_ttl_s)


async def run(database: Database, users: ServiceClient, settings: AuthSettings) -> None:
    """For ever; what cannot be done while the database or users-service is away waits for the next time."""
    while True:
        await asyncio.sleep(EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - spreads replicas, keeps no secret
        try:
            await tidy(database, users, settings)
        except ServiceUnavailable:
            continue
