"""A registration, which touches two services and so takes two transactions.

The account is committed as pending first. users-service then makes the person, the tenant and the membership, under
ids that were picked here, so asking it twice changes nothing. Last the account is activated, with its membership and
its event. Whatever breaks in between leaves a pending account: registering the same again goes on from there, and
registering something else under the name, or an hour without either, ends it in both services (abandoned.py).
"""

from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel

from auth_service.accounts import abandoned, service, throttle
from auth_service.accounts.models import Account
from auth_service.accounts.passwords import Passwords
from auth_service.accounts.proof import is_shown
from auth_service.accounts.rules import password_faults
from auth_service.accounts.schemas import RegistrationIn
from auth_service.accounts.service import (
    RegistrationClosed,
    RegistrationUnfinished,
    SlugReserved,
    SlugTaken,
    TenantRegistrationClosed,
    UsernameTaken,
)
from auth_service.memberships.authority import MembershipReply
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient, UnexpectedAnswer
from shared.data.database import Database
from shared.problems import InvalidInput, Problem, ServiceUnavailable


@dataclass(frozen=True)
class Registered:
    """The account and where it belongs; no membership where the fleet has no default tenant."""

    account: Account
    membership: MembershipReply | None


class _NewTenant(BaseModel):
    id: UUID
    name: str | None
    slug: str | None


class _RegistrationCall(BaseModel):
    username: str
    tenant: _NewTenant | None


class _RegistrationReply(BaseModel):
    membership: MembershipReply | None


@dataclass(frozen=True)
class Registration:
    """Registers people. It owns its transactions, because hashing and a call to users-service lie between them."""

    database: Database
    users: ServiceClient
    passwords: Passwords
    settings: AuthSettings
    address: str

    async def register(self, wanted: RegistrationIn) -> Registered:
        """The account, able to sign in.

        Raises InvalidInput, RegistrationClosed, TenantRegistrationClosed, UsernameTaken, EmailTaken, SlugTaken,
        SlugReserved, SignInThrottled; RegistrationUnfinished and ServiceUnavailable when users-service does not answer.
        """
        self._check(wanted)
        account = await self._pending(wanted)
        membership = await self._tell_users(account)
        tenant_id = membership.tenant.id if membership else None
        async with self.database.transaction(tenant_id) as db:
            account = await service.activate(db, account.id, membership, self.address)
        return Registered(account, membership)

    def _check(self, wanted: RegistrationIn) -> None:
        if not self.settings.people_may_register:
            raise RegistrationClosed
        if wanted.tenant is not None and not self.settings.tenants_may_register:
            raise TenantRegistrationClosed
        faults = password_faults(
            wanted.password,
            wanted.confirm_password,
            username=wanted.username,
            email=wanted.email,
            rule=self.settings.passwords,
        )
        if faults:
            raise InvalidInput(errors=faults)

    async def _pending(self, wanted: RegistrationIn) -> Account:
        """The committed pending account: a new one, or the one that this person left unfinished."""
        await self._clear_the_way(wanted)
        async with self.database.transaction() as db:
            left = await service.find_pending(db, wanted.username)
        if left is None:
            return await self._new_pending(wanted, await self.passwords.hash(wanted.password))
        counts = throttle.counted(left.username, left.id, self.address, self.settings)
        limits = self.settings.sign_in
        if not await is_shown(self.database, self.passwords, wanted.password, left.password_hash, counts, limits):
            raise UsernameTaken
        if not _is_the_same(left, wanted):
            await abandoned.end(self.database, self.users, left.id)
            return await self._new_pending(wanted, left.password_hash)
        async with self.database.transaction() as db:
            account = await service.resume_pending(db, left.id, email=wanted.email)
        if account is None:
            raise UsernameTaken
        return account

    async def _clear_the_way(self, wanted: RegistrationIn) -> None:
        """Finish with accounts that hold the username or the email and will never be active."""
        ttl_s = self.settings.registration.pending_ttl_s
        async with self.database.transaction() as db:
            over = await service.in_the_way(db, username=wanted.username, email=wanted.email, ttl_s=ttl_s)
        for account_id in over:
            await abandoned.forget(self.database, self.users, account_id)

    async def _new_pending(self, wanted: RegistrationIn, password_hash: str) -> Account:
        async with self.database.transaction() as db:
            return await service.add_pending(
                db,
                username=wanted.username,
                email=wanted.email,
                password_hash=password_hash,
                tenant=wanted.tenant,
            )

    async def _tell_users(self, account: Account) -> MembershipReply | None:
        body = _RegistrationCall(username=account.username, tenant=_new_tenant(account))
        try:
            reply = await self.users.send("PUT", f"/internal/registrations/{account.id}", body, _RegistrationReply)
        except ServiceUnavailable as error:
            refusal = _refusal(error) if isinstance(error, UnexpectedAnswer) else None
            if refusal is None:
                raise RegistrationUnfinished from error
            with suppress(ServiceUnavailable):  # then housekeeping does the rest
                await abandoned.end(self.database, self.users, account.id)
            raise refusal from error
        return reply.membership


def _new_tenant(account: Account) -> _NewTenant | None:
    if account.pending_tenant_id is None:
        return None
    return _NewTenant(id=account.pending_tenant_id, name=account.pending_tenant_name, slug=account.pending_tenant_slug)


def _is_the_same(left: Account, wanted: RegistrationIn) -> bool:
    """Whether users-service is to be told what it may have been told already; the email is no business of its."""
    tenant = (wanted.tenant.slug, wanted.tenant.name) if wanted.tenant else (None, None)
    return (left.username, left.pending_tenant_slug, left.pending_tenant_name) == (wanted.username, *tenant)


def _refusal(answer: UnexpectedAnswer) -> Problem | None:
    """Why users-service refuses the tenant; None where it refuses something else."""
    match answer.received_code:
        case "slug_taken":
            return SlugTaken()
        case "slug_reserved":
            return SlugReserved()
        case _ if answer.received_status == 422:
            return InvalidInput("The tenant is not acceptable.")
    return None
