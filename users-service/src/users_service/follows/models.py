from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Placed


class Follow(Placed):
    """That a person follows another. Both are active members of the tenant: when a membership ends, its follows end."""

    __tablename__ = "follows"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "follower_id", "followed_id"),
        Index(
            "ix_follows_tenant_id_follower_id_created_at_followed_id",
            *("tenant_id", "follower_id", "created_at", "followed_id"),
        ),
        Index(
            "ix_follows_tenant_id_followed_id_created_at_follower_id",
            *("tenant_id", "followed_id", "created_at", "follower_id"),
        ),
    )

    follower_id: Mapped[UUID]
    followed_id: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


async def add(db: AsyncSession, tenant_id: UUID, follower_id: UUID, followed_id: UUID) -> None:
    """The first time counts; again changes nothing."""
    row = insert(Follow).values(tenant_id=tenant_id, follower_id=follower_id, followed_id=followed_id)
    await db.execute(row.on_conflict_do_nothing())


async def remove(db: AsyncSession, tenant_id: UUID, follower_id: UUID, followed_id: UUID) -> None:
    one = (Follow.tenant_id == tenant_id, Follow.follower_id == follower_id, Follow.followed_id == followed_id)
    await db.execute(delete(Follow).where(*one))


async def follower_ids(db: AsyncSession, tenant_id: UUID, followed_id: UUID) -> Sequence[UUID]:
    rows = select(Follow.follower_id).where(Follow.tenant_id == tenant_id, Follow.followed_id == followed_id)
    return (await db.scalars(rows.order_by(Follow.follower_id))).all()


async def count(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> tuple[int, int]:
    """How many follow the person, and how many the person follows.

    Counted, by an index alone: a counter would be one row that all followers of a person wait for.
    """
    rows = select(func.count()).select_from(Follow).where(Follow.tenant_id == tenant_id)
    followers = await db.scalar(rows.where(Follow.followed_id == user_id))
    following = await db.scalar(rows.where(Follow.follower_id == user_id))
    return followers or 0, following or 0


async def erase(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """Delete the person's follows in the tenant, in both directions."""
    either = or_(Follow.follower_id == user_id, Follow.followed_id == user_id)
    await db.execute(delete(Follow).where(Follow.tenant_id == tenant_id, either))
