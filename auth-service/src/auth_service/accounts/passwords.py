"""Hashing passwords (argon2id, RFC 9106) off the event loop, a few at a time.

A hash costs tens of milliseconds of a core and megabytes of memory on purpose, so more at once would only make all of
them late. Requests queue for a worker; when the queue is full the next one is refused with 503.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from auth_service.accounts.imported_hashes import is_imported, matches
from auth_service.accounts.spelling import forms
from auth_service.settings import PasswordSettings
from shared.problems import ServiceUnavailable

T = TypeVar("T")

RETRY_AFTER_S: Final = 2


class HashingBusy(ServiceUnavailable):
    """More passwords are being verified than this service has workers for."""

    status, title = 503, "Too many sign-ins at once"
    remedy = "Try again after the seconds in `Retry-After`."


class Passwords:
    """Hashes and checks passwords. Open one per process and close it at the end."""

    def __init__(self, settings: PasswordSettings) -> None:
        self._hasher = PasswordHasher(
            time_cost=settings.time_cost, memory_cost=settings.memory_kib, parallelism=settings.parallelism
        )
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="argon2")
        self._most = settings.workers + settings.max_waiting
        self._inside = 0
        # Verified for unknown accounts: a faster answer would reveal which names exist.
        self._unknown_account = self._hasher.hash("no account has this password")

    async def hash(self, password: str) -> str:
        """The encoded hash to store, of the password's one form. Raises HashingBusy."""
        return await self._run(lambda: self._hasher.hash(forms(password)[0]))

    async def matching_form(self, stored: str | None, password: str) -> str | None:
        """The form of the password that has the hash `stored`; None if no form has.

        `stored` is None for an unknown account, and empty for one without a password; both take the same time. Raises
        HashingBusy.
        """
        form = await self._run(lambda: self._matching(stored or self._unknown_account, password))
        return form if stored else None

    def is_outdated(self, stored: str, form: str) -> bool:
        """Whether a sign-in should renew the hash: its costs are not those of the settings, or its form is not the one.

        `form` is the form that matched.
        """
        return is_imported(stored) or self._hasher.check_needs_rehash(stored) or form != forms(form)[0]

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown, cancel_futures=True)

    def _matching(self, stored: str, password: str) -> str | None:
        return next((form for form in forms(password) if self._verify(stored, form)), None)

    def _verify(self, stored: str, password: str) -> bool:
        if is_imported(stored):
            return matches(stored, password)
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._inside >= self._most:
            raise HashingBusy(retry_after_s=RETRY_AFTER_S)
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._inside -= 1
