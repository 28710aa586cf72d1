"""Showing a password: every place where one is right or wrong is behind the same throttle."""

from auth_service.accounts import throttle
from auth_service.accounts.passwords import Passwords
from auth_service.accounts.throttle import Counted
from auth_service.settings import SignInSettings
from shared.data.database import Database


async def is_shown(
    database: Database,
    passwords: Passwords,
    password: str,
    stored: str | None,
    counts: tuple[Counted, ...],
    limits: SignInSettings,
) -> bool:
    """Whether it is the password of the hash `stored`; a wrong one is counted. None costs the same and is never right.

    Raises SignInThrottled, also where the failures came in while this one was being checked; HashingBusy.
    """
    async with database.transaction() as db:
        await throttle.check(db, counts, limits)
    right = await passwords.matches(stored, password)
    async with database.transaction() as db:
        if right:
            await throttle.check(db, counts, limits)
        else:
            await throttle.count_failure(db, counts, limits)
    return right
