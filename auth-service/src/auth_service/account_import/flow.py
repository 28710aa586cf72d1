"""Importing one account: pending with its hash first, then registered at users-service, then active.

A line that was imported before changes nothing; one that a crash has left half-way is finished.
"""

from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.account_import.schemas import ImportedAccount
from auth_service.accounts.models import Account
from auth_service.accounts.service import EmailTaken, UsernameTaken
from auth_service.audit import service as audit
from auth_service.memberships.models import tenants_by_id
from auth_service.registration import service as registrations
from auth_service.registration.flow import Registration
from shared.field_errors import FieldRule
from shared.problems import InvalidInput

Outcome = Literal["imported", "there already"]

KNOWN_TENANT = FieldRule("known_tenant", "Must be the id of a tenant.")


@dataclass(frozen=True)
class AccountImport:
    registration: Registration

    async def add(self, wanted: ImportedAccount) -> Outcome:
        """Import the account.

        Raises UsernameTaken, EmailTaken, InvalidInput (the tenant is unknown), RegistrationUnfinished,
        ServiceUnavailable.
        """
        async with self.registration.database.transaction() as db:
            account = await self._pending(db, wanted)
        if account is None:
            return "there already"
        await self.registration.finish(account)
        return "imported"

    async def check(self, wanted: ImportedAccount) -> Outcome:
        """What `add` would do, as far as this service decides it; nothing is stored."""
        async with self.registration.database.transaction() as db:
            account = await self._pending(db, wanted)
            await db.rollback()
        return "there already" if account is None else "imported"

    def trusts(self, wanted: ImportedAccount) -> bool:
        """Whether the address needs no verification, so that it belongs to one account."""
        return wanted.email_verified or not self.registration.settings.emails_are_verified

    async def _pending(self, db: AsyncSession, wanted: ImportedAccount) -> Account | None:
        """The pending account; None if it was imported before."""
        if await registrations.is_there(db, wanted.username, wanted.email):
            return None
        unfinished = await registrations.find_pending(db, wanted.username)
        if unfinished is not None:
            if unfinished.password_hash != wanted.password_hash:
                raise UsernameTaken
            return unfinished
        if wanted.tenant_id is not None and not await tenants_by_id(db, {wanted.tenant_id}):
            raise InvalidInput(errors=[KNOWN_TENANT.at("#/tenant_id")])
        account = await registrations.add_pending(
            db,
            username=wanted.username,
            email=wanted.email,
            trusted=self.trusts(wanted),
            password_hash=wanted.password_hash,
            tenant=None,
            joins=wanted.tenant_id,
        )
        audit.record(db, "account_imported", account_id=account.id)
        return account


@dataclass(frozen=True)
class DryRun:
    """Checks lines as if each one before had been imported: the names and addresses of a file are kept in memory.

    That takes about half a kilobyte a line.
    """

    accounts: AccountImport
    emails_by_name: dict[str, str] = field(default_factory=dict)
    emails: set[str] = field(default_factory=set)

    async def check(self, wanted: ImportedAccount) -> Outcome:
        """What importing the line would do. Raises what AccountImport.add raises, except users-service's failures."""
        name, email = wanted.username.lower(), wanted.email.lower()
        if name in self.emails_by_name:
            if self.emails_by_name[name] == email:
                return "there already"
            raise UsernameTaken
        if self.accounts.trusts(wanted) and email in self.emails:
            raise EmailTaken
        outcome = await self.accounts.check(wanted)
        if outcome == "imported":
            self.emails_by_name[name] = email
            if self.accounts.trusts(wanted):
                self.emails.add(email)
        return outcome
