"""The throttle of sign-in: failures are counted in the database, per account and per address, over 15 minutes.

It precedes every answer that depends on whether a password is right. Only failures count. The count is read before a
password is verified, to save the work, and again before the answer, for a failure under a lock: of a thousand guesses
at once, no more than the allowed ones get an answer.
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
    limit: int


def counters_of(identifier: str, account_id: UUID | None, address: str, settings: AuthSettings) -> tuple[Counter, ...]:
    """The counters of an attempt. An unknown name is throttled like an account, so the throttle reveals nothing."""
    limits = settings.sign_in
    result = [account_counter(account_id or identifier.casefold(), settings)]
    if settings.counts_loopback or not _is_loopback(address):
        result.append(Counter(_digest(f"address {client_network(address)}"), limits.failures_per_address))
    return tuple(result)


def code_counters(method: str, account_id: UUID, address: str, settings: AuthSettings) -> tuple[Counter, ...]:
    """The counters of a second factor, or of the codes of devices: none for a passkey, which cannot be guessed."""
    if method == "passkey":
        return ()
    return counters_of(f"{method} {account_id}", None, address, settings)


def account_counter(account: UUID | str, settings: AuthSettings) -> Counter:
    """The counter of an account; without one, of the name that was typed."""
    return Counter(_digest(f"account {account}"), settings.sign_in.failures_per_account)


async def check(db: AsyncSession, counters: Sequence[Counter], limits: SignInSettings) -> None:
    """Raises SignInThrottled, with the time until the oldest counted failure expires."""
    waits = [await _wait_s(db, counter, limits.window_s) for counter in counters]
    if (wait_s := max(waits, default=0)) > 0:
        raise SignInThrottled(retry_after_s=wait_s)


async def count_failure(db: AsyncSession, counters: Sequence[Counter], limits: SignInSettings) -> None:
    """Count one failure. Raises SignInThrottled when the limit was reached while the password was being checked."""
    await acquire(db, counters)
    await check(db, counters, limits)
    db.add_all(SignInFailure(key=counter.key) for counter in counters)


async def acquire(db: AsyncSession, counters: Sequence[Counter]) -> None:
    """Let the attempts with these counters go on one at a time, until the transaction ends."""
    for counter in counters:  # the account before the address, always: two locks in one order never wait for each other
        await db.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(counter.key.hex(), 0))))


async def forget(db: AsyncSession, counter: Counter) -> None:
    """Delete the counter's failures: its owner has proven who they are."""
    await db.execute(delete(SignInFailure).where(SignInFailure.key == counter.key))


async def prune(db: AsyncSession, window_s: int) -> None:
    """Delete the failures that no longer count."""
    await db.execute(delete(SignInFailure).where(SignInFailure.failed_at < _ago(window_s)))


async def _wait_s(db: AsyncSession, counter: Counter, window_s: int) -> int:
    """Whole seconds until the newest `limit` failures are fewer than `limit`; 0 when they are already."""
    deciding = (
        select(func.extract("epoch", SignInFailure.failed_at - _ago(window_s)))
        .where(SignInFailure.key == counter.key, SignInFailure.failed_at > _ago(window_s))
        .order_by(SignInFailure.failed_at.desc())
        .offset(counter.limit - 1)
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
