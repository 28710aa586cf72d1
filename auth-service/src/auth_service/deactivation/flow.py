"""Deactivating one's account, and reactivating it by a mailed link."""

from dataclasses import dataclass
from typing import Final

from auth_service.deactivation import service
from auth_service.deactivation.service import OWNER, Actor
from auth_service.links import service as links
from auth_service.links.flow import LinkRequests, MailedLink
from auth_service.links.service import LinkInvalid
from auth_service.mails.service import Mails
from auth_service.mfa.service import require_step_up
from auth_service.sessions.service import SESSION_ENDED
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.identity import Principal
from shared.problems import InvalidToken

_REACTIVATE: Final = MailedLink(
    "reactivate",
    mail="reactivate",
    unknown="reactivate_unknown",
    page="reactivate/confirm",
    event="reactivation_requested",
    is_for=service.is_reactivable,
)


@dataclass(frozen=True)
class Deactivation:
    """The transactions have no tenant: an account is its person's."""

    database: Database
    mails: Mails
    settings: AuthSettings
    address: str

    async def deactivate(self, user: Principal) -> None:
        """Deactivate the account of a person who has confirmed recently that it is them.

        Raises InsufficientUserAuthentication, InvalidToken.
        """
        async with self.database.transaction() as db:
            await require_step_up(db, user)
            actor = Actor(OWNER, session_id=user.session_id, address=self.address)
            if not await service.deactivate(db, user.user_id, actor, self.mails, self.settings):
                raise InvalidToken(SESSION_ENDED)  # of two requests at once, one does it

    async def request(self, email: str) -> None:
        """Mail a link to the account that its owner has deactivated; without one, a mail that says so.

        Raises MailLimitReached, AddressUnmailable.
        """
        requests = LinkRequests(self.database, self.mails, self.settings, self.address)
        await requests.mail(_REACTIVATE, email, self.settings.links.reactivate_ttl_s)

    async def reactivate(self, token: str) -> None:
        """Reactivate the account that the link was mailed to. Raises LinkInvalid."""
        async with self.database.transaction() as db:
            link, account = await links.spend_with_account(db, token, "reactivate")
            if account is None or account.email != link.email:
                raise LinkInvalid
            if not await service.reactivate(db, account.id, Actor(OWNER, address=self.address), self.mails):
                raise LinkInvalid
            await links.forget(db, account.id, "reactivate")
