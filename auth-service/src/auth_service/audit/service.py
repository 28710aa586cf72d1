"""Writing the audit trail, in the transaction of the event, and deleting old entries."""

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.audit.models import SecurityEvent

Kind = Literal[
    "account_registered",
    "sign_in",
    "sign_in_refused",
    "session_ended",
    "all_sessions_ended",
    "refresh_token_reused",
    "email_verified",
    "password_changed",
    "password_reset",
    "password_reset_requested",
]


def record(
    db: AsyncSession,
    kind: Kind,
    *,
    account_id: UUID | None = None,
    session_id: UUID | None = None,
    tenant_id: UUID | None = None,
    address: str | None = None,
    **details: Any,
) -> None:
    """Add one event; `details` are ids, names and reasons, never anything secret."""
    db.add(
        SecurityEvent(
            kind=kind,
            account_id=account_id,
            session_id=session_id,
            tenant_id=tenant_id,
            address=address,
            details=details,
        )
    )


async def prune(db: AsyncSession, kept_days: int) -> None:
    """Forget what is older than the trail is kept."""
    await db.execute(delete(SecurityEvent).where(SecurityEvent.created_at < func.now() - timedelta(days=kept_days)))
