from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, delete, func, select
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Placed

_PRUNED_AT_ONCE: Final = 5_000


class Activity(Placed):
    """One event about a person; `id` is the event's, so that an event that is handled again adds nothing."""

    __tablename__ = "activity"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        Index("ix_activity_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
        Index("ix_activity_tenant_id_user_id_created_at_id", "tenant_id", "user_id", "created_at", "id"),
    )

    id: Mapped[UUID]
    user_id: Mapped[UUID]
    type: Mapped[str]
    subject_id: Mapped[UUID]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    """When it happened, by the publisher's database."""


async def add(db: AsyncSession, **values: Any) -> None:
    await db.execute(insert(Activity).values(**values).on_conflict_do_nothing())


async def erase(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """Delete what the tenant's log has of a person."""
    await db.execute(delete(Activity).where(Activity.tenant_id == tenant_id, Activity.user_id == user_id))


async def prune(db: AsyncSession, tenant_id: UUID, keep_days: int) -> bool:
    """Delete some of the tenant's entries that are older than `keep_days`; whether there may be more."""
    old = func.now() - func.make_interval(0, 0, 0, keep_days)
    some = select(Activity.id).where(Activity.tenant_id == tenant_id, Activity.created_at < old).limit(_PRUNED_AT_ONCE)
    gone = await db.execute(delete(Activity).where(Activity.tenant_id == tenant_id, Activity.id.in_(some)))
    return bool(gone.rowcount == _PRUNED_AT_ONCE)  # type: ignore[attr-defined]  # a DELETE's result has it
