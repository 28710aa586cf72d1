"""Beginning an impersonation: users-service is asked about both people first, and no transaction waits for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from auth_service.impersonation import service
from auth_service.impersonation.schemas import ImpersonationIn
from auth_service.memberships import models, users_api
from auth_service.memberships import service as memberships
from auth_service.memberships.models import TenantMembership
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Principal
from shared.identity.principal import tenant_of


@dataclass(frozen=True)
class Impersonation:
    database: Database
    users: ServiceClient
    tokens: TokenMaker
    settings: AuthSettings
    address: str
    device: str | None

    async def begin(self, operator: Principal, asked: ImpersonationIn) -> Tokens:
        """The token by which the operator acts as the person.

        The projection alone is not enough here: ServiceUnavailable if users-service does not answer. Also raises
        InvalidToken, InsufficientScope, InsufficientUserAuthentication, NotImpersonable, PersonNotInTenant.
        """
        tenant_id = tenant_of(operator)
        await self._memberships(operator.user_id)
        of_person = await self._memberships(asked.user_id)
        async with self.database.transaction(tenant_id) as db:
            await service.check_operator(db, operator)
            if asked.user_id == operator.user_id:
                raise service.NotImpersonable
            session, account, member = await service.open_session(
                db,
                operator,
                service.chosen(of_person, asked.tenant),
                self.settings,
                reason=asked.reason,
                device=self.device,
                address=self.address,
            )
            return self.tokens.make(account, session, member)

    async def _memberships(self, user_id: UUID) -> Sequence[TenantMembership]:
        """The person's memberships as users-service knows them now, stored. Raises ServiceUnavailable."""
        replies = await users_api.memberships_of(self.users, user_id)
        async with self.database.transaction() as db:
            await memberships.store_replies(db, replies, await self._known(user_id))
        return await self._known(user_id)

    async def _known(self, user_id: UUID) -> Sequence[TenantMembership]:
        async with self.database.transaction(role="fleet") as fleet:
            return await models.memberships_of_person(fleet, user_id)
