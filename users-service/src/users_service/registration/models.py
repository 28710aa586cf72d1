from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from users_service.tenants.models import Membership, Person


class EndedRegistration(Global):
    """A registration that was undone, so that a late call does not create it. Kept for a day."""

    __tablename__ = "ended_registrations"
    __table_args__ = (Index(None, "ended_at"),)

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    ended_at: Mapped[datetime] = mapped_column(server_default=func.now())


async def put_person(db: AsyncSession, user_id: UUID, username: str) -> None:
    """Create the person, or give them the account's current name."""
    statement = insert(Person).values(user_id=user_id, username=username)
    update = {"username": statement.excluded.username}
    await db.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=update))


async def has_others(db: AsyncSession, membership: Membership) -> bool:
    """Whether anyone else is or was a member of the tenant; call it with the tenant's row locked."""
    others = select(Membership.user_id).where(
        Membership.tenant_id == membership.tenant_id, Membership.user_id != membership.user_id
    )
    return await db.scalar(others.limit(1)) is not None
