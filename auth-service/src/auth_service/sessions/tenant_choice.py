"""Which of a person's tenants a session is for: the one that is named, else the last used, else the oldest."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from auth_service.accounts.models import Account
from auth_service.memberships import authority, models
from auth_service.memberships import service as memberships
from auth_service.memberships.models import Place
from auth_service.sessions.service import TenantClosed, TenantNotFound
from auth_service.sessions.tokens import is_current
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Revocations
from shared.problems import NoTenant, ServiceUnavailable


def choose(places: Sequence[Place], named: str | None, last_tenant_id: UUID | None) -> Place | None:
    """The place that is named (by slug or id), in whatever state it is; else the default among the active ones.

    None where there is none. An invitation is no default: it counts once the person names the tenant.
    """
    held = [place for place in places if place.membership.status != models.ENDED]
    if named is not None:
        return next((place for place in held if place.is_named(named)), None)
    active = [place for place in held if place.active]
    last = next((place for place in active if place.tenant.id == last_tenant_id), None)
    return last or (active[0] if active else None)


@dataclass(frozen=True)
class TenantChoice:
    """Finds the place, and asks users-service for what the projection lacks; between transactions of its own."""

    database: Database
    users: ServiceClient
    revocations: Revocations
    public_url: str

    async def of(self, account: Account, named: str | None) -> Place:
        """Where the session will be. A named tenant that invited the person is joined by this.

        Raises NoTenant, TenantNotFound, TenantClosed; ServiceUnavailable where only users-service could tell.
        """
        place = await self._known(account, named)
        if place is None:
            raise NoTenant if named is None else TenantNotFound
        if place.tenant.status == "active" and place.membership.status == "invited":
            place = await self._accept(account, place)
        if not place.active:
            raise TenantClosed
        return place

    async def _known(self, account: Account, named: str | None) -> Place | None:
        places = await self._places(account)
        place = choose(places, named, account.last_tenant_id)
        if place is not None and is_current(place, account, self.revocations, self.public_url):
            return place
        try:
            replies = await authority.memberships_of(self.users, account.id)
        except ServiceUnavailable:
            if place is None:
                raise
            return place
        async with self.database.transaction() as db:
            await memberships.store_replies(db, replies, places)
        return choose(await self._places(account), named, account.last_tenant_id)

    async def _accept(self, account: Account, place: Place) -> Place:
        reply = await authority.accept(self.users, place.tenant.id, account.id)
        if reply is None:
            raise TenantNotFound
        async with self.database.transaction() as db:
            await memberships.store_reply(db, reply)
            joined = await models.find_place(db, place.tenant.id, account.id)
        if joined is None:
            raise TenantNotFound
        return joined

    async def _places(self, account: Account) -> Sequence[Place]:
        async with self.database.transaction(role="fleet") as fleet:
            return await models.places_of(fleet, account.id)
