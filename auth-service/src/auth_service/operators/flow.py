"""Making operators. users-service has their role; the person confirms it by a link that was mailed to them."""

from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.accounts.models import Account, by_identifier, find_account, lock_account
from auth_service.audit import service as audit
from auth_service.authorization.outcomes import Browser
from auth_service.links import service as links
from auth_service.mails.service import AddressUnmailable, Mails
from auth_service.memberships import service as memberships
from auth_service.memberships import users_api
from auth_service.memberships.models import Tenant
from auth_service.memberships.users_api import MembershipReply
from auth_service.operators import service
from auth_service.sessions import ending
from auth_service.sessions.models import Session
from auth_service.sessions.service import SessionConfined
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.email_addresses import canonical
from shared.problems import NoTenant


@dataclass(frozen=True, slots=True)
class Operator:
    """A person with the role, in one of their tenants; `account` is None where this service has none of that id."""

    account: Account | None
    membership: MembershipReply


@dataclass(frozen=True)
class Operators:
    database: Database
    users: ServiceClient
    settings: AuthSettings
    address: str

    async def invite(self, email: str, mails: Mails) -> None:
        """Mail a link to the address, whether or not it has an account. Raises MailLimitReached, AddressUnmailable."""
        try:
            address = canonical(email)
        except ValueError:
            raise AddressUnmailable from None
        ttl_s = self.settings.links.operator_ttl_s
        async with self.database.transaction() as db:
            await mails.check_limit(db, "operator_link", address)
            account = await by_identifier(db, address)
            account_id = account.id if account else None
            token = await links.make(db, account_id, "operator", address, ttl_s)
            audit.record(db, "operator_link_mailed", account_id=account_id, address=self.address)
            link = f"{self.settings.public_url}/oauth2/operator?token={token}"
            mails.queue(db, "operator_link", address, link=link, hours=ttl_s // 3600)

    async def look_up(self, token: str, browser: Browser) -> Tenant:
        """The tenant in which the signed-in person would become an operator; spends nothing.

        Raises LinkInvalid, OtherAccount, SessionConfined, NoTenant.
        """
        if browser.session.confined:  # a tenant's own provider says who the person is
            raise SessionConfined
        async with self.database.transaction() as db:
            service.check(browser.account, await links.find(db, token, "operator"))
            tenant = await db.get(Tenant, browser.session.tenant_id)
        if tenant is None:
            raise NoTenant
        return tenant

    async def accept(self, token: str, browser: Browser) -> None:
        """Make the signed-in person an operator, and spend the link; if users-service is unavailable it stays valid.

        The link is held while users-service is asked: `remove` waits for the answer, and then revokes the role. Raises
        as `look_up`, and ServiceUnavailable.
        """
        await self.look_up(token, browser)
        async with self.database.transaction() as db:
            link = await links.hold(db, token, "operator")
            service.check(await find_account(db, browser.account.id), link)
            await self._record_use(browser)
            reply = await users_api.make_operator(self.users, browser.account.id, browser.session.tenant_id)
            if reply is None:
                raise NoTenant
            await db.delete(link)
        async with self.database.transaction() as db:
            await memberships.store_reply(db, reply)

    async def remove(self, identifier: str) -> bool:
        """Revoke the role of the person with that email or username, and their links; False if there is no account.

        Raises ServiceUnavailable.
        """
        async with self.database.transaction() as db:
            account = await by_identifier(db, identifier)
            if account is not None:
                await lock_account(db, account.id)
            await links.forget_address(db, (account.email or "") if account else identifier, "operator")
            if account is None:
                return False
            await links.forget(db, account.id, "operator")
            audit.record(db, "operator_removed", account_id=account.id, address=self.address)
        await users_api.remove_operator(self.users, account.id)
        async with self.database.transaction() as db:  # at once: the event about the membership may take its time
            own = Session.impersonator_id == account.id
            await ending.end_impersonations(db, "impersonation_ended", self.address, own)
        return True

    async def listed(self) -> Sequence[Operator]:
        """Every operator, the oldest membership first. Raises ServiceUnavailable."""
        found = await users_api.operators(self.users)
        async with self.database.transaction() as db:
            return [Operator(await find_account(db, one.user_id), one) for one in found]

    async def _record_use(self, browser: Browser) -> None:
        """In a transaction of its own: no role is granted without a record."""
        async with self.database.transaction() as db:
            audit.record(
                db,
                "operator_link_used",
                account_id=browser.account.id,
                session_id=browser.session.id,
                tenant_id=browser.session.tenant_id,
                address=self.address,
            )
