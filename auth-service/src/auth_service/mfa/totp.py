"""The codes of authenticator apps (TOTP, RFC 6238): SHA-1, six digits, 30 seconds, as all of them support."""

import hmac
import time
from datetime import timedelta
from typing import Final
from uuid import UUID

import pyotp
from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.keyring import Keyring
from auth_service.mfa.models import TotpFactor
from shared.ids import new_id

STEP_S: Final = 30
TOLERANCE: Final = 1  # steps: clocks of phones differ, and typing takes time
UNCONFIRMED_KEPT_S: Final = 3600


async def enrol(db: AsyncSession, keyring: Keyring, account_id: UUID, name: str) -> tuple[TotpFactor, str]:
    """A new factor, not confirmed yet, and its secret in base32. It replaces the account's other unconfirmed ones."""
    await db.execute(delete(TotpFactor).where(TotpFactor.account_id == account_id, TotpFactor.confirmed_at.is_(None)))
    factor_id, secret = new_id(), pyotp.random_base32()
    sealed = keyring.encrypt(secret.encode(), context=_context(factor_id))
    factor = TotpFactor(id=factor_id, account_id=account_id, name=name, secret=sealed)
    db.add(factor)
    await db.flush()
    return factor, secret


def uri(secret: str, username: str, issuer: str) -> str:
    """The link that a QR code shows to authenticator apps."""
    return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=issuer)


async def accept(
    db: AsyncSession, keyring: Keyring, account_id: UUID, code: str, *, confirmed: bool = True
) -> TotpFactor | None:
    """The account's factor that the code is of, which it uses up; None if it is of none.

    Of concurrent calls with one code, one gets the factor. With `confirmed` false the code confirms one that is not.
    """
    state = TotpFactor.confirmed_at.is_not(None) if confirmed else TotpFactor.confirmed_at.is_(None)
    for factor in (await db.scalars(select(TotpFactor).where(TotpFactor.account_id == account_id, state))).all():
        secret = keyring.decrypt(factor.secret, context=_context(factor.id)).decode()
        step = _matching_step(secret, code)
        if step is not None and (used := await _use(db, factor, step)) is not None:
            return used
    return None


async def prune(db: AsyncSession) -> None:
    """Delete factors that were not confirmed within an hour."""
    old = func.now() - timedelta(seconds=UNCONFIRMED_KEPT_S)
    await db.execute(delete(TotpFactor).where(TotpFactor.confirmed_at.is_(None), TotpFactor.created_at < old))


async def _use(db: AsyncSession, factor: TotpFactor, step: int) -> TotpFactor | None:
    """Compare-and-swap of the last step: one statement, whose row lock puts concurrent ones in an order."""
    used: TotpFactor | None = await db.scalar(
        update(TotpFactor)
        .where(TotpFactor.id == factor.id, or_(TotpFactor.last_step.is_(None), TotpFactor.last_step < step))
        .values(
            last_step=step,
            last_used_at=func.now(),
            confirmed_at=func.coalesce(TotpFactor.confirmed_at, func.now()),
        )
        .returning(TotpFactor)
        .execution_options(populate_existing=True)
    )
    return used


def _matching_step(secret: str, code: str) -> int | None:
    """The time step that the code is of, the newest first; None if it is of none within the tolerance."""
    totp, now = pyotp.TOTP(secret), int(time.time()) // STEP_S
    for step in range(now + TOLERANCE, now - TOLERANCE - 1, -1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()):
            return step
    return None


def _context(factor_id: UUID) -> str:
    return f"totp {factor_id}"
