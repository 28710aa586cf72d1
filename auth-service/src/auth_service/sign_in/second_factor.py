"""The second factor of a sign-in: asked for once the first step has identified the person, and verified.

A sign-in that waits for it is an attempt: a row that its `mfa_token` finds, with what the person chose at the first
step, so that the second step can change nothing but prove a factor. No attempt exists without the first proof, so who
cannot give that cannot use up the account's wrong codes.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import ACTIVE, Account
from auth_service.audit import service as audit
from auth_service.keyring import Keyring
from auth_service.mails.notices import notify
from auth_service.mails.service import Mails
from auth_service.mfa import passkeys, recovery_codes, totp
from auth_service.mfa.passkeys import Purpose
from auth_service.mfa.service import Factors, Method, Proof, SecondFactorRefused
from auth_service.settings import AuthSettings
from auth_service.sign_in import throttle
from auth_service.sign_in.choices import Choices
from auth_service.sign_in.models import MfaAttempt
from auth_service.sign_in.service import MfaRequired, MfaTokenInvalid
from shared.data.database import Database
from shared.identity.authentication import MFA, OTP, Authentication

ATTEMPT_TTL_S: Final = 300
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Verified:
    """A person who has proven both factors, and what they chose at the first step."""

    account: Account
    authentication: Authentication
    choices: Choices


@dataclass(frozen=True)
class SecondFactor:
    database: Database
    keyring: Keyring
    mails: Mails
    settings: AuthSettings
    address: str

    async def require(self, account: Account, authentication: Authentication, choices: Choices) -> None:
        """Raises MfaRequired if the person has a second factor that `authentication` does not show."""
        if MFA in authentication.methods:
            return
        async with self._factors() as factors:
            methods = await factors.methods(account.id)
            if not methods:
                return
            token = await _new_attempt(factors.db, account.id, authentication, choices, enrols=False)
        raise MfaRequired(token, methods)

    async def require_enrolment(self, account: Account, authentication: Authentication, choices: Choices) -> None:
        """Always raises MfaRequired: the person has no second factor, and is to add an authenticator app now."""
        async with self._factors() as factors:
            token = await _new_attempt(factors.db, account.id, authentication, choices, enrols=True)
        raise MfaRequired(token, ["totp"], enrol=True)

    async def methods(self, mfa_token: str) -> list[Method]:
        """The methods by which the attempt can go on. Raises MfaTokenInvalid."""
        async with self._factors() as factors:
            attempt, account = await _find_attempt(factors.db, mfa_token)
            return ["totp"] if attempt.enrols else await factors.methods(account.id)

    async def enrol(self, mfa_token: str, name: str) -> tuple[UUID, str, str]:
        """Id, secret and URI of an authenticator app, whose first code then completes the sign-in.

        Raises MfaTokenInvalid, also for a person who has a second factor.
        """
        async with self._factors() as factors:
            attempt, account = await _find_attempt(factors.db, mfa_token)
            if not attempt.enrols or await factors.methods(account.id):
                raise MfaTokenInvalid
            factor, secret, uri = await factors.enrol_totp(account, name)
            return factor.id, secret, uri

    async def passkey_options(self, mfa_token: str | None) -> dict[str, Any]:
        """What a page gives to `navigator.credentials.get`; without an attempt for a sign-in by passkey alone.

        Raises MfaTokenInvalid.
        """
        async with self._factors() as factors:
            if mfa_token is None:
                return await passkeys.sign_in_options(factors.db, factors.relying_party, "sign_in", None)
            _, account = await _find_attempt(factors.db, mfa_token)
            return await passkeys.sign_in_options(factors.db, factors.relying_party, "second_factor", account.id)

    async def verify(self, mfa_token: str, proof: Proof) -> Verified:
        """The person of the attempt, which ends. Raises MfaTokenInvalid, SecondFactorRefused, SignInThrottled.

        A refused proof leaves the attempt open until it expires.
        """
        async with self._factors() as factors:
            attempt, account = await _find_attempt(factors.db, mfa_token)
            if attempt.enrols:
                methods = await self._first_code(factors, account, proof)
            else:
                methods = await self.prove(factors, account, proof, "second_factor")
            await factors.db.delete(attempt)
        shown = frozenset(attempt.amr) | methods | {MFA}
        return Verified(account, Authentication(shown), Choices.from_stored(attempt.choices))

    async def prove(self, factors: Factors, account: Account, proof: Proof, purpose: Purpose) -> frozenset[str]:
        """The authentication methods of a valid proof. Raises SecondFactorRefused, SignInThrottled.

        Only codes are throttled, each kind apart, because only they can be guessed: a person whose codes another one
        has used up still has passkeys and recovery codes.
        """
        counters = throttle.code_counters(proof.method, account.id, self.address, self.settings)
        await throttle.acquire(factors.db, counters)
        await throttle.check(factors.db, counters, self.settings.sign_in)
        methods = await factors.verify(account.id, proof, purpose)
        if methods is None:
            await throttle.count_failure(factors.db, counters, self.settings.sign_in)
            audit.record(
                factors.db,
                "second_factor_refused",
                account_id=account.id,
                address=self.address,
                method=proof.method,
            )
            raise SecondFactorRefused
        if proof.method == "recovery_code":
            await self._report_recovery_code(factors, account)
        return methods

    async def _first_code(self, factors: Factors, account: Account, proof: Proof) -> frozenset[str]:
        """The method of a code that confirms the app which the person added for this sign-in."""
        pending = proof.method == "totp" and not await factors.methods(account.id)
        factor = (
            await totp.accept(factors.db, self.keyring, account.id, proof.code or "", confirmed=False)
            if pending
            else None
        )
        if factor is None:
            raise SecondFactorRefused
        audit.record(
            factors.db,
            "factor_added",
            account_id=account.id,
            address=self.address,
            factor_id=str(factor.id),
            method="totp",
        )
        notify(factors.db, self.mails, self.settings, account, "factor_added", name=factor.name)
        return frozenset({OTP})

    async def _report_recovery_code(self, factors: Factors, account: Account) -> None:
        audit.record(factors.db, "recovery_code_used", account_id=account.id, address=self.address)
        left = await recovery_codes.left(factors.db, account.id)
        notify(factors.db, self.mails, self.settings, account, "recovery_code_used", left=left)

    @asynccontextmanager
    async def _factors(self) -> AsyncIterator[Factors]:
        async with self.database.transaction() as db:
            yield Factors(db, self.keyring, self.settings)


async def forget_attempts(db: AsyncSession, account_id: UUID) -> None:
    """End the sign-ins that wait for a second factor: what their first step has proven is no longer valid."""
    await db.execute(delete(MfaAttempt).where(MfaAttempt.account_id == account_id))


async def prune(db: AsyncSession) -> None:
    """Delete expired attempts."""
    await db.execute(delete(MfaAttempt).where(MfaAttempt.expires_at < func.now()))


async def _new_attempt(
    db: AsyncSession, account_id: UUID, authentication: Authentication, choices: Choices, *, enrols: bool
) -> str:
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    db.add(
        MfaAttempt(
            digest=_digest(token),
            account_id=account_id,
            amr=sorted(authentication.methods),
            choices=choices.to_stored(),
            enrols=enrols,
            expires_at=func.now() + timedelta(seconds=ATTEMPT_TTL_S),
        )
    )
    await db.flush()
    return token


async def _find_attempt(db: AsyncSession, mfa_token: str) -> tuple[MfaAttempt, Account]:
    """The attempt, its row locked, and its active account. Raises MfaTokenInvalid."""
    rows = await db.execute(
        select(MfaAttempt, Account)
        .join(Account, Account.id == MfaAttempt.account_id)
        .where(MfaAttempt.digest == _digest(mfa_token), MfaAttempt.expires_at > func.now(), Account.status == ACTIVE)
        .with_for_update(of=MfaAttempt)
    )
    row = rows.one_or_none()
    if row is None:
        raise MfaTokenInvalid
    return row[0], row[1]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
