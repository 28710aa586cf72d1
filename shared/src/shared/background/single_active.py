"""Work that one replica at a time does."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_TRY_LOCK: Final = text("SELECT pg_try_advisory_xact_lock(hashtext(:name))")


async def single_active(db: AsyncSession, name: str) -> bool:
    """Whether this transaction may do `name`'s next batch; no other transaction may until it ends.

    The lock ends with the transaction: a holder that was stopped loses both after idle_in_transaction_session_timeout
    (a session lock would never be released).
    """
    return bool(await db.scalar(_TRY_LOCK, {"name": f"flotilla {name}"}))
