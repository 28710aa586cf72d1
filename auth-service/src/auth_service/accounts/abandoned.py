"""Ending a registration that never became active, in both services and in an order that survives a crash anywhere.

First the account is marked as given up, so that nothing activates it any more. Then users-service takes back what it
made; a call of the registration that is still under way makes nothing after that. Last the row goes, and with it the
hold on its names. What a crash leaves half done stays marked, and housekeeping or the next registration of the same
names goes on with it.

Where users-service knows the account as active, it was active: this database was set back. Then it is active again.
"""

from contextlib import suppress
from uuid import UUID

from auth_service.accounts import service
from auth_service.memberships import authority
from auth_service.memberships.authority import UsersReplyUnreadable
from shared.clients import ServiceClient
from shared.data.database import Database


async def end(database: Database, users: ServiceClient, account_id: UUID) -> None:
    """Give up a pending account and forget it. Raises ServiceUnavailable, and then the rest is still to be done."""
    async with database.transaction() as db:
        given_up = await service.give_up(db, account_id)
    if given_up:
        await forget(database, users, account_id)


async def forget(database: Database, users: ServiceClient, account_id: UUID) -> None:
    """Do what is left to do for an account that was given up. Raises ServiceUnavailable."""
    taken_back = await authority.take_back(users, account_id)
    async with database.transaction() as db:
        if taken_back:
            await service.forget(db, account_id)
        else:
            await service.recover(db, account_id)


async def tidy(database: Database, users: ServiceClient, ttl_s: int) -> None:
    """End the registrations that are older than `ttl_s`, and finish what was begun. Raises ServiceUnavailable."""
    async with database.transaction() as db:
        account_ids = await service.give_up_over(db, ttl_s)
    for account_id in account_ids:
        with suppress(UsersReplyUnreadable):  # it is in the log, and holds up no other
            await forget(database, users, account_id)
