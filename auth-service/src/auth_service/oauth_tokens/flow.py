"""The grants of the token endpoint: each authenticated client gets what its proof is for."""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.authorization import service as authorization
from auth_service.authorization.models import AuthorizationCode
from auth_service.authorization.request import audience, is_allowed_resource
from auth_service.clients.models import Client
from auth_service.consents import service as consents
from auth_service.device_authorization import service as device_authorization
from auth_service.device_authorization.models import DeviceCode
from auth_service.dpop import service as dpop
from auth_service.memberships.models import Tenant
from auth_service.oauth_errors import OAuthError
from auth_service.oauth_tokens import exchange
from auth_service.oauth_tokens.access_tokens import AccessTokens
from auth_service.oauth_tokens.client_credentials import machine
from auth_service.oauth_tokens.exchange import TokenExchange
from auth_service.oauth_tokens.schemas import OAuthTokensOut
from auth_service.openid.id_tokens import id_token
from auth_service.sessions import service as sessions
from auth_service.sessions.ending import EXPIRED
from auth_service.sessions.flow import Refresh
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_request import RefreshRequest
from auth_service.sessions.refresh_tokens import decode
from auth_service.sessions.rotation import RefreshRefused
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from auth_service.sign_in.tenant_choice import TenantChoice
from auth_service.tenant_settings import is_too_old, lacks_second_factor
from shared.data.database import Database
from shared.identity.access_tokens import ACCESS_TTL_S, sign_access_token
from shared.identity.dpop import Proof
from shared.problems import Forbidden, NotFound

Form = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a person allowed a client, in one of their tenants, from the session `browser`.

    `spent` is the row that it is redeemed by. `device` names the new session in the person's list. The session ends
    with the one that it is `opened_by`, if any.
    """

    spent: AuthorizationCode | DeviceCode
    account: Account
    browser: Session
    tenant_id: UUID
    device: str
    opened_by: UUID | None = None
    nonce: str | None = None


@dataclass(frozen=True)
class Grants:
    database: Database
    tokens: TokenMaker
    access_tokens: AccessTokens
    tenants: TenantChoice
    refreshing: Refresh
    settings: AuthSettings
    address: str
    device: str | None
    tenant: Tenant | None
    """The client's own; None for a client of the fleet."""
    proof: Proof | None
    """Of the key that the tokens are bound to (RFC 9449); None: bearer tokens."""

    @property
    def dpop_jkt(self) -> str | None:
        return None if self.proof is None else self.proof.jkt

    async def exchange(self, client: Client, form: Form) -> OAuthTokensOut:
        """Tokens for what the form proves. Raises OAuthError, GrantReplayed, ServiceUnavailable."""
        grant_type = form.get("grant_type")
        grants = {
            "authorization_code": self._by_code,
            "refresh_token": self._by_refresh_token,
            "client_credentials": self._by_credentials,
            exchange.GRANT_TYPE: TokenExchange(
                self.database,
                self.access_tokens,
                self.refreshing.revocations,
                self.tokens.active_key,
                self.settings,
                self.dpop_jkt,
            ).exchange,
            device_authorization.GRANT: self._by_device_code,
        }
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing.")
        grant = grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", f"Supported are {', '.join(grants)}.")
        if grant_type not in client.grant_types:
            raise OAuthError("unauthorized_client", "The client is not registered for this grant.")
        if self.proof is not None or client.dpop_bound:
            async with self.database.transaction() as db:
                await dpop.use(db, client, self.proof)
        return await grant(client, form)

    async def _by_code(self, client: Client, form: Form) -> OAuthTokensOut:
        """RFC 6749, section 4.1.3; RFC 7636, section 4.5."""

        async def code_of(db: AsyncSession) -> Allowed:
            code = await authorization.spend_code(db, client, form, self.address)
            dpop.check_code(code.dpop_jkt, self.proof)
            account, browser = await _allowed_by(db, code.account_id, code.opened_by)
            if browser.ended_at is not None:
                raise _sign_in_ended()
            device = f"{client.name}: {browser.device}" if browser.device else client.name
            return Allowed(code, account, browser, code.tenant_id, device, opened_by=browser.id, nonce=code.nonce)

        return await self._open(client, form, code_of)

    async def _by_device_code(self, client: Client, form: Form) -> OAuthTokensOut:
        """RFC 8628, section 3.4. The session is the device's own: it outlives the browser's, where it was allowed."""

        async def device_of(db: AsyncSession) -> Allowed:
            device = await device_authorization.poll(db, client, form)
            account, browser = await _allowed_by(db, device.account_id, device.allowed_by)
            if browser.end_reason not in (None, "logout", EXPIRED):  # people sign out of a borrowed browser
                raise _sign_in_ended()
            if device.tenant_id is None:
                raise _sign_in_ended()
            return Allowed(device, account, browser, device.tenant_id, client.name)

        return await self._open(client, form, device_of)

    async def _open(
        self, client: Client, form: Form, allowed_by: Callable[[AsyncSession], Awaitable[Allowed]]
    ) -> OAuthTokensOut:
        """Open the session that a person allowed, in the transaction that makes its tokens. Raises OAuthError.

        `allowed_by` reads and locks what is spent: before users-service is asked, and again in that transaction,
        because another request may have spent it meanwhile. A refusal spends nothing and leaves no session.
        """
        async with self.database.transaction() as db:
            allowed = await allowed_by(db)
        try:
            member = await self.tenants.membership_for(allowed.account, str(allowed.tenant_id), accepting=False)
        except (Forbidden, NotFound) as problem:
            raise OAuthError("invalid_grant", problem.detail) from None
        async with self.database.transaction() as db:
            allowed = await allowed_by(db)
            await _check_consent(db, client, allowed)
            if lacks_second_factor(allowed.browser.amr, member.tenant, self.settings):
                raise OAuthError("invalid_grant", "The tenant requires a second factor.")
            if is_too_old(allowed.browser.auth_time, member.tenant, self.settings):
                raise OAuthError("invalid_grant", "The tenant requires a newer sign-in.")
            opened = await sessions.open_session(
                db,
                allowed.account.id,
                allowed.tenant_id,
                by=None,
                client_id=str(client.id),
                limited_to=allowed.spent.scopes,
                authentication=sessions.authentication_of(allowed.browser),
                provider=sessions.provider_of(allowed.browser),
                remembered="offline_access" in allowed.spent.scopes,
                device=allowed.device,
                address=self.address,
                opened_by=allowed.opened_by,
                audience=self._narrowed_audience(client, form, allowed.spent.audience),
                dpop_jkt=self.dpop_jkt,
            )
            if opened is None:
                raise OAuthError("invalid_grant", "The account is not active.")
            session, account = opened
            allowed.spent.session_id = session.id
            tokens = self.tokens.make(account, session, member)
            return self._answer(client, account, session, tokens, nonce=allowed.nonce)

    async def _by_refresh_token(self, client: Client, form: Form) -> OAuthTokensOut:
        """RFC 6749, section 6: the scope may only shrink."""
        token = decode(form.get("refresh_token", ""), self.tokens.keyring)
        if token is None:
            raise OAuthError("invalid_grant", "The refresh token was not issued here.")
        narrowed_to = frozenset(form["scope"].split()) if "scope" in form else None

        def check(session: Session) -> None:
            if narrowed_to is not None and not narrowed_to <= set(session.limited_to or ()):
                raise OAuthError("invalid_scope", "A refresh cannot add scopes.")
            if self._narrowed_audience(client, form, session.audience) != session.audience:
                raise OAuthError("invalid_target", "A refresh cannot change the tokens' resource.")
            dpop.check_refresh(session.dpop_jkt, client, self.proof)

        asked = RefreshRequest(
            token,
            client_id=str(client.id),
            proven_jkt=self.dpop_jkt,
            narrowed_to=narrowed_to,
            check=check,
            plain=narrowed_to is None and "resource" not in form,
        )
        try:
            refreshed = await self.refreshing.rotate(asked)
        except RefreshRefused as problem:
            raise OAuthError("invalid_grant", problem.detail) from None
        return self._answer(client, refreshed.account, refreshed.session, refreshed.tokens, nonce=None)

    async def _by_credentials(self, client: Client, form: Form) -> OAuthTokensOut:
        """RFC 6749, section 4.4: the client acts for itself."""
        now, issuer = int(time.time()), self.settings.public_url
        who = machine(client, self.tenant, form, issuer=issuer, expires_at=now + ACCESS_TTL_S, dpop_jkt=self.dpop_jkt)
        access_token = sign_access_token(
            who.to_claims(),
            self.tokens.active_key.key,
            issuer=issuer,
            audience=self._narrowed_audience(client, form, None) or issuer,
            now=now,
        )
        scope = " ".join(sorted(who.scopes))
        return OAuthTokensOut(access_token=access_token, token_type=self._token_type, scope=scope)

    def _answer(
        self, client: Client, account: Account, session: Session, tokens: Tokens, *, nonce: str | None
    ) -> OAuthTokensOut:
        scopes = frozenset(tokens.scope.split())
        shown = None
        if "openid" in scopes:
            shown = id_token(
                client,
                account,
                session,
                scopes,
                self.tokens.active_key,
                self.settings.public_url,
                access_token=tokens.access_token,
                nonce=nonce,
            )
        return OAuthTokensOut(
            access_token=tokens.access_token,
            token_type=self._token_type,
            scope=tokens.scope,
            refresh_token=tokens.refresh_token if "refresh_token" in client.grant_types else None,
            id_token=shown,
        )

    @property
    def _token_type(self) -> Literal["Bearer", "DPoP"]:
        return "Bearer" if self.proof is None else "DPoP"

    def _narrowed_audience(self, client: Client, form: Form, allowed: str | None) -> str | None:
        """The audience of the tokens: what was authorized, or the `resource` that the client names now (RFC 8707)."""
        resource = form.get("resource")
        if resource is None:
            return allowed
        named = audience(resource, self.settings.public_url)
        if not is_allowed_resource(client, resource, self.settings.public_url) or (
            allowed is not None and named != allowed
        ):
            raise OAuthError("invalid_target", "The tokens cannot be for this resource.")
        return named


async def _allowed_by(db: AsyncSession, account_id: UUID | None, session_id: UUID | None) -> tuple[Account, Session]:
    """The person who allowed the client, and the session of their browser. Raises OAuthError.

    That session cannot end before the transaction does, which makes one that ends with it.
    """
    account = await db.get(Account, account_id, with_for_update={"key_share": True}) if account_id else None
    browser = await db.get(Session, session_id, with_for_update={"read": True}) if session_id else None
    if account is None or browser is None:
        raise _sign_in_ended()
    return account, browser


async def _check_consent(db: AsyncSession, client: Client, allowed: Allowed) -> None:
    """Raises OAuthError if the person has withdrawn what they allowed before it was redeemed."""
    what = (allowed.account.id, client.id, allowed.tenant_id, allowed.spent.scopes)
    if not client.first_party and not await consents.is_given(db, *what):
        raise OAuthError("invalid_grant", "The person has withdrawn what they had allowed the client.")


def _sign_in_ended() -> OAuthError:
    return OAuthError("invalid_grant", "The sign-in that allowed the client has ended.")
