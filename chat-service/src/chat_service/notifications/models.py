from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Index, PrimaryKeyConstraint, Select, UniqueConstraint, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Tenanted


class Recipient(Tenanted):
    """A person's counter in a tenant: notifications get their number under this row's lock."""

    __tablename__ = "recipients"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "user_id"),)

    user_id: Mapped[UUID]
    last_seq: Mapped[int]


class Notification(Tenanted):
    """A message of the system to a person; `read_at` once they have read it on any device."""

    __tablename__ = "notifications"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "user_id", "seq"),
        UniqueConstraint("tenant_id", "id", name="uq_notifications_id"),
        Index("ix_notifications_created_at", "tenant_id", "user_id", "created_at", "id"),
    )

    user_id: Mapped[UUID]
    seq: Mapped[int]
    id: Mapped[UUID]
    kind: Mapped[str]
    title: Mapped[str]
    body: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.clock_timestamp())
    read_at: Mapped[datetime | None]


def own(tenant_id: UUID, user_id: UUID) -> Select[Notification]:
    return select(Notification).where(Notification.tenant_id == tenant_id, Notification.user_id == user_id)


async def last_seq(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> int:
    """The number of the person's newest notification; 0 before the first."""
    recipient = await db.get(Recipient, (tenant_id, user_id))
    return recipient.last_seq if recipient else 0


async def next_seq(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> int:
    """Take the next number; others wait for this transaction's end, so numbers commit in order."""
    row = insert(Recipient).values(tenant_id=tenant_id, user_id=user_id, last_seq=1)
    counted = row.on_conflict_do_update(
        index_elements=["tenant_id", "user_id"], set_={"last_seq": Recipient.last_seq + 1}
    )
    taken = await db.scalar(counted.returning(Recipient.last_seq))
    return int(taken or 1)


async def exists(db: AsyncSession, tenant_id: UUID, notification_id: UUID) -> bool:
    row = select(Notification.seq).where(Notification.tenant_id == tenant_id, Notification.id == notification_id)
    return await db.scalar(row) is not None


async def after(db: AsyncSession, tenant_id: UUID, user_id: UUID, seq: int, limit: int) -> Sequence[Notification]:
    """The notifications that follow `seq`, oldest first."""
    rows = own(tenant_id, user_id).where(Notification.seq > seq).order_by(Notification.seq).limit(limit)
    return (await db.scalars(rows)).all()
