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
from auth_service.sessions import ending, rotation
from auth_service.sessions.models import Session
from auth_service.sessions.quick_rotation import QuickRotation, Rotated
from auth_service.sessions.refresh_request import RefreshRequest
from auth_service.sessions.rotation import MembershipEnded, SecondFactorMissing
from auth_service.sessions.tokens import TokenMaker, Tokens, is_current
from auth_service.settings import AuthSettings
from auth_service.tenant_settings import lacks_second_factor
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Revocations
from shared.problems import ServiceUnavailable, TenantMismatch

_SLUG: Final = re.compile(r"[a-z][a-z0-9-]{1,38}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Refreshed:
    """A session's new tokens, with whose and which it is."""

    tokens: Tokens
    account: Account
    session: Session


@dataclass(frozen=True)
class Refresh:
    """Refreshes a session: by one statement if nothing is unusual, else step by step.

    No transaction is open while users-service is asked.
    """

    database: Database
    users: ServiceClient
    revocations: Revocations
    tokens: TokenMaker
    settings: AuthSettings
    quick: QuickRotation
    address: str

    async def rotate(self, asked: RefreshRequest) -> Refreshed:
        """The session's next tokens; a retry gets the same refresh token again, with a new access token.

        Raises RefreshRefused, RefreshTokenReused, MembershipEnded, SecondFactorMissing, and what the request's own
        check raises; TenantMismatch if the request names another tenant than the session's; ServiceUnavailable if only
        users-service knows whether the person is a member.
        """
        moved = await self._rotate_plainly(asked) if asked.plain else None
        if moved is not None and is_current(moved.member, moved.account, self.revocations, self.settings.public_url):
            return self._tokens(moved.account, moved.session, moved.member, asked)
        return await self._rotate(asked, None if moved is None else moved.session)

    async def _rotate_plainly(self, asked: RefreshRequest) -> Rotated | None:
        values = self.quick.values(asked, mfa_required=self.settings.mfa.required)
        row = await self.database.first(self.quick.statement, **values)
        return None if row is None else Rotated.read(row)

    async def _rotate(self, asked: RefreshRequest, moved: Session | None) -> Refreshed:
        """The same, step by step; `moved` is the session where it is at its next generation already."""
        async with self.database.transaction() as db:
            session, account = await rotation.find(db, asked)
        async with self.database.transaction(session.tenant_id) as db:
            member = await models.find_membership(db, session.tenant_id, account.id)
        was_asked, reply = await self._ask(account, session, member)
        async with self.database.transaction(session.tenant_id) as db:
            if reply is not None:
                await memberships.store_reply(db, reply)
            elif was_asked and member is not None:
                await memberships.store_end(db, member)
            member = await models.find_membership(db, session.tenant_id, account.id)
            if member is None or member.not_joined:
                await ending.end_in_tenant(db, account.id, session.tenant_id)
            if member is None or not member.active:
                raise MembershipEnded
            if lacks_second_factor(session.amr, member.tenant, self.settings):
                raise SecondFactorMissing
            if asked.named_tenant is not None and not member.is_named(asked.named_tenant):
                raise TenantMismatch
            if moved is None:
                session = await rotation.rotate(db, asked.token, self.settings.sessions, self.address)
            else:
                await rotation.check_open(db, session := moved, self.settings.sessions)
            return self._tokens(account, session, member, asked)

    def _tokens(self, account: Account, session: Session, member: TenantMembership, asked: RefreshRequest) -> Refreshed:
        narrowed_to, proven_jkt = asked.narrowed_to, asked.proven_jkt
        tokens = self.tokens.make(account, session, member, narrowed_to=narrowed_to, proven_jkt=proven_jkt)
        return Refreshed(tokens, account, session)

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
