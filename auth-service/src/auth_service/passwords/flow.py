"""Changing and resetting passwords. Hashing is between the transactions, so that no connection waits for it."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account, find_account, is_active, lock_account
from auth_service.accounts.password_rules import password_errors
from auth_service.accounts.passwords import Passwords
from auth_service.audit import service as audit
from auth_service.links import service as links
from auth_service.links.flow import LinkRequests, MailedLink
from auth_service.links.models import Link
from auth_service.links.service import LinkInvalid
from auth_service.mails.notices import notify
from auth_service.mails.service import Mails
from auth_service.mfa.service import require_second_factor
from auth_service.passwords.service import PasswordWrong
from auth_service.sessions import ending
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.password_check import verify_password
from auth_service.sign_in.second_factor import forget_attempts
from shared.data.database import Database
from shared.identity import Principal
from shared.problems import InvalidInput, InvalidToken

_RESET: Final = MailedLink(
    "reset_password",
    mail="reset_password",
    unknown="reset_password_unknown",
    page="password/reset/confirm",
    event="password_reset_requested",
    is_for=is_active,
)


@dataclass(frozen=True)
class PasswordChange:
    database: Database
    passwords: Passwords
    mails: Mails
    settings: AuthSettings
    address: str

    async def change(self, user: Principal, current: str, password: str, confirmed: str) -> int:
        """Set a new password and end the person's other sessions; returns their number.

        Raises PasswordWrong, SignInThrottled, InvalidInput, HashingBusy; InsufficientUserAuthentication for a person
        with a second factor who has not confirmed recently by it.
        """
        async with self.database.transaction() as db:
            account = await find_account(db, user.user_id)
            await require_second_factor(db, user.user_id, user)
        if account is None:
            raise InvalidToken
        self._check(account, password, confirmed)
        counters = throttle.counters_of(account.username, account.id, self.address, self.settings)
        form = await verify_password(
            self.database, self.passwords, current, account.password_hash, counters, self.settings.sign_in
        )
        if form is None:
            async with self.database.transaction() as db:
                audit.record(
                    db,
                    "password_change_refused",
                    account_id=account.id,
                    session_id=user.session_id,
                    tenant_id=user.tenant_id,
                    address=self.address,
                )
            raise PasswordWrong
        new_hash = await self.passwords.hash(password)
        async with self.database.transaction() as db:
            changed = await lock_account(db, account.id)
            if changed is None or (changed.password_hash, changed.status) != (account.password_hash, ACTIVE):
                raise PasswordWrong
            await self._set(db, changed, new_hash)
            audit.record(db, "password_changed", account_id=account.id, address=self.address)
            return await ending.end_others(db, user, "password_changed", self.address)

    async def request_reset(self, email: str) -> None:
        """Mail a link to the account that has verified the address; without one, a mail that says so.

        Raises MailLimitReached, AddressUnmailable.
        """
        requests = LinkRequests(self.database, self.mails, self.settings, self.address)
        await requests.mail(_RESET, email, self.settings.links.reset_ttl_s)

    async def reset(self, token: str, password: str, confirmed: str) -> None:
        """Set a new password by a mailed link, and end all sessions of the account.

        Raises LinkInvalid, InvalidInput, HashingBusy; the link can then be used again.
        """
        async with self.database.transaction() as db:
            link = await links.find(db, token, "reset_password")
            account = _owner(await find_account(db, link.account_id) if link.account_id else None, link)
        self._check(account, password, confirmed)
        new_hash = await self.passwords.hash(password)
        async with self.database.transaction() as db:
            link, found = await links.spend_with_account(db, token, "reset_password")
            account = _owner(found, link)
            await self._set(db, account, new_hash)
            await throttle.forget(db, throttle.account_counter(account.id, self.settings))
            audit.record(db, "password_reset", account_id=account.id, address=self.address)
            await ending.end_all(db, account.id, "password_reset", self.address)

    async def _set(self, db: AsyncSession, account: Account, new_hash: str) -> None:
        account.password_hash = new_hash
        if account.email is not None:  # who knew the old password may have asked for an address of theirs
            account.unverified_email = None
        await links.forget(db, account.id, "reset_password")
        await forget_attempts(db, account.id)
        notify(db, self.mails, self.settings, account, "password_changed")

    def _check(self, account: Account, password: str, confirmed: str) -> None:
        email = account.email or account.unverified_email or ""
        errors = password_errors(
            password, confirmed, username=account.username, email=email, rule=self.settings.passwords
        )
        if errors:
            raise InvalidInput(errors=errors)


def _owner(account: Account | None, link: Link) -> Account:
    """The link's account. Raises LinkInvalid unless it is active and still has the address."""
    if account is None or account.status != ACTIVE or account.email != link.email:
        raise LinkInvalid
    return account
