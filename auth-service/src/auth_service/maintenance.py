"""The service prunes its own rows: every minute, in short transactions, by one replica at a time."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.api_keys import service as api_keys
from auth_service.audit import service as audit
from auth_service.authorization import service as authorization
from auth_service.backchannel_logout import service as backchannel_logout
from auth_service.clients import authentication as client_authentication
from auth_service.clients import service as clients
from auth_service.consents import service as consents
from auth_service.device_authorization import service as device_authorization
from auth_service.identity_providers import service as identity_providers
from auth_service.links import service as links
from auth_service.mails import service as mails
from auth_service.mfa import passkeys, totp
from auth_service.registration import flow as registration
from auth_service.revocations import service as revocations
from auth_service.sessions import ending
from auth_service.sessions import service as sessions
from auth_service.settings import AuthSettings
from auth_service.sign_in import second_factor, throttle
from auth_service.signing_keys import service as signing_keys
from auth_service.tickets import service as tickets
from auth_service.upstream_sign_in import service as upstream_sign_in
from shared.background import PollingLoop
from shared.background.single_active import single_active
from shared.clients import ServiceClient
from shared.data.database import Database

EVERY_S: Final = 60.0

Prune = Callable[[AsyncSession], Awaitable[None]]


def prunes(settings: AuthSettings) -> Sequence[Prune]:
    """What is deleted from each table; sessions that expired are ended first."""
    return (
        lambda db: ending.end_expired(db, settings.sessions),
        sessions.prune,
        lambda db: throttle.prune(db, settings.sign_in.window_s),
        lambda db: audit.prune(db, settings.audit.kept_days),
        api_keys.prune,
        authorization.prune,
        backchannel_logout.prune,
        client_authentication.prune,
        clients.prune,
        consents.prune,
        second_factor.prune,
        totp.prune,
        passkeys.prune,
        device_authorization.prune,
        identity_providers.prune,
        links.prune,
        mails.prune,
        revocations.prune,
        signing_keys.prune,
        tickets.prune,
        upstream_sign_in.prune,
    )


def maintenance(database: Database, users: ServiceClient, settings: AuthSettings) -> PollingLoop:
    """Prunes every table once a minute; a replica that finds another one at it leaves the work to it."""
    return PollingLoop("maintenance", partial(tidy, database, users, settings), every_s=EVERY_S, at_once=False)


async def tidy(database: Database, users: ServiceClient, settings: AuthSettings) -> None:
    """Prune every table once."""
    for prune in prunes(settings):
        async with database.transaction() as db:
            if await single_active(db, "maintenance"):
                await prune(db)
    await registration.end_overdue(database, users, settings.registration.pending_ttl_s)
