"""Verifying an address, and asking for the mail that it needs."""

from dataclasses import dataclass

from auth_service.accounts.models import ACTIVE, Account, by_identifier
from auth_service.accounts.passwords import Passwords
from auth_service.email_verification import service
from auth_service.mails.service import Mails
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.flow import refuse, verify_password
from shared.data.database import Database
from shared.email_addresses import domain_errors
from shared.problems import InvalidInput


@dataclass(frozen=True)
class EmailVerification:
    database: Database
    passwords: Passwords
    mails: Mails
    settings: AuthSettings
    address: str

    async def request(self, identifier: str, password: str, email: str | None) -> None:
        """Mail a new link to the person whose username or email and password these are.

        `email`, if given, becomes the account's next address; the present one stays until the new one is verified.
        Raises SignInRefused, SignInThrottled, HashingBusy, MailLimitReached, AddressUnmailable, InvalidInput.
        """
        if email is not None and (errors := [*domain_errors(email, self.settings, "#/email")]):
            raise InvalidInput(errors=errors)
        async with self.database.transaction() as db:
            account = await by_identifier(db, identifier)
        stored = account.password_hash if account is not None and account.status == ACTIVE else None
        counters = throttle.counters_of(identifier, account.id if account else None, self.address, self.settings)
        form = await verify_password(self.database, self.passwords, password, stored, counters, self.settings.sign_in)
        if form is None or account is None:
            await refuse(self.database, account, self.address)
        async with self.database.transaction() as db:
            current = await db.get(Account, account.id, with_for_update=True)
            if current is None:
                await refuse(self.database, None, self.address)
            wanted = email or current.unverified_email
            if wanted is None or wanted == current.email:
                return  # nothing to verify
            await self.mails.check_limit(db, "verify_email", wanted)
            current.unverified_email = wanted
            await service.send(db, current, self.mails, self.settings)

    async def verify(self, token: str) -> None:
        """Give the account the address that the link was mailed to. Raises LinkInvalid, EmailTaken."""
        async with self.database.transaction() as db:
            await service.verify(db, token, self.mails, self.address)
