"""Changing and resetting passwords. Hashing is between the transactions, so that no connection waits for it."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account, by_email, find_account
from auth_service.accounts.password_rules import password_errors
from auth_service.accounts.passwords import Passwords
from auth_service.audit import service as audit
from auth_service.links import service as links
from auth_service.links.service import LinkInvalid
from auth_service.mails.service import AddressUnmailable, Mails
from auth_service.passwords.service import PasswordWrong
from auth_service.sessions import service as sessions
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.flow import verify_password
from shared.data.database import Database
from shared.email_addresses import canonical
from shared.identity import Principal
from shared.problems import InvalidInput, InvalidToken


@dataclass(frozen=True)
class PasswordChange:
    database: Database
    passwords: Passwords
    mails: Mails
    settings: AuthSettings
    address: str

    async def change(self, user: Principal, current: str, password: str, confirmed: str) -> int:
        """Set a new password and end the person's other sessions; returns their number.

        Raises PasswordWrong, SignInThrottled, InvalidInput, HashingBusy.
        """
        async with self.database.transaction() as db:
            account = await find_account(db, user.user_id)
        if account is None:
            raise InvalidToken
        self._check(account, password, confirmed)
        counters = throttle.counters_of(account.username, account.id, self.address, self.settings)
        form = await verify_password(
            self.database, self.passwords, current, account.password_hash, counters, self.settings.sign_in
        )
        if form is None:
            raise PasswordWrong
        new_hash = await self.passwords.hash(password)
        async with self.database.transaction() as db:
            changed = await db.get(Account, account.id, with_for_update=True)
            if changed is None or changed.password_hash != account.password_hash:  # another change was faster
                raise PasswordWrong
            await self._set(db, changed, new_hash)
            audit.record(db, "password_changed", account_id=account.id, address=self.address)
            return await sessions.end_others(db, user, "password_changed", self.address)

    async def request_reset(self, email: str) -> None:
        """Mail a link to the account that has verified the address; without one, a mail that says so.

        The work is the same for both. Raises MailLimitReached, AddressUnmailable.
        """
        try:
            address = canonical(email)
        except ValueError:
            raise AddressUnmailable from None
        ttl_s = self.settings.links.reset_ttl_s
        async with self.database.transaction() as db:
            await self.mails.check_limit(db, "reset_password", address)
            account = await by_email(db, address)
            if account is None or account.status != ACTIVE:
                await links.make(db, None, "reset_password", address, ttl_s)
                self.mails.queue(db, "reset_password_unknown", address)
            else:
                stored = account.email or ""  # never the text that was typed: other characters can have one lower case
                token = await links.make(db, account.id, "reset_password", stored, ttl_s)
                link = self.settings.page(f"password/reset/confirm?token={token}")
                self.mails.queue(
                    db, "reset_password", stored, username=account.username, link=link, minutes=ttl_s // 60
                )
            account_id = account.id if account else None
            audit.record(db, "password_reset_requested", account_id=account_id, address=self.address)

    async def reset(self, token: str, password: str, confirmed: str) -> None:
        """Set a new password by a mailed link, and end all sessions of the account.

        Raises LinkInvalid, InvalidInput, HashingBusy; the link can then be used again.
        """
        async with self.database.transaction() as db:
            link = await links.find(db, token, "reset_password")
            account = await self._account_of(db, link.account_id, link.email)
        self._check(account, password, confirmed)
        new_hash = await self.passwords.hash(password)
        async with self.database.transaction() as db:
            link = await links.spend(db, token, "reset_password")
            account = await self._account_of(db, link.account_id, link.email)
            await self._set(db, account, new_hash)
            await throttle.forget(db, throttle.account_counter(account.id, self.settings))
            audit.record(db, "password_reset", account_id=account.id, address=self.address)
            await sessions.end_all(db, account.id, "password_reset", self.address)

    async def _account_of(self, db: AsyncSession, account_id: UUID | None, email: str) -> Account:
        account = await db.get(Account, account_id, with_for_update=True) if account_id else None
        if account is None or account.status != ACTIVE or account.email != email:
            raise LinkInvalid
        return account

    async def _set(self, db: AsyncSession, account: Account, new_hash: str) -> None:
        account.password_hash = new_hash
        await links.forget(db, account.id, "reset_password")
        if account.email is not None:
            link = self.settings.page("password/reset")
            self.mails.queue(db, "password_changed", account.email, username=account.username, link=link)

    def _check(self, account: Account, password: str, confirmed: str) -> None:
        email = account.email or account.unverified_email or ""
        errors = password_errors(
            password, confirmed, username=account.username, email=email, rule=self.settings.passwords
        )
        if errors:
            raise InvalidInput(errors=errors)
