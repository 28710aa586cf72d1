from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, PrimaryKeyConstraint, Text, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Tenanted


class Person(Tenanted):
    """A person in a tenant. One whose membership has ended stays as a name under old messages.

    `version` is the membership's, counted by users-service: 0 if only the person's own token has named them.
    """

    __tablename__ = "people"
    __table_args__ = (PrimaryKeyConstraint("tenant_id", "user_id"),)

    user_id: Mapped[UUID]
    username: Mapped[str]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text()), server_default=text("'{}'"))
    status: Mapped[str]
    version: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


async def find(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> Person | None:
    return await db.get(Person, (tenant_id, user_id))


async def lock(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> Person | None:
    """The person, who stays as they are until the transaction ends."""
    return await db.get(Person, (tenant_id, user_id), with_for_update={"read": True}, populate_existing=True)


async def put(
    db: AsyncSession, tenant_id: UUID, user_id: UUID, *, username: str, roles: list[str], status: str, version: int
) -> bool:
    """Store the person as of `version`, where nothing of that version or a later one is known; whether it was news."""
    values = {"username": username, "roles": roles, "status": status, "version": version}
    row = insert(Person).values(tenant_id=tenant_id, user_id=user_id, **values)
    newer = Person.version < row.excluded.version
    changed = {**values, "updated_at": func.now()}
    stored = row.on_conflict_do_update(index_elements=["tenant_id", "user_id"], set_=changed, where=newer)
    return await db.scalar(stored.returning(Person.user_id)) is not None
