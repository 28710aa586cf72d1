"""The throttle of sign-in: failures are counted in the database, an account's and an address's, over 15 minutes.

It precedes every answer that depends on whether a password is right. Only failures count. The count is read before a
password is verified, to save the work, and again under a lock before the answer: of a thousand guesses at once, no more
than the allowed ones get an answer.
"""

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.settings import AuthSettings, SignInSettings
from auth_service.sign_in.models import SignInFailure
from shared.limits import client_network
from shared.problems import TooManyRequests


class SignInThrottled(TooManyRequests):
    """Too many sign-ins failed recently for this account or from this address."""

    status, title = 429, "Too many failed sign-ins"
    remedy = "Wait for the seconds in `Retry-After`; until then a right password is refused too."


@dataclass(frozen=True, slots=True)
class Counter:
    """One account or address whose failures are counted, and how many it may have."""

    key: bytes
    most: int


def counters(identifier: str, account_id: UUID | None, address: str, settings: AuthSettings) -> tuple[Counter, ...]:
    """The counters of an attempt. An unknown name is throttled like an account, so the throttle reveals nothing.

    In development, all people share the loopback address of one machine, so it is not counted.
    """
    limits = settings.sign_in
    account = f"account {account_id or identifier.casefold()}"
    result = [Counter(_digest(account), limits.failures_per_account)]
    if not (settings.development and _is_loopback(address)):
        result.append(Counter(_digest(f"address {client_network(address)}"), limits.failures_per_address))
    return tuple(result)


async def check(db: AsyncSession, counts: Sequence[Counter], limits: SignInSettings) -> None:
    """Raises SignInThrottled, with the time until the oldest counted failure expires."""
    waits = [await _wait_s(db, one, limits.window_s) for one in counts]
    if (wait_s := max(waits, default=0)) > 0:
        raise SignInThrottled(retry_after_s=wait_s)


async def count_failure(db: AsyncSession, counts: Sequence[Counter], limits: SignInSettings) -> None:
    """Count one failure. Raises SignInThrottled when the limit was reached while the password was being checked."""
    for one in counts:  # the account before the address, always: two locks in one order never wait for each other
        await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(one.key.hex(), 0))))
    await check(db, counts, limits)
    db.add_all(SignInFailure(key=one.key) for one in counts)


async def prune(db: AsyncSession, window_s: int) -> None:
    """Delete the failures that no longer count."""
    await db.execute(delete(SignInFailure).where(SignInFailure.failed_at < _ago(window_s)))


async def _wait_s(db: AsyncSession, one: Counter, window_s: int) -> int:
    """Whole seconds until the newest `most` failures are fewer than `most`; 0 when they are already."""
    deciding = (
        select(func.extract("epoch", SignInFailure.failed_at - _ago(window_s)))
        .where(SignInFailure.key == one.key, SignInFailure.failed_at > _ago(window_s))
        .order_by(SignInFailure.failed_at.desc())
        .offset(one.most - 1)
        .limit(1)
    )
    left = await db.scalar(deciding)
    return 0 if left is None else max(1, math.ceil(float(left)))


def _ago(window_s: int) -> ColumnElement[datetime]:
    return func.clock_timestamp() - timedelta(seconds=window_s)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
