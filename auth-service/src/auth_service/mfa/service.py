"""Which second factors a person has: adding, removing and verifying one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.accounts.models import Account
from auth_service.keyring import Keyring
from auth_service.mfa import passkeys, recovery_codes, totp
from auth_service.mfa.models import Passkey, TotpFactor
from auth_service.mfa.passkeys import Credential, Purpose, RelyingParty
from auth_service.settings import AuthSettings
from shared.identity import Principal, check_recent
from shared.identity.authentication import AAL2, HWK, OTP, SWK, USER
from shared.problems import Conflict, Forbidden, InsufficientUserAuthentication, NotFound, Unauthenticated

Method = Literal["totp", "passkey", "recovery_code"]

MAX_FACTORS: Final = 10
RECENT_S: Final = 600
"""How long after a sign-in or a step-up a person may change what protects the account."""


class FactorNotFound(NotFound):
    """The caller has no second factor with this id."""

    status, title = 404, "No such factor"


class TooManyFactors(Conflict):
    """The account has as many second factors as it may have."""

    status, title = 409, "The account has ten second factors"
    remedy = "Remove one that you no longer use: DELETE /auth/mfa/factors/{factor_id}."


class NoFactor(Conflict):
    """Recovery codes replace a lost factor, and the account has no factor."""

    status, title = 409, "The account has no second factor"
    remedy = "Add an authenticator app or a passkey first."


class FactorRefused(Forbidden):
    """The code is wrong, or the passkey's answer is not valid or was used before; the factor was not added."""

    status, title = 403, "The factor cannot be confirmed"
    remedy = "Send the code that the app shows now. Check the clock of the device; ask for new passkey options."
    keeps_writes = True  # a challenge is used up


class PasskeyKnown(Conflict):
    """The passkey was registered before."""

    status, title = 409, "The passkey is registered already"
    remedy = "Use it as it is, or add another one."


class SecondFactorRefused(Unauthenticated):
    """The code or the passkey's answer is not valid, or was used before."""

    status, title = 401, "The second factor is not valid"
    remedy = (
        "Send the code that the app shows now: each works once. After ten wrong ones, codes are refused for a while."
    )
    keeps_writes = True


@dataclass(frozen=True, slots=True)
class Proof:
    """What a person sends to prove a second factor: a code, or the answer of a passkey."""

    method: Method
    code: str | None = None
    credential: Credential | None = None


@dataclass(frozen=True)
class Factors:
    """The second factors of accounts, in one transaction of the caller."""

    db: AsyncSession
    keyring: Keyring
    settings: AuthSettings

    @property
    def relying_party(self) -> RelyingParty:
        return RelyingParty(self.settings.public_url, self._issuer)

    @property
    def _issuer(self) -> str:
        return self.settings.mfa.issuer or self.settings.mails.product

    async def methods(self, account_id: UUID) -> list[Method]:
        return await methods_for(self.db, account_id)

    async def verify(self, account_id: UUID, proof: Proof, purpose: Purpose) -> frozenset[str] | None:
        """The authentication methods (RFC 8176) that the proof shows; None if it is not valid. It is used up."""
        if proof.method == "passkey":
            return await self.verify_passkey(account_id, proof.credential or {}, purpose)
        if proof.method == "totp":
            accepted = await totp.accept(self.db, self.keyring, account_id, proof.code or "") is not None
        else:
            accepted = await recovery_codes.spend(self.db, account_id, proof.code or "")
        return frozenset({OTP}) if accepted else None

    async def verify_passkey(self, account_id: UUID, credential: Credential, purpose: Purpose) -> frozenset[str] | None:
        passkey = await passkeys.accept(self.db, self.relying_party, credential, purpose, account_id)
        return methods_of(passkey) if passkey else None

    async def list(self, account_id: UUID) -> tuple[Sequence[TotpFactor], Sequence[Passkey]]:
        """The authenticator apps that were confirmed, and the passkeys, the oldest first."""
        apps = select(TotpFactor).where(TotpFactor.account_id == account_id, TotpFactor.confirmed_at.is_not(None))
        keys = select(Passkey).where(Passkey.account_id == account_id)
        return (
            (await self.db.scalars(apps.order_by(TotpFactor.created_at))).all(),
            (await self.db.scalars(keys.order_by(Passkey.created_at))).all(),
        )

    async def enrol_totp(self, account: Account, name: str) -> tuple[TotpFactor, str, str]:
        """A new authenticator app to be confirmed: its row, secret and URI. Raises TooManyFactors."""
        await self.check_number(account.id)
        factor, secret = await totp.enrol(self.db, self.keyring, account.id, name)
        return factor, secret, totp.uri(secret, account.username, self._issuer)

    async def check_number(self, account_id: UUID) -> None:
        apps, keys = await self.list(account_id)
        if len(apps) + len(keys) >= MAX_FACTORS:
            raise TooManyFactors


async def methods_for(db: AsyncSession, account_id: UUID) -> list[Method]:
    """The methods by which the person can prove a second factor; empty if they have none."""
    app = exists().where(TotpFactor.account_id == account_id, TotpFactor.confirmed_at.is_not(None))
    passkey = exists().where(Passkey.account_id == account_id)
    has_app, has_passkey = (await db.execute(select(app, passkey))).one()
    found: list[Method] = ["totp"] if has_app else []
    if has_passkey:
        found.append("passkey")
    if found and await recovery_codes.left(db, account_id):
        found.append("recovery_code")
    return found


async def require_step_up(db: AsyncSession, user: Principal) -> None:
    """Check that the person has confirmed recently that it is them: by a second factor if they have one.

    Raises InsufficientUserAuthentication.
    """
    level = AAL2 if await methods_for(db, user.user_id) else None
    check_recent(user, max_age_s=RECENT_S, acr=level)


async def require_second_factor(db: AsyncSession, account_id: UUID, user: Principal | None) -> None:
    """The same for an operation that takes the password itself, which is enough for an account without a factor.

    `user` is who is signed in: the account's person, if it has one.
    """
    if not await methods_for(db, account_id):
        return
    if user is None or user.user_id != account_id:
        raise InsufficientUserAuthentication(acr=AAL2, max_age_s=RECENT_S)
    await require_step_up(db, user)


def methods_of(passkey: Passkey) -> frozenset[str]:
    """The authentication methods of a passkey (RFC 8176): its key, and the device's check of the person."""
    return frozenset({SWK if passkey.synchronized else HWK, USER})
