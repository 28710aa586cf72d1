"""Signing in by a mailed link: asking for one, and using it."""

from dataclasses import dataclass
from typing import Final

from auth_service.accounts.models import ACTIVE, find_account, is_active
from auth_service.keyring import Keyring
from auth_service.links.flow import LinkRequests, MailedLink
from auth_service.links.service import LinkInvalid
from auth_service.magic_links import service
from auth_service.magic_links.service import browser_digest
from auth_service.mails.service import Mails
from auth_service.sessions.tokens import Tokens
from auth_service.settings import AuthSettings
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.flow import SignIn
from auth_service.sign_in.service import one_name
from shared.data.database import Database
from shared.identity.authentication import MAIL, Authentication

_SIGN_IN: Final = MailedLink(
    "sign_in",
    mail="sign_in_link",
    unknown="sign_in_link_unknown",
    page="magic-link/confirm",
    event="sign_in_link_requested",
    is_for=is_active,
)


@dataclass(frozen=True)
class MagicLinks:
    database: Database
    keyring: Keyring
    mails: Mails
    sign_in: SignIn
    settings: AuthSettings
    address: str

    async def request(self, email: str, browser: str) -> None:
        """Mail a link to the account that has verified the address; without one, a mail that says so.

        `browser` is the cookie that the link is bound to. Raises MailLimitReached, AddressUnmailable.
        """
        requests = LinkRequests(self.database, self.mails, self.settings, self.address)
        await requests.mail(_SIGN_IN, email, self.settings.links.sign_in_ttl_s, browser=browser_digest(browser))

    async def look_up(self, token: str, browser: str | None) -> None:
        """Spends nothing. Raises LinkInvalid; OtherBrowser, which has the code to type."""
        async with self.database.transaction() as db:
            await service.find(db, token, browser, self.keyring)

    async def confirm(self, *, token: str | None, code: str | None, browser: str | None, choices: Choices) -> Tokens:
        """A new session of the account that the link was mailed to. The link is spent, whatever its tenant answers.

        Raises LinkInvalid, OtherBrowser, CodeWrong, and what completing a sign-in raises.
        """
        one_name(choices.tenant, choices.tenant_beside)
        async with self.database.transaction() as db:
            if token is not None:
                link = await service.spend(db, token, browser, self.keyring)
            else:
                link = await service.spend_by_code(db, code or "", browser, self.keyring)
            account = await find_account(db, link.account_id) if link.account_id else None
        if account is None or account.status != ACTIVE or account.email != link.email:
            raise LinkInvalid
        return await self.sign_in.complete(account, Authentication(frozenset({MAIL})), choices)
