from collections.abc import Collection, Sequence
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


async def next_seqs(db: AsyncSession, tenant_id: UUID, user_ids: Collection[UUID]) -> dict[UUID, int]:
    """Take each person's next number; others wait for this transaction's end, so numbers commit in order.

    The rows are locked in the order of the ids, so that two transactions with the same people do not deadlock.
    """
    if not user_ids:
        return {}
    rows = insert(Recipient).values(
        [{"tenant_id": tenant_id, "user_id": user_id, "last_seq": 1} for user_id in sorted(user_ids)]
    )
    counted = rows.on_conflict_do_update(
        index_elements=["tenant_id", "user_id"], set_={"last_seq": Recipient.last_seq + 1}
    )
    taken = await db.execute(counted.returning(Recipient.user_id, Recipient.last_seq))
    return {row.user_id: row.last_seq for row in taken}


async def existing(db: AsyncSession, tenant_id: UUID, ids: Collection[UUID]) -> set[UUID]:
    """Those of the ids that notifications have already."""
    rows = select(Notification.id).where(Notification.tenant_id == tenant_id, Notification.id.in_(ids))
    return set(await db.scalars(rows))


async def add_all(db: AsyncSession, rows: Sequence[dict[str, Any]]) -> Sequence[Notification]:
    """Store the notifications; each as it is stored."""
    if not rows:
        return []
    return (await db.scalars(insert(Notification).values(rows).returning(Notification))).all()


async def after(db: AsyncSession, tenant_id: UUID, user_id: UUID, seq: int, limit: int) -> Sequence[Notification]:
    """The notifications that follow `seq`, oldest first."""
    rows = own(tenant_id, user_id).where(Notification.seq > seq).order_by(Notification.seq).limit(limit)
    return (await db.scalars(rows)).all()
