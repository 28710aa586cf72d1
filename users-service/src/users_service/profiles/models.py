from collections.abc import Collection
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import PrimaryKeyConstraint, delete, false, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Placed


class Profile(Placed):
    """One person in one tenant; made with the membership, so it is there whenever the person is."""

    __tablename__ = "profiles"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "user_id"),)

    user_id: Mapped[UUID]
    username: Mapped[str]
    full_name: Mapped[str | None]
    bio: Mapped[str | None]
    phone: Mapped[str | None]
    birth_date: Mapped[date | None]
    locale: Mapped[str | None]
    newsletter: Mapped[bool] = mapped_column(server_default=false())
    version: Mapped[int] = mapped_column(server_default=text("1"))
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


async def find(db: AsyncSession, tenant_id: UUID, user_id: UUID, *, for_update: bool = False) -> Profile | None:
    """The person's profile in the tenant; None where they never were a member."""
    return await db.get(Profile, (tenant_id, user_id), with_for_update=for_update)


async def make(
    db: AsyncSession,
    tenant_id: UUID,
    user_id: UUID,
    username: str,
    *,
    birth_date: date | None = None,
    newsletter: bool = False,
) -> None:
    """Make the profile of a new member; one from an earlier membership stays."""
    row = insert(Profile).values(
        tenant_id=tenant_id, user_id=user_id, username=username, birth_date=birth_date, newsletter=newsletter
    )
    await db.execute(row.on_conflict_do_nothing())


async def erase(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    await db.execute(delete(Profile).where(Profile.tenant_id == tenant_id, Profile.user_id == user_id))


async def of_people(db: AsyncSession, tenant_id: UUID, user_ids: Collection[UUID]) -> dict[UUID, Profile]:
    """The profiles of these people in the tenant, by person."""
    rows = select(Profile).where(Profile.tenant_id == tenant_id, Profile.user_id.in_(user_ids))
    return {profile.user_id: profile for profile in await db.scalars(rows)}
