"""Finding and accepting an invitation for the person who is signed in to a browser."""

import re
from dataclasses import dataclass
from typing import Final

from auth_service.audit import service as audit
from auth_service.authorization.outcomes import Browser
from auth_service.invitations import users_api
from auth_service.invitations.service import InvitationNotFound
from auth_service.invitations.users_api import Offer
from auth_service.memberships import service as memberships
from auth_service.memberships.models import Tenant
from auth_service.sessions.service import SessionConfined
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.problems import ImpersonationRefused

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")


def is_token(text: str) -> bool:
    """Whether it may be the token of an invitation, by its characters."""
    return _TOKEN.fullmatch(text) is not None


@dataclass(frozen=True)
class Invitations:
    database: Database
    users: ServiceClient
    address: str

    async def find(self, token: str) -> tuple[Offer, Tenant | None]:
        """What is offered, and the tenant as it is known here; spends nothing.

        Raises InvitationNotFound, ServiceUnavailable.
        """
        if not is_token(token):
            raise InvitationNotFound
        offer = await users_api.find(self.users, token)
        async with self.database.transaction() as db:
            return offer, await db.get(Tenant, offer.tenant.id)

    async def accept(self, token: str, browser: Browser) -> None:
        """Make the signed-in person a member, whose verified address must be the invited one.

        Raises InvitationNotFound, AlreadyMember, SessionConfined, ImpersonationRefused, ServiceUnavailable.
        """
        if browser.session.confined:  # a tenant's own provider says who the person is
            raise SessionConfined
        if browser.session.impersonator_id is not None:
            raise ImpersonationRefused
        if not is_token(token) or browser.account.email is None:
            raise InvitationNotFound
        reply = await users_api.accept(self.users, token, browser.account.id, browser.account.email)
        async with self.database.transaction() as db:
            audit.record(
                db,
                "invitation_accepted",
                account_id=browser.account.id,
                session_id=browser.session.id,
                tenant_id=reply.tenant.id,
                address=self.address,
            )
            await memberships.store_reply(db, reply)
