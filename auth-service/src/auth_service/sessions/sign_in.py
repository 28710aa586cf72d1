"""Signing in: a password is checked, a tenant chosen, a session opened.

It owns its transactions, because hashing and calls to users-service lie between them and no connection waits for those.
"""

from dataclasses import dataclass
from typing import NoReturn

from auth_service.accounts import service as accounts
from auth_service.accounts import throttle
from auth_service.accounts.models import ACTIVE, Account, by_identifier
from auth_service.accounts.passwords import HashingBusy, Passwords
from auth_service.accounts.proof import is_shown
from auth_service.audit import service as audit
from auth_service.sessions import models, service
from auth_service.sessions.service import SignInRefused
from auth_service.sessions.tenant_choice import TenantChoice
from auth_service.sessions.tokens import CLIENT_ID, TokenMaker, Tokens
from auth_service.settings import AuthSettings
from shared.data.database import Database
from shared.identity import Principal
from shared.problems import InvalidToken


@dataclass(frozen=True)
class Visitor:
    """Where a sign-in comes from, as sessions and the trail show it."""

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

    async def with_password(self, identifier: str, password: str, named_tenant: str | None) -> Tokens:
        """A new session of the person whose username or email and password these are.

        Raises SignInRefused, SignInThrottled, HashingBusy, and what choosing a tenant raises.
        """
        async with self.database.transaction() as db:
            account = await by_identifier(db, identifier)
        stored = account.password_hash if account is not None and account.status == ACTIVE else None
        counts = throttle.counted(identifier, account.id if account else None, self.visitor.address, self.settings)
        limits = self.settings.sign_in
        if not await is_shown(self.database, self.passwords, password, stored, counts, limits) or account is None:
            await self._refuse(account)
        await self._renew_hash(account, password)
        return await self._open(account, named_tenant, by=None)

    async def in_tenant(self, user: Principal, named_tenant: str) -> Tokens:
        """A new session of a signed-in person in another of their tenants. Raises InvalidToken."""
        async with self.database.transaction() as db:
            account = await models.find_account(db, user.user_id)
        if account is None:
            raise InvalidToken
        return await self._open(account, named_tenant, by=user)

    async def _open(self, account: Account, named_tenant: str | None, *, by: Principal | None) -> Tokens:
        place = await self.tenants.of(account, named_tenant)
        async with self.database.transaction(place.tenant.id) as db:
            session, account = await service.open_session(
                db,
                account.id,
                place.tenant.id,
                by=by,
                client_id=CLIENT_ID,
                device=self.visitor.device,
                address=self.visitor.address,
            )
            return self.tokens.make(account, session, place)

    async def _refuse(self, account: Account | None) -> NoReturn:
        async with self.database.transaction() as db:
            audit.record(
                db, "sign_in_refused", account_id=account.id if account else None, address=self.visitor.address
            )
            raise SignInRefused

    async def _renew_hash(self, account: Account, password: str) -> None:
        if not self.passwords.is_outdated(account.password_hash):
            return
        try:
            new_hash = await self.passwords.hash(password)
        except HashingBusy:  # it is no part of signing in: the next one does it
            return
        async with self.database.transaction() as db:
            await accounts.set_password_hash(db, account.id, account.password_hash, new_hash)
