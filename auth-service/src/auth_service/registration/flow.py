"""A registration, which touches two services and so takes two transactions.

The account is committed as pending first. users-service then creates the person, the tenant and the membership, under
ids that were chosen here, so a repeated call changes nothing. Last the account is activated, with its membership and
its event. A failure in between leaves a pending account: the same registration again finishes it, and another one of
the same username, or an hour without either, ends it in both services.

Ending survives a crash anywhere. First the account is marked as abandoned, so that nothing activates it. Then
users-service undoes its part; a call of the registration that is still under way creates nothing after that. Last the
row is deleted, and with it the hold on its names. If users-service knows the account as active, it was active (this
database was restored to an earlier state), and becomes active again.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from pydantic import BaseModel

from auth_service.accounts.models import Account
from auth_service.accounts.password_rules import password_errors
from auth_service.accounts.passwords import Passwords
from auth_service.accounts.service import UsernameTaken
from auth_service.mails.service import Mails
from auth_service.memberships import users_api
from auth_service.memberships.users_api import MembershipReply, UsersReplyUnreadable
from auth_service.registration import service
from auth_service.registration.schemas import RegistrationIn
from auth_service.registration.service import (
    RegistrationClosed,
    RegistrationUnfinished,
    SlugReserved,
    SlugTaken,
    TenantRegistrationClosed,
)
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.password_check import verify_password
from shared.clients import ServiceClient, UnexpectedAnswer
from shared.data.database import Database
from shared.email_addresses import domain_errors
from shared.problems import InvalidInput, Problem, ServiceUnavailable


@dataclass(frozen=True)
class Registered:
    """The account and its membership; None if the fleet has no default tenant."""

    account: Account
    membership: MembershipReply | None


class _NewTenant(BaseModel):
    id: UUID
    name: str | None
    slug: str | None


class _RegistrationCall(BaseModel):
    username: str
    tenant: _NewTenant | None
    birth_date: date | None
    newsletter: bool


class _JoiningCall(_RegistrationCall):
    join: UUID


class _RegistrationReply(BaseModel):
    membership: MembershipReply | None


@dataclass(frozen=True)
class Registration:
    """Hashing and a call to users-service are between its transactions, so that no connection waits for them."""

    database: Database
    users: ServiceClient
    passwords: Passwords
    mails: Mails
    settings: AuthSettings
    address: str

    async def register(self, wanted: RegistrationIn) -> Registered:
        """Create the account, or finish it; afterwards it can sign in, once its email is verified if it must be.

        Raises InvalidInput, RegistrationClosed, TenantRegistrationClosed, UsernameTaken, EmailTaken, SlugTaken,
        SlugReserved, SignInThrottled, MailLimitReached, AddressUnmailable; RegistrationUnfinished and
        ServiceUnavailable if users-service does not respond.
        """
        self._check(wanted)
        if self.settings.emails_are_verified:
            async with self.database.transaction() as db:
                await self.mails.check_limit(db, "verify_email", wanted.email)
        account = await self._pending(wanted)
        return await self.finish(account, birth_date=wanted.birth_date, newsletter=wanted.newsletter)

    async def finish(self, account: Account, *, birth_date: date | None = None, newsletter: bool = False) -> Registered:
        """Register the pending account at users-service, and activate it; a repeat changes nothing.

        Raises SlugTaken, SlugReserved, RegistrationUnfinished, ServiceUnavailable.
        """
        membership = await self._register_at_users(account, birth_date, newsletter=newsletter)
        tenant_id = membership.tenant.id if membership else None
        async with self.database.transaction(tenant_id) as db:
            account = await service.activate(
                db, account.id, membership, mails=self.mails, settings=self.settings, address=self.address
            )
        return Registered(account, membership)

    def _check(self, wanted: RegistrationIn) -> None:
        if not self.settings.people_may_register:
            raise RegistrationClosed
        if wanted.tenant is not None and not self.settings.tenants_may_register:
            raise TenantRegistrationClosed
        errors = [
            *domain_errors(wanted.email, self.settings, "#/email"),
            *password_errors(
                wanted.password,
                wanted.confirm_password,
                username=wanted.username,
                email=wanted.email,
                rule=self.settings.passwords,
            ),
        ]
        if errors:
            raise InvalidInput(errors=errors)

    async def _pending(self, wanted: RegistrationIn) -> Account:
        """The committed pending account: a new one, or the unfinished one of the same person."""
        await self._end_abandoned(wanted)
        async with self.database.transaction() as db:
            unfinished = await service.find_pending(db, wanted.username)
        if unfinished is None:
            return await self._new_pending(wanted, await self.passwords.hash(wanted.password))
        counts = throttle.counters_of(unfinished.username, unfinished.id, self.address, self.settings)
        limits = self.settings.sign_in
        form = await verify_password(
            self.database, self.passwords, wanted.password, unfinished.password_hash, counts, limits
        )
        if form is None:
            raise UsernameTaken
        if not _is_the_same(unfinished, wanted):
            await end(self.database, self.users, unfinished.id)
            return await self._new_pending(wanted, unfinished.password_hash)
        async with self.database.transaction() as db:
            account = await service.resume_pending(
                db, unfinished.id, email=wanted.email, trusted=not self.settings.emails_are_verified
            )
        if account is None:
            raise UsernameTaken
        return account

    async def _end_abandoned(self, wanted: RegistrationIn) -> None:
        """End accounts that have the username or the email and will never be active."""
        ttl_s = self.settings.registration.pending_ttl_s
        async with self.database.transaction() as db:
            over = await service.abandon_expired_with(db, username=wanted.username, email=wanted.email, ttl_s=ttl_s)
        for account_id in over:
            await finish_ending(self.database, self.users, account_id)

    async def _new_pending(self, wanted: RegistrationIn, password_hash: str) -> Account:
        async with self.database.transaction() as db:
            return await service.add_pending(
                db,
                username=wanted.username,
                email=wanted.email,
                trusted=not self.settings.emails_are_verified,
                password_hash=password_hash,
                tenant=wanted.tenant,
            )

    async def _register_at_users(
        self, account: Account, birth_date: date | None, *, newsletter: bool
    ) -> MembershipReply | None:
        body = _call_for(account, birth_date, newsletter=newsletter)
        try:
            reply = await self.users.send("PUT", f"/internal/registrations/{account.id}", body, _RegistrationReply)
        except ServiceUnavailable as error:
            refusal = _refusal(error) if isinstance(error, UnexpectedAnswer) else None
            if refusal is None:
                raise RegistrationUnfinished from error
            with suppress(ServiceUnavailable):  # then maintenance does the rest
                await end(self.database, self.users, account.id)
            raise refusal from error
        return reply.membership


def _call_for(account: Account, birth_date: date | None, *, newsletter: bool) -> _RegistrationCall:
    call = _RegistrationCall(
        username=account.username, tenant=_new_tenant(account), birth_date=birth_date, newsletter=newsletter
    )
    joined = account.pending_tenant_id if call.tenant is None else None
    return call if joined is None else _JoiningCall(**dict(call), join=joined)


def _new_tenant(account: Account) -> _NewTenant | None:
    if account.pending_tenant_id is None or account.pending_tenant_slug is None:
        return None
    return _NewTenant(id=account.pending_tenant_id, name=account.pending_tenant_name, slug=account.pending_tenant_slug)


def _is_the_same(unfinished: Account, wanted: RegistrationIn) -> bool:
    """Whether users-service would get the same call as before; the email is not part of it."""
    tenant = (wanted.tenant.slug, wanted.tenant.name) if wanted.tenant else (None, None)
    return (unfinished.username, unfinished.pending_tenant_slug, unfinished.pending_tenant_name) == (
        wanted.username,
        *tenant,
    )


def _refusal(answer: UnexpectedAnswer) -> Problem | None:
    """The problem of the tenant that users-service refused; None if it refused something else."""
    match answer.received_code:
        case "slug_taken":
            return SlugTaken()
        case "slug_reserved":
            return SlugReserved()
        case _ if answer.received_status == 422:
            return InvalidInput("The tenant is not acceptable.")
    return None


async def end(database: Database, users: ServiceClient, account_id: UUID) -> None:
    """End a pending registration in both services. Raises ServiceUnavailable; then maintenance finishes it."""
    async with database.transaction() as db:
        is_abandoned = await service.abandon(db, account_id)
    if is_abandoned:
        await finish_ending(database, users, account_id)


async def finish_ending(database: Database, users: ServiceClient, account_id: UUID) -> None:
    """Do the remaining steps for an abandoned account. Raises ServiceUnavailable."""
    undone = await users_api.undo_registration(users, account_id)
    async with database.transaction() as db:
        if undone:
            await service.delete_abandoned(db, account_id)
        else:
            await service.recover(db, account_id)


async def end_overdue(database: Database, users: ServiceClient, ttl_s: int) -> None:
    """End the registrations older than `ttl_s`, and finish those that were ending. Raises ServiceUnavailable."""
    async with database.transaction() as db:
        account_ids = await service.abandon_overdue(db, ttl_s)
    for account_id in account_ids:
        with suppress(UsersReplyUnreadable):  # it is logged, and must not delay the others
            await finish_ending(database, users, account_id)
