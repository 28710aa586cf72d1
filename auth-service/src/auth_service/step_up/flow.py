"""Confirming that it is the signed-in person: by a second factor if they have one, else by the password."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from auth_service.accounts.models import Account, find_account
from auth_service.accounts.passwords import Passwords
from auth_service.audit import service as audit
from auth_service.memberships.models import find_membership
from auth_service.mfa import passkeys
from auth_service.mfa.service import Factors, Proof
from auth_service.sessions import service as sessions
from auth_service.sessions.rotation import MembershipEnded, SecondFactorMissing
from auth_service.sessions.service import SESSION_ENDED
from auth_service.sessions.tokens import TokenMaker, Tokens
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.password_check import verify_password
from auth_service.sign_in.second_factor import SecondFactor
from auth_service.step_up.service import ConfirmationRefused, FactorNeeded
from auth_service.tenant_settings import lacks_second_factor
from shared.data.database import Database
from shared.identity import Principal
from shared.identity.authentication import MFA, PWD
from shared.problems import InvalidToken


@dataclass(frozen=True)
class StepUp:
    passwords: Passwords
    second_factor: SecondFactor
    tokens: TokenMaker

    async def by_password(self, user: Principal, password: str) -> Tokens:
        """Tokens that report the confirmation. Raises FactorNeeded, ConfirmationRefused, SignInThrottled, HashingBusy.

        A password does not stand for the second factor of a session that was opened with one.
        """
        async with self._database.transaction() as db:
            account = await self._account(user, Factors(db, self.second_factor.keyring, self._settings), factor=False)
        counters = throttle.counters_of(account.username, account.id, self.second_factor.address, self._settings)
        form = await verify_password(
            self._database, self.passwords, password, account.password_hash, counters, self._settings.sign_in
        )
        if form is None:
            raise ConfirmationRefused
        return await self._confirm(user, frozenset({PWD}))

    async def by_factor(self, user: Principal, proof: Proof) -> Tokens:
        """Tokens that report the confirmation. Raises SecondFactorRefused, SignInThrottled."""
        async with self._database.transaction() as db:
            factors = Factors(db, self.second_factor.keyring, self._settings)
            account = await self._account(user, factors, factor=True)
            methods = await self.second_factor.prove(factors, account, proof, "step_up")
        return await self._confirm(user, methods | {MFA})

    async def passkey_options(self, user: Principal) -> dict[str, Any]:
        """What a page gives to `navigator.credentials.get`."""
        async with self._database.transaction() as db:
            relying_party = Factors(db, self.second_factor.keyring, self._settings).relying_party
            return await passkeys.sign_in_options(db, relying_party, "step_up", user.user_id)

    async def _account(self, user: Principal, factors: Factors, *, factor: bool) -> Account:
        account = await find_account(factors.db, user.user_id)
        if account is None:
            raise InvalidToken
        if not factor and await factors.methods(account.id):
            raise FactorNeeded
        return account

    async def _confirm(self, user: Principal, methods: frozenset[str]) -> Tokens:
        session_id, tenant_id = self._session_of(user)
        async with self._database.transaction(tenant_id) as db:
            session = await sessions.prove(db, session_id, methods)
            account = await find_account(db, user.user_id)
            if session is None or account is None:
                raise InvalidToken(SESSION_ENDED)
            member = await find_membership(db, tenant_id, user.user_id)
            if member is None or not member.active:
                raise MembershipEnded
            if lacks_second_factor(session.amr, member.tenant, self._settings):
                raise SecondFactorMissing
            audit.record(
                db,
                "stepped_up",
                account_id=account.id,
                session_id=session.id,
                tenant_id=tenant_id,
                address=self.second_factor.address,
                methods=sorted(methods),
            )
            return self.tokens.make(account, session, member)

    @staticmethod
    def _session_of(user: Principal) -> tuple[UUID, UUID]:
        if user.session_id is None or user.tenant_id is None:
            raise InvalidToken
        return user.session_id, user.tenant_id

    @property
    def _database(self) -> Database:
        return self.second_factor.database

    @property
    def _settings(self) -> AuthSettings:
        return self.second_factor.settings
