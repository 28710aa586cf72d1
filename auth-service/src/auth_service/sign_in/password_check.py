"""Verifying a password behind the throttle. Hashing is between the transactions, so that no connection waits for it."""

from typing import NoReturn

from auth_service.accounts.models import Account
from auth_service.accounts.passwords import Passwords
from auth_service.audit import service as audit
from auth_service.settings import SignInSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.service import SignInRefused
from auth_service.sign_in.throttle import Counter
from shared.data.database import Database


async def verify_password(
    database: Database,
    passwords: Passwords,
    password: str,
    stored: str | None,
    counters: tuple[Counter, ...],
    limits: SignInSettings,
) -> str | None:
    """The form of `password` that has the hash `stored`; None, which is counted as a failure, if no form has.

    Without a hash (`stored` is None) it takes the same time and never matches.

    Every verification of a password comes through here. Raises HashingBusy, and SignInThrottled, also if the
    failures arrived while this password was being verified.
    """
    async with database.transaction() as db:
        await throttle.check(db, counters, limits)
    form = await passwords.matching_form(stored, password)
    async with database.transaction() as db:
        if form is not None:
            await throttle.check(db, counters, limits)
        else:
            await throttle.count_failure(db, counters, limits)
    return form


async def refuse(database: Database, account: Account | None, address: str) -> NoReturn:
    """Record that username or password were wrong. Always raises SignInRefused."""
    async with database.transaction() as db:
        audit.record(db, "sign_in_refused", account_id=account.id if account else None, address=address)
        raise SignInRefused
