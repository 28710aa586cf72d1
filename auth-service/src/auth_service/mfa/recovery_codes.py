"""Recovery codes: for a person who has lost their other factors. Each has 80 random bits, so a plain hash is enough."""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.mfa.models import RecoveryCode

NUMBER: Final = 10
_BYTES: Final = 10
_GROUP: Final = 4


async def make(db: AsyncSession, account_id: UUID) -> Sequence[str]:
    """New codes; the earlier ones are deleted. Only hashes are stored, so this is the only time that they are shown."""
    await forget(db, account_id)
    codes = [_new() for _ in range(NUMBER)]
    db.add_all(RecoveryCode(account_id=account_id, digest=_digest(code)) for code in codes)
    await db.flush()
    return codes


async def spend(db: AsyncSession, account_id: UUID, code: str) -> bool:
    """Whether the code is one of the account's that was not used; it is now. Of concurrent calls, one gets it."""
    unused = (
        RecoveryCode.account_id == account_id,
        RecoveryCode.digest == _digest(code),
        RecoveryCode.used_at.is_(None),
    )
    rows = update(RecoveryCode).where(*unused).values(used_at=func.now()).returning(RecoveryCode.digest)
    return await db.scalar(rows) is not None


async def left(db: AsyncSession, account_id: UUID) -> int:
    """How many codes were not used."""
    unused = (RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
    return int(await db.scalar(select(func.count()).select_from(RecoveryCode).where(*unused)) or 0)


async def forget(db: AsyncSession, account_id: UUID) -> None:
    await db.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))


def _new() -> str:
    text = base64.b32encode(secrets.token_bytes(_BYTES)).decode().lower()
    return "-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP))


def _digest(code: str) -> bytes:
    """The same however a person types the code."""
    typed = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(typed.encode()).digest()
