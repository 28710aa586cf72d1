"""Choosing the tenant of a session. users-service is asked between the transactions."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.accounts.models import Account
from auth_service.memberships import models, users_api
from auth_service.memberships import service as memberships
from auth_service.memberships.models import TenantMembership
from auth_service.sessions.tokens import is_current
from auth_service.sign_in.service import TenantClosed, TenantContradiction, TenantNotFound, choose
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Revocations
from shared.problems import NoTenant, ServiceUnavailable


@dataclass(frozen=True)
class TenantChoice:
    """Chooses the tenant of a session, and asks users-service for memberships that the projection lacks."""

    database: Database
    users: ServiceClient
    revocations: Revocations
    public_url: str

    async def membership_for(
        self, account: Account, named: str | None, also: str | None = None, *, accepting: bool = True
    ) -> TenantMembership:
        """The membership that the session is for. Naming a tenant that invited the person accepts the invitation.

        Without `accepting` it does not: the tenant was named by a link and not by the person. `also` must name the same
        tenant. Raises NoTenant, TenantNotFound, TenantContradiction, TenantClosed; ServiceUnavailable if only
        users-service knows.
        """
        member = await self._known(account, named)
        if member is None:
            raise NoTenant if named is None else TenantNotFound
        if also is not None and not member.is_named(also):
            raise TenantContradiction
        if accepting and member.tenant.status == "active" and member.membership.status == "invited":
            member = await self._accept(account, member)
        if not member.active:
            raise TenantClosed
        return member

    async def _known(self, account: Account, named: str | None) -> TenantMembership | None:
        joined = await self._memberships(account)
        member = choose(joined, named, account.last_tenant_id)
        if member is not None and is_current(member, account, self.revocations, self.public_url):
            return member
        try:
            replies = await users_api.memberships_of(self.users, account.id)
        except ServiceUnavailable:
            if member is None:
                raise
            return member
        async with self.database.transaction() as db:
            await memberships.store_replies(db, replies, joined)
        return choose(await self._memberships(account), named, account.last_tenant_id)

    async def _accept(self, account: Account, member: TenantMembership) -> TenantMembership:
        reply = await users_api.accept(self.users, member.tenant.id, account.id)
        if reply is None:
            raise TenantNotFound
        async with self.database.transaction() as db:
            await memberships.store_reply(db, reply)
            joined = await models.find_membership(db, member.tenant.id, account.id)
        if joined is None:
            raise TenantNotFound
        return joined

    async def _memberships(self, account: Account) -> Sequence[TenantMembership]:
        async with self.database.transaction(role="fleet") as fleet:
            return await models.memberships_of_person(fleet, account.id)
