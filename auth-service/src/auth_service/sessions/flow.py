"""Refreshing a session, with the roles that the person has in its tenant now."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from auth_service.accounts.models import Account
from auth_service.memberships import models, users_api
from auth_service.memberships import service as memberships
from auth_service.memberships.models import TenantMembership, is_slug
from auth_service.memberships.users_api import MembershipReply
from auth_service.sessions import rotation, service
from auth_service.sessions.models import Session
from auth_service.sessions.refresh_tokens import RefreshToken
from auth_service.sessions.rotation import MembershipEnded
from auth_service.sessions.tokens import TokenMaker, Tokens, is_current
from auth_service.settings import AuthSettings
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Revocations
from shared.problems import ServiceUnavailable, TenantMismatch

_SLUG: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]")


@dataclass(frozen=True)
class Refresh:
    """Refreshes a session; no transaction is open while users-service is asked."""

    database: Database
    users: ServiceClient
    revocations: Revocations
    tokens: TokenMaker
    settings: AuthSettings
    address: str

    async def rotate(self, token: RefreshToken, named_tenant: str | None) -> Tokens:
        """The session's next tokens; a retry gets the same refresh token again, with a new access token.

        Raises RefreshRefused, RefreshTokenReused, MembershipEnded; TenantMismatch if the request names another tenant
        than the session's; ServiceUnavailable if only users-service knows whether the person is a member.
        """
        async with self.database.transaction() as db:
            session, account = await rotation.find(db, token.family)
        async with self.database.transaction(session.tenant_id) as db:
            member = await models.find_membership(db, session.tenant_id, account.id)
        asked, reply = await self._ask(account, session, member)
        async with self.database.transaction(session.tenant_id) as db:
            if reply is not None:
                await memberships.store_reply(db, reply)
            elif asked and member is not None:
                await memberships.store_end(db, member)
            member = await models.find_membership(db, session.tenant_id, account.id)
            if member is None or member.not_joined:
                await service.end_in_tenant(db, account.id, session.tenant_id)
            if member is None or not member.active:
                raise MembershipEnded
            if named_tenant is not None and not member.is_named(named_tenant):
                raise TenantMismatch
            session = await rotation.rotate(db, token, self.settings.sessions, self.address)
            return self.tokens.make(account, session, member)

    async def _ask(
        self, account: Account, session: Session, member: TenantMembership | None
    ) -> tuple[bool, MembershipReply | None]:
        """Whether users-service was asked, and its answer; it is not asked about a fresh, uncontradicted membership."""
        if is_current(member, account, self.revocations, self.settings.public_url):
            return False, None
        try:
            return True, await users_api.membership(self.users, session.tenant_id, account.id)
        except ServiceUnavailable:
            if member is None:
                raise
            return False, None


async def is_allowed_origin(origin: str | None, settings: AuthSettings, database: Database) -> bool:
    """Whether a page of this origin may refresh by cookie: PUBLIC_URL's, a tenant's subdomain of it, CORS__ORIGINS."""
    if origin is None:
        return False
    public = urlsplit(settings.public_url)
    if origin in {f"{public.scheme}://{public.netloc}", *(named.rstrip("/") for named in settings.cors.origins)}:
        return True
    scheme, _, host = origin.partition("://")
    slug, _, parent = host.partition(".")
    if (scheme, parent) != (public.scheme, public.netloc) or _SLUG.fullmatch(slug) is None:
        return False
    async with database.transaction() as db:
        return await is_slug(db, slug)
