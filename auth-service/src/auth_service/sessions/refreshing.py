"""Refreshing: the session goes on, with the roles that the person has in its tenant now."""

from dataclasses import dataclass

from auth_service.accounts.models import Account
from auth_service.memberships import authority, models
from auth_service.memberships import service as memberships
from auth_service.memberships.authority import MembershipReply
from auth_service.memberships.models import Place
from auth_service.sessions import service
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.sessions.service import MembershipEnded
from auth_service.sessions.tokens import TokenMaker, Tokens, is_current
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Revocations
from shared.problems import ServiceUnavailable, TenantMismatch


@dataclass(frozen=True)
class Refreshing:
    """It owns its transactions, because a call to users-service may lie between them."""

    database: Database
    users: ServiceClient
    revocations: Revocations
    tokens: TokenMaker
    settings: AuthSettings
    address: str

    async def refresh(self, token: RefreshToken, named_tenant: str | None) -> Tokens:
        """The session's next tokens, or for a retry the same again.

        Raises RefreshRefused, RefreshTokenReused, MembershipEnded; TenantMismatch where the request names another
        tenant than the session's; ServiceUnavailable where only users-service could tell whether the person is a
        member.
        """
        async with self.database.transaction() as db:
            session, account = await service.find(db, token.family)
        async with self.database.transaction(session.tenant_id) as db:
            place = await models.find_place(db, session.tenant_id, account.id)
        asked, told = await self._ask(account, session, place)
        async with self.database.transaction(session.tenant_id) as db:
            if told is not None:
                await memberships.store_reply(db, told)
            elif asked and place is not None:
                await memberships.store_end(db, place)
            place = await models.find_place(db, session.tenant_id, account.id)
            if place is None or place.left:
                await service.end_in_tenant(db, account.id, session.tenant_id)
            if place is None or not place.active:
                raise MembershipEnded
            if named_tenant is not None and not place.is_named(named_tenant):
                raise TenantMismatch
            session = await service.rotate(db, token, self.settings.sessions, self.address)
            return self.tokens.make(account, session, place)

    async def _ask(
        self, account: Account, session: Session, place: Place | None
    ) -> tuple[bool, MembershipReply | None]:
        """Whether users-service was asked, and what it said; what is fresh and uncontradicted is not asked about."""
        if is_current(place, account, self.revocations, self.settings.public_url):
            return False, None
        try:
            return True, await authority.membership(self.users, session.tenant_id, account.id)
        except ServiceUnavailable:
            if place is None:
                raise
            return False, None
