"""Mailing a link to an address that was typed. The work is the same whether or not an account has the address."""

from collections.abc import Callable
from dataclasses import dataclass

from auth_service.accounts.models import Account, by_email
from auth_service.audit import kinds
from auth_service.audit import service as audit
from auth_service.links import service as links
from auth_service.links.service import Purpose
from auth_service.mails import branding, texts
from auth_service.mails.service import AddressUnmailable, Mails
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.email_addresses import canonical


@dataclass(frozen=True, slots=True)
class MailedLink:
    """A link that people ask for: `page` takes its token, `is_for` says which accounts have it.

    Any other address gets the mail `unknown`, which says so.
    """

    purpose: Purpose
    mail: texts.Purpose
    unknown: texts.Purpose
    page: str
    event: kinds.Kind
    is_for: Callable[[Account], bool]


@dataclass(frozen=True)
class LinkRequests:
    database: Database
    mails: Mails
    settings: AuthSettings
    address: str

    async def mail(self, kind: MailedLink, email: str, ttl_s: int, *, browser: bytes | None = None) -> None:
        """Mail a link of that kind, valid for `ttl_s` seconds, to the account that has verified the address.

        `browser`: the hash of the cookie that the link is bound to. Raises MailLimitReached, AddressUnmailable.
        """
        try:
            address = canonical(email)
        except ValueError:
            raise AddressUnmailable from None
        async with self.database.transaction() as db:
            await self.mails.check_limit(db, kind.mail, address)
            account = await by_email(db, address)
            mails = await branding.of_account(db, self.mails, account, self.settings)
            if account is None or not kind.is_for(account):
                await links.make(db, None, kind.purpose, address, ttl_s, browser=browser)
                mails.queue(db, kind.unknown, address)
            else:
                stored = account.email or ""  # never the text that was typed: other characters can have one lower case
                token = await links.make(db, account.id, kind.purpose, stored, ttl_s, browser=browser)
                link = self.settings.page(f"{kind.page}?token={token}")
                mails.queue(db, kind.mail, stored, username=account.username, link=link, minutes=ttl_s // 60)
            audit.record(db, kind.event, account_id=account.id if account else None, address=self.address)
