"""Adding and removing second factors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account, lock_account
from auth_service.audit import service as audit
from auth_service.mails.notices import notify
from auth_service.mails.service import Mails
from auth_service.mfa import passkeys, recovery_codes, totp
from auth_service.mfa.models import Passkey, TotpFactor
from auth_service.mfa.passkeys import Credential
from auth_service.mfa.service import (
    FactorNotFound,
    FactorRefused,
    Factors,
    Method,
    NoFactor,
    PasskeyKnown,
    methods_of,
    require_step_up,
)
from auth_service.sessions import service as sessions
from shared.data.errors import violates
from shared.identity import Principal
from shared.identity.authentication import MFA, OTP
from shared.problems import InvalidToken

Change = Literal["factor_added", "factor_removed", "recovery_codes_made"]


@dataclass(frozen=True)
class FactorChanges:
    """Adding and removing the factors of a signed-in person, who is notified of each change."""

    factors: Factors
    mails: Mails
    account: Account
    session_id: UUID | None
    address: str

    @classmethod
    async def by(cls, user: Principal, factors: Factors, mails: Mails, address: str) -> "FactorChanges":
        """The changes of a person who has confirmed recently that it is them; the account's row is locked.

        Raises InsufficientUserAuthentication, InvalidToken.
        """
        account = await lock_account(factors.db, user.user_id)
        if account is None:
            raise InvalidToken
        await require_step_up(factors.db, user)
        return cls(factors, mails, account, user.session_id, address)

    async def confirm_totp(self, factor_id: UUID, code: str) -> tuple[TotpFactor, Sequence[str] | None]:
        """The confirmed app, and recovery codes if it is the first factor. Raises FactorNotFound, FactorRefused."""
        pending = await self._db.get(TotpFactor, factor_id)
        if pending is None or pending.account_id != self.account.id or pending.confirmed_at is not None:
            raise FactorNotFound
        is_first = not await self.factors.methods(self.account.id)
        factor = await totp.accept(self._db, self.factors.keyring, self.account.id, code, confirmed=False)
        if factor is None:
            raise FactorRefused
        return factor, await self._added(factor.id, "totp", factor.name, frozenset({OTP}), is_first)

    async def add_passkey(self, name: str, credential: Credential) -> tuple[Passkey, Sequence[str] | None]:
        """The new passkey, and recovery codes if it is the first factor.

        Raises FactorRefused, PasskeyKnown, TooManyFactors.
        """
        await self.factors.check_number(self.account.id)
        is_first = not await self.factors.methods(self.account.id)
        passkey = await passkeys.register(self._db, self.factors.relying_party, self.account.id, name, credential)
        if passkey is None:
            raise FactorRefused
        self._db.add(passkey)
        try:
            await self._db.flush()
        except IntegrityError as error:
            if violates(error, "uq_passkeys_credential_id"):
                raise PasskeyKnown from None
            raise
        return passkey, await self._added(passkey.id, "passkey", name, methods_of(passkey), is_first)

    async def remove(self, factor_id: UUID) -> None:
        """Remove a factor; with the last one the recovery codes go too. Raises FactorNotFound."""
        name = await self._delete(TotpFactor, factor_id) or await self._delete(Passkey, factor_id)
        if name is None:
            raise FactorNotFound
        if not await self.factors.methods(self.account.id):
            await recovery_codes.forget(self._db, self.account.id)
        self._record("factor_removed", factor_id=str(factor_id))
        self._notify("factor_removed", name=name)

    async def new_recovery_codes(self) -> Sequence[str]:
        """New codes in place of the earlier ones. Raises NoFactor."""
        if not await self.factors.methods(self.account.id):
            raise NoFactor
        codes = await recovery_codes.make(self._db, self.account.id)
        self._record("recovery_codes_made")
        self._notify("recovery_codes_made")
        return codes

    async def _delete(self, table: type[TotpFactor | Passkey], factor_id: UUID) -> str | None:
        """The name of the person's factor, which is deleted; None if there is none."""
        own = (table.id == factor_id, table.account_id == self.account.id)
        name: str | None = await self._db.scalar(delete(table).where(*own).returning(table.name))
        return name

    @property
    def _db(self) -> AsyncSession:
        return self.factors.db

    async def _added(
        self, factor_id: UUID, kind: Method, name: str, shown: frozenset[str], is_first: bool
    ) -> Sequence[str] | None:
        """`shown` are the authentication methods that adding it has proven: the session has them from now on."""
        self._record("factor_added", factor_id=str(factor_id), method=kind)
        self._notify("factor_added", name=name)
        if self.session_id is not None:
            await sessions.prove(self._db, self.session_id, shown | {MFA})
        return await recovery_codes.make(self._db, self.account.id) if is_first else None

    def _record(self, kind: Change, **details: Any) -> None:
        audit.record(self._db, kind, account_id=self.account.id, address=self.address, **details)

    def _notify(self, purpose: Change, **values: Any) -> None:
        notify(self._db, self.mails, self.factors.settings, self.account, purpose, **values)
