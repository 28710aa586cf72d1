"""Refreshing: the session goes on, with the roles that the person has in its tenant now."""

import time
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
from auth_service.sessions.tokens import TokenMaker, Tokens, principal
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Revocations
from shared.problems import ServiceUnavailable


@dataclass(frozen=True)
class Refreshing:
    """It owns its transactions, because a call to users-service may lie between them."""

    database: Database
    users: ServiceClient
    revocations: Revocations | None
    tokens: TokenMaker
    settings: AuthSettings
    address: str

    async def refresh(self, token: RefreshToken) -> Tokens:
        """The session's next tokens, or for a retry the same again.

        Raises RefreshRefused, RefreshTokenReused, MembershipEnded; ServiceUnavailable where only users-service could
        tell whether the person is a member.
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
            if place is None or not place.active:
                raise MembershipEnded
            session = await service.rotate(db, token, self.settings.sessions, self.address)
            return self.tokens.make(account, session, place)

    async def _ask(
        self, account: Account, session: Session, place: Place | None
    ) -> tuple[bool, MembershipReply | None]:
        """Whether users-service was asked, and what it said; what is fresh and uncontradicted is not asked about."""
        if place is not None and memberships.is_fresh(place) and not self._is_contradicted(account, session, place):
            return False, None
        try:
            return True, await authority.membership(self.users, session.tenant_id, account.id)
        except ServiceUnavailable:
            if place is None:
                raise
            return False, None

    def _is_contradicted(self, account: Account, session: Session, place: Place) -> bool:
        """Whether users-service's feed would end a token made of what the projection holds."""
        if self.revocations is None:
            return False
        who = principal(account, session.id, place, self.settings.public_url, expires_at=int(time.time()))
        ended = self.revocations.ended(who)
        return ended is not None and ended.reason in ("membership", "tenant")
