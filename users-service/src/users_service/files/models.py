from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, PrimaryKeyConstraint, UniqueConstraint, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global, Placed


class File(Placed):
    """A stored file: its bytes are the object `key_of(tenant_id, id)`, its row is what makes it exist."""

    __tablename__ = "files"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("id"),
        Index("ix_files_tenant_id_owner_id_created_at", "tenant_id", "owner_id", "created_at"),
        Index("ix_files_tenant_id_created_at", "tenant_id", "created_at"),
    )

    id: Mapped[UUID]
    owner_id: Mapped[UUID]
    name: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[str]
    description: Mapped[str | None]
    category: Mapped[str | None]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Removal(Global):
    """An object to be removed from storage once `due_at` has come, unless its upload completes before.

    Written before an upload's first byte and taken back with the file's row, and written again with the deletion of
    that row: whatever fails in between, the object goes. So no sweep has to walk the storage.
    """

    __tablename__ = "object_removals"
    __table_args__ = (Index("ix_object_removals_due_at", "due_at"),)

    object_key: Mapped[str] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]


def key_of(tenant_id: UUID, file_id: UUID) -> str:
    """Where the file's bytes are in storage."""
    return f"{tenant_id}/{file_id}"


async def find(db: AsyncSession, tenant_id: UUID, file_id: UUID, *, for_update: bool = False) -> File | None:
    return await db.get(File, (tenant_id, file_id), with_for_update=for_update)


async def count(db: AsyncSession, tenant_id: UUID, owner_id: UUID) -> int:
    """How many files the person has in the tenant."""
    rows = select(func.count()).select_from(File).where(File.tenant_id == tenant_id, File.owner_id == owner_id)
    return await db.scalar(rows) or 0


def plan_removal(db: AsyncSession, object_key: str, after_s: int = 0) -> None:
    """Have the object removed `after_s` seconds from now, by the database's clock."""
    db.add(Removal(object_key=object_key, due_at=func.now() + text(f"interval '{int(after_s)} seconds'")))


async def erase_some(db: AsyncSession, tenant_id: UUID, most: int) -> bool:
    """Delete at most `most` files of a tenant that is erased, and have their objects removed; whether any was left."""
    some = select(File.id).where(File.tenant_id == tenant_id).limit(most)
    gone = await db.scalars(delete(File).where(File.tenant_id == tenant_id, File.id.in_(some)).returning(File.id))
    removals = [key_of(tenant_id, file_id) for file_id in gone]
    for object_key in removals:
        plan_removal(db, object_key)
    return bool(removals)


async def cancel_removal(db: AsyncSession, object_key: str) -> bool:
    """Keep the object; False where its removal has begun. Waits for one that is under way."""
    gone = delete(Removal).where(Removal.object_key == object_key).returning(Removal.object_key)
    return await db.scalar(gone) is not None


async def next_removal(db: AsyncSession) -> Removal | None:
    """One due removal, locked against others and against its upload's end; None when nothing is due."""
    return await db.scalar(_DUE.order_by(Removal.due_at).limit(1).with_for_update(skip_locked=True))


_DUE = select(Removal).where(Removal.due_at <= func.now())
ANY_REMOVAL_DUE = select(_DUE.exists())
