"""Signing in: the password is verified, a tenant is chosen, a session is opened.

Hashing and calls to users-service are between the transactions, so that no connection waits for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from auth_service.accounts import models as accounts
from auth_service.accounts.models import ACTIVE, Account, by_identifier
from auth_service.accounts.passwords import HashingBusy, Passwords
from auth_service.audit import service as audit
from auth_service.memberships import models, users_api
from auth_service.memberships import service as memberships
from auth_service.memberships.models import TenantMembership
from auth_service.scopes.service import ScopeInvalid, granted
from auth_service.sessions import service as sessions
from auth_service.sessions.tokens import CLIENT_ID, TokenMaker, Tokens, is_current
from auth_service.settings import AuthSettings, SignInSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.service import (
    EmailUnverified,
    SignInRefused,
    TenantClosed,
    TenantContradiction,
    TenantNotFound,
    choose,
    one_name,
)
from auth_service.sign_in.throttle import Counter
from shared.clients import ServiceClient
from shared.data.database import Database
from shared.identity import Principal, Revocations
from shared.problems import InvalidToken, NoTenant, ServiceUnavailable


async def verify_password(
    database: Database,
    passwords: Passwords,
    password: str,
    stored: str | None,
    counters: tuple[Counter, ...],
    limits: SignInSettings,
) -> str | None:
    """The form of `password` that has the hash `stored`; None, which is counted as a failure, if no form has.

    Without a hash (`stored` is None) it takes the same time and never matches.

    Every verification of a password comes through here. Raises HashingBusy, and SignInThrottled, also if the
    failures arrived while this password was being verified.
    """
    async with database.transaction() as db:
        await throttle.check(db, counters, limits)
    form = await passwords.matching_form(stored, password)
    async with database.transaction() as db:
        if form is not None:
            await throttle.check(db, counters, limits)
        else:
            await throttle.count_failure(db, counters, limits)
    return form


async def refuse(database: Database, account: Account | None, address: str) -> NoReturn:
    """Record that username or password were wrong. Always raises SignInRefused."""
    async with database.transaction() as db:
        audit.record(db, "sign_in_refused", account_id=account.id if account else None, address=address)
        raise SignInRefused


@dataclass(frozen=True)
class TenantChoice:
    """Chooses the tenant of a session, and asks users-service for memberships that the projection lacks."""

    database: Database
    users: ServiceClient
    revocations: Revocations
    public_url: str

    async def membership_for(self, account: Account, named: str | None, also: str | None = None) -> TenantMembership:
        """The membership that the session is for. Naming a tenant that invited the person accepts the invitation.

        `also` must name the same tenant. Raises NoTenant, TenantNotFound, TenantContradiction, TenantClosed;
        ServiceUnavailable if only users-service knows.
        """
        member = await self._known(account, named)
        if member is None:
            raise NoTenant if named is None else TenantNotFound
        if also is not None and not member.is_named(also):
            raise TenantContradiction
        if member.tenant.status == "active" and member.membership.status == "invited":
            member = await self._accept(account, member)
        if not member.active:
            raise TenantClosed
        return member

    async def _known(self, account: Account, named: str | None) -> TenantMembership | None:
        joined = await self._memberships(account)
        member = choose(joined, named, account.last_tenant_id)
        if member is not None and is_current(member, account, self.revocations, self.public_url):
            return member
        try:
            replies = await users_api.memberships_of(self.users, account.id)
        except ServiceUnavailable:
            if member is None:
                raise
            return member
        async with self.database.transaction() as db:
            await memberships.store_replies(db, replies, joined)
        return choose(await self._memberships(account), named, account.last_tenant_id)

    async def _accept(self, account: Account, member: TenantMembership) -> TenantMembership:
        reply = await users_api.accept(self.users, member.tenant.id, account.id)
        if reply is None:
            raise TenantNotFound
        async with self.database.transaction() as db:
            await memberships.store_reply(db, reply)
            joined = await models.find_membership(db, member.tenant.id, account.id)
        if joined is None:
            raise TenantNotFound
        return joined

    async def _memberships(self, account: Account) -> Sequence[TenantMembership]:
        async with self.database.transaction(role="fleet") as fleet:
            return await models.memberships_of_person(fleet, account.id)


@dataclass(frozen=True)
class Visitor:
    """Where a sign-in comes from, as the session list and the audit trail show it."""

    address: str
    device: str | None


@dataclass(frozen=True)
class SignIn:
    database: Database
    passwords: Passwords
    tenants: TenantChoice
    tokens: TokenMaker
    settings: AuthSettings
    visitor: Visitor

    async def with_password(
        self,
        identifier: str,
        password: str,
        in_body: str | None,
        in_request: str | None,
        *,
        limited_to: frozenset[str] | None = None,
    ) -> Tokens:
        """A new session of the person whose username or email and password these are.

        `in_body` and `in_request` may name its tenant; its scopes are among `limited_to`. Raises TenantContradiction,
        SignInRefused, SignInThrottled, HashingBusy, EmailUnverified, ScopeInvalid, and what choosing a tenant raises.
        """
        named_tenant = one_name(in_body, in_request)
        async with self.database.transaction() as db:
            account = await by_identifier(db, identifier)
        stored = account.password_hash if account is not None and account.status == ACTIVE else None
        counters = throttle.counters_of(
            identifier, account.id if account else None, self.visitor.address, self.settings
        )
        limits = self.settings.sign_in
        form = await verify_password(self.database, self.passwords, password, stored, counters, limits)
        if form is None or account is None:
            await refuse(self.database, account, self.visitor.address)
        await self._renew_hash(account, form)
        if account.email is None:
            raise EmailUnverified
        return await self._open(account, named_tenant, by=None, also=in_request, limited_to=limited_to)

    async def in_tenant(self, user: Principal, named_tenant: str) -> Tokens:
        """A new session of a signed-in person in another of their tenants. Raises InvalidToken."""
        async with self.database.transaction() as db:
            account = await accounts.find_account(db, user.user_id)
        if account is None:
            raise InvalidToken
        return await self._open(account, named_tenant, by=user)

    async def _open(
        self,
        account: Account,
        named_tenant: str | None,
        *,
        by: Principal | None,
        also: str | None = None,
        limited_to: frozenset[str] | None = None,
    ) -> Tokens:
        member = await self.tenants.membership_for(account, named_tenant, also)
        if limited_to is not None and not granted(member.membership.roles, limited_to):
            raise ScopeInvalid
        async with self.database.transaction(member.tenant.id) as db:
            opened = await sessions.open_session(
                db,
                account.id,
                member.tenant.id,
                by=by,
                client_id=CLIENT_ID,
                limited_to=limited_to,
                device=self.visitor.device,
                address=self.visitor.address,
            )
            if opened is None:  # no longer active
                raise SignInRefused
            return self.tokens.make(opened[1], opened[0], member)

    async def _renew_hash(self, account: Account, form: str) -> None:
        """Store a new hash if the stored one is outdated; `form` is the form of the password that matched it."""
        if not self.passwords.is_outdated(account.password_hash, form):
            return
        try:
            new_hash = await self.passwords.hash(form)
        except HashingBusy:  # not needed to sign in: the next sign-in tries again
            return
        async with self.database.transaction() as db:
            await accounts.set_password_hash(db, account.id, account.password_hash, new_hash)
