"""What happens to an authorization request: the person signs in, consents, and goes back to the client with a code."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from auth_service.accounts.models import ACTIVE, Account
from auth_service.authorization import service
from auth_service.authorization.outcomes import (
    Browser,
    ConsentNeeded,
    Outcome,
    ReturnOffered,
    SendTo,
    SignInHints,
    SignInNeeded,
)
from auth_service.authorization.request import AuthorizationRefused, AuthorizationRequest, response_url
from auth_service.clients.models import Client
from auth_service.clients.redirect_uris import is_claimed
from auth_service.consents import service as consents
from auth_service.memberships.models import Tenant, TenantMembership, memberships_of_person, tenant_named
from auth_service.mfa.service import methods_for
from auth_service.scopes.service import granted
from auth_service.sessions.models import CLIENT_ID, Session, open_conditions
from auth_service.settings import AuthSettings
from auth_service.sign_in.tenant_choice import TenantChoice
from auth_service.tenant_settings import is_too_old, lacks_second_factor
from shared.data.database import Database
from shared.identity.authentication import AAL2, MFA
from shared.problems import Forbidden, NotFound

ENDPOINT = "/oauth2/authorize"


@dataclass(frozen=True)
class Authorization:
    database: Database
    tenants: TenantChoice
    settings: AuthSettings
    address: str

    async def decide(self, query: str, session_id: UUID | None) -> Outcome:
        """The next step of the request. Raises RequestUnusable, ServiceUnavailable."""
        try:
            return await self._decide(query, session_id)
        except AuthorizationRefused as refused:
            return await self._refused(refused, query, session_id)

    async def answer(self, query: str, session_id: UUID, *, allowed: bool) -> Outcome:
        """The next step after the person allowed or refused the request. Raises RequestUnusable, ServiceUnavailable."""
        try:
            request, browser = await self._read(query, session_id)
            if not allowed:
                raise request.refusal("access_denied", "The person refused.")
            if browser is None:
                return SignInNeeded(query)
            _check_may_consent(request, browser)
            member, scopes = await self._grant(request, browser)
            if await self._must_sign_in_for(request, browser, member):
                return SignInNeeded(query)
            async with self.database.transaction() as db:
                await consents.give(db, browser.account.id, request.client, member.tenant.id, scopes, self.address)
                return await self._send_back(db, request, query, browser, member, scopes)
        except AuthorizationRefused as refused:
            return SendTo(refused.url(self.settings.public_url))

    async def hints(self, query: str) -> SignInHints:
        """What the sign-in page takes from the request. Raises RequestUnusable."""
        try:
            request, _ = await self._read(query, None)
        except AuthorizationRefused as refused:
            return SignInHints(refused.to.redirect_uri)
        bound = request.client.tenant_id
        tenant = await self.tenant(str(bound) if bound is not None else request.tenant)
        return SignInHints(request.redirect_uri, request.login_hint, request.ui_locales, tenant)

    async def tenant(self, name: str | None) -> Tenant | None:
        """The tenant that is known here by this slug or id; None if there is none."""
        async with self.database.transaction() as db:
            return await tenant_named(db, name) if name else None

    async def _refused(self, refused: AuthorizationRefused, query: str, session_id: UUID | None) -> Outcome:
        """How the refusal reaches the client (RFC 9700, section 4.11.2).

        No browser is sent there before its person is signed in, and none automatically to the client of a tenant that
        the person is not a member of: anyone may sign up a tenant and register a phishing page there.
        """
        to, url = refused.to, refused.url(self.settings.public_url)
        if to.silent:
            return SendTo(url)
        async with self.database.transaction() as db:
            browser = await find_browser(db, session_id, self.settings)
        if browser is None:
            return SignInNeeded(query)
        return SendTo(url) if await self._trusts(browser, to.client) else ReturnOffered(to.client, to.redirect_uri, url)

    async def _trusts(self, browser: Browser, client: Client) -> bool:
        """Whether the client is an operator's, or of a tenant that the person is a member of."""
        if client.tenant_id is None:
            return True
        async with self.database.transaction(role="fleet") as fleet:
            joined = await memberships_of_person(fleet, browser.account.id)
        return any(member.active and member.tenant.id == client.tenant_id for member in joined)

    async def _decide(self, query: str, session_id: UUID | None) -> Outcome:
        request, browser = await self._read(query, session_id)
        if browser is None or await self._must_sign_in_again(request, query, browser):
            if "none" in request.prompts:
                raise request.refusal("login_required", "The person is not signed in, or not recently enough.")
            return SignInNeeded(query)
        member, scopes = await self._grant(request, browser)
        if await self._must_sign_in_for(request, browser, member):
            if "none" in request.prompts:
                raise request.refusal("login_required", "The tenant requires a second factor, or a newer sign-in.")
            return SignInNeeded(query)
        async with self.database.transaction() as db:
            if await self._is_allowed(db, request, browser, member, scopes):
                return await self._send_back(db, request, query, browser, member, scopes)
        _check_may_consent(request, browser)
        if "none" in request.prompts:
            raise request.refusal("consent_required", "The person has not allowed this yet.")
        return ConsentNeeded(request, browser, member, scopes)

    async def _read(self, query: str, session_id: UUID | None) -> tuple[AuthorizationRequest, Browser | None]:
        async with self.database.transaction() as db:
            request = await service.read(db, query, self.settings.public_url)
            return request, await find_browser(db, session_id, self.settings)

    async def _must_sign_in_again(self, request: AuthorizationRequest, query: str, browser: Browser) -> bool:
        """Whether the request needs another sign-in (OpenID Connect Core 1.0, section 3.1.2.1)."""
        signed_in_at = browser.session.auth_time
        if request.prompts & {"login", "select_account"}:
            async with self.database.transaction() as db:
                pushed_at = await service.pushed_at(db, query)
            return pushed_at is None or signed_in_at < pushed_at
        if request.max_age_s is not None and (datetime.now(UTC) - signed_in_at).total_seconds() > request.max_age_s:
            return True
        return await self._must_step_up(request, browser)

    async def _must_step_up(self, request: AuthorizationRequest, browser: Browser) -> bool:
        """Whether the client prefers a second factor (`acr_values`) that the person has and the sign-in had not.

        A person without one goes on: `acr` is a voluntary claim, and tokens report the level that was reached.
        """
        if request.acr_values[:1] != (AAL2,) or MFA in browser.session.amr:
            return False
        async with self.database.transaction() as db:
            return bool(await methods_for(db, browser.account.id))

    async def _grant(self, request: AuthorizationRequest, browser: Browser) -> tuple[TenantMembership, frozenset[str]]:
        """The tenant that the tokens will be for, and requested ∩ client ∩ roles there. Raises AuthorizationRefused."""
        bound = request.client.tenant_id
        named = str(bound) if bound is not None else request.tenant or str(browser.session.tenant_id)
        try:
            member = await self.tenants.membership_for(browser.account, named, accepting=False)
        except (Forbidden, NotFound) as problem:
            raise request.refusal("access_denied", problem.detail) from None
        if browser.session.confined and member.tenant.id != browser.session.tenant_id:
            raise request.refusal("access_denied", "The sign-in is confined to another tenant.")
        scopes = granted(member.membership.roles, request.scopes, to_client=True)
        if not scopes:
            raise request.refusal("invalid_scope", "The person's roles grant none of the scopes.")
        return member, scopes

    async def _must_sign_in_for(
        self, request: AuthorizationRequest, browser: Browser, member: TenantMembership
    ) -> bool:
        """Whether the person signs in again, because the tenant requires a newer sign-in or the factor that they have.

        Raises AuthorizationRefused for a person without one: a sign-in would change nothing.
        """
        if is_too_old(browser.session.auth_time, member.tenant, self.settings):
            return True
        if not lacks_second_factor(browser.session.amr, member.tenant, self.settings):
            return False
        async with self.database.transaction() as db:
            if not await methods_for(db, browser.account.id):
                raise request.refusal("access_denied", "The tenant requires a second factor, and the person has none.")
        return True

    async def _is_allowed(
        self,
        db: AsyncSession,
        request: AuthorizationRequest,
        browser: Browser,
        member: TenantMembership,
        scopes: frozenset[str],
    ) -> bool:
        """Whether no consent page is needed.

        A first-party client needs none, nor does what was allowed before, but only where no other program can receive
        the answer in the client's place: a public client at a loopback address or a private scheme asks each time (RFC
        8252, section 8.6).
        """
        if not (request.client.confidential or is_claimed(request.redirect_uri)):
            return False
        if request.client.first_party:
            return True
        if "consent" in request.prompts:
            return False
        return await consents.is_given(db, browser.account.id, request.client.id, member.tenant.id, scopes)

    async def _send_back(
        self,
        db: AsyncSession,
        request: AuthorizationRequest,
        query: str,
        browser: Browser,
        member: TenantMembership,
        scopes: frozenset[str],
    ) -> SendTo:
        code = await service.issue_code(db, request, query, browser.session, member.tenant.id, scopes)
        return SendTo(response_url(request.redirect_uri, self.settings.public_url, request.state, code=code))


def _check_may_consent(request: AuthorizationRequest, browser: Browser) -> None:
    """Raises AuthorizationRefused where a tenant's own identity provider would consent for the person."""
    if browser.session.confined:
        raise request.refusal("access_denied", "Allow the client in a sign-in to the account itself first.")


async def find_browser(db: AsyncSession, session_id: UUID | None, settings: AuthSettings) -> Browser | None:
    """The person of a browser's session; None if it ended or expired, or the account is no longer active."""
    if session_id is None:
        return None
    tenant = aliased(Tenant)  # the lifetimes are read from the table by a subquery of their own
    rows = await db.execute(
        select(Session, Account, tenant)
        .join(Account, Account.id == Session.account_id)
        .outerjoin(tenant, tenant.id == Session.tenant_id)
        .where(
            Session.id == session_id,
            Session.client_id == CLIENT_ID,
            Account.status == ACTIVE,
            *open_conditions(settings.sessions),
        )
    )
    row = rows.one_or_none()
    return None if row is None else Browser(row[0], row[1], row[2])
