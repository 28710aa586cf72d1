"""Verifying an address, and asking for the mail that it needs."""

from dataclasses import dataclass

from auth_service.accounts.models import ACTIVE, by_identifier, lock_account
from auth_service.accounts.passwords import Passwords
from auth_service.audit import service as audit
from auth_service.email_verification import service
from auth_service.mails.service import Mails
from auth_service.mfa.service import require_second_factor
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.password_check import refuse, verify_password
from shared.data.database import Database
from shared.email_addresses import domain_errors
from shared.identity import Principal
from shared.problems import InvalidInput


@dataclass(frozen=True)
class EmailVerification:
    database: Database
    passwords: Passwords
    mails: Mails
    settings: AuthSettings
    address: str

    async def request(self, identifier: str, password: str, email: str | None, *, user: Principal | None) -> None:
        """Mail a new link to the person whose username or email and password these are.

        `email`, if given, becomes the account's next address; the present one stays until the new one is verified. The
        address of an account with a second factor is replaced by `user` alone, its signed-in person who has confirmed
        recently. Raises SignInRefused, SignInThrottled, HashingBusy, MailLimitReached, AddressUnmailable, InvalidInput,
        InsufficientUserAuthentication.
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
            current = await lock_account(db, account.id)
            if current is None or current.password_hash != account.password_hash:  # changed meanwhile
                await refuse(self.database, None, self.address)
            if email is not None:
                await require_second_factor(db, current.id, user)
            wanted = email or current.unverified_email
            if wanted is None or wanted == current.email:
                return  # nothing to verify
            await self.mails.check_limit(db, "verify_email", wanted)
            current.unverified_email = wanted
            audit.record(db, "email_change_requested", account_id=current.id, address=self.address)
            await service.send(db, current, self.mails, self.settings)

    async def verify(self, token: str) -> None:
        """Give the account the address that the link was mailed to. Raises LinkInvalid, EmailTaken."""
        async with self.database.transaction() as db:
            await service.verify(db, token, self.mails, self.address)
