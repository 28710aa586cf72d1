"""A registration, which touches two services and so takes two transactions.

The account is committed as pending first. users-service then makes the person, the tenant and the membership, under
ids that were picked here, so asking it twice changes nothing. Last the account is activated, with its membership and
its event. Whatever breaks in between leaves a pending account, and registering again goes on from there.
"""

from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel

from auth_service.accounts import service
from auth_service.accounts.models import Account
from auth_service.accounts.passwords import Passwords
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
from auth_service.memberships.authority import MembershipReply, read_reply
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.problems import InvalidInput, Problem, ServiceUnavailable


@dataclass(frozen=True)
class Registered:
    """The account and where it belongs; no membership where the fleet has no default tenant."""

    account: Account
    membership: MembershipReply | None


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
        SlugReserved; RegistrationUnfinished when users-service does not answer.
        """
        self._check(wanted)
        account = await self._pending(wanted)
        membership = await self._tell_users(account, wanted)
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
        async with self.database.transaction() as db:
            left = await service.find_pending(db, wanted.username, self.settings.registration.pending_ttl_s)
        if left is None:
            return await self._new_pending(wanted)
        if not await self.passwords.matches(left.password_hash, wanted.password):
            raise UsernameTaken
        async with self.database.transaction() as db:
            account = await service.resume_pending(
                db, left.id, email=wanted.email, with_tenant=wanted.tenant is not None
            )
        if account is None:
            raise UsernameTaken
        return account

    async def _new_pending(self, wanted: RegistrationIn) -> Account:
        password_hash = await self.passwords.hash(wanted.password)
        async with self.database.transaction() as db:
            return await service.add_pending(
                db,
                username=wanted.username,
                email=wanted.email,
                password_hash=password_hash,
                with_tenant=wanted.tenant is not None,
                ttl_s=self.settings.registration.pending_ttl_s,
            )

    async def _tell_users(self, account: Account, wanted: RegistrationIn) -> MembershipReply | None:
        tenant = None
        if wanted.tenant is not None:
            tenant = {"id": str(account.pending_tenant_id), "name": wanted.tenant.name, "slug": wanted.tenant.slug}
        body = {"username": account.username, "tenant": tenant}
        try:
            reply = await self.users.call("PUT", f"/internal/registrations/{account.id}", json=body)
        except ServiceUnavailable as away:
            raise RegistrationUnfinished from away
        if (refusal := _refusal(reply.status_code, reply.content)) is not None:
            await self._give_up(account.id)
            raise refusal
        try:
            return read_reply(_RegistrationReply, reply.status_code, reply.content).membership
        except ServiceUnavailable as unreadable:
            raise RegistrationUnfinished from unreadable

    async def _give_up(self, account_id: UUID) -> None:
        async with self.database.transaction() as db:
            await service.give_up(db, account_id)


def _refusal(status: int, content: bytes) -> Problem | None:
    """What users-service has against the tenant; None where it has nothing."""
    if status == 409:
        return SlugTaken()
    if status == 422:
        return SlugReserved() if b'"slug_reserved"' in content else InvalidInput("The tenant is not acceptable.")
    return None
