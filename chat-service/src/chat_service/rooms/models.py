from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    DateTime,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Select,
    UniqueConstraint,
    delete,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.errors import violates
from shared.data.models import Tenanted
from shared.text import folded

# The first compares lower(name): the release before this one writes no `name_key`.
PUBLIC_NAME_KEYS: Final = ("uq_rooms_public_name", "uq_rooms_public_name_key")


class RoomKind(StrEnum):
    PUBLIC = "public"
    PRIVATE = "private"
    DIRECT = "direct"


class Room(Tenanted):
    """A room and its counters. `last_seq` grows under the row's lock only, so numbers commit in order, without gaps.

    `name_key` is the form in which a public room's name is unique (shared.text.folded). It is null in a room of the
    release before until the tenant's next public room is made, and for good if an older room has the form.
    `epoch` changes when numbering restarts after a restore. `first_seq` is the oldest message kept.
    `members_version` grows when a member is removed; replicas that serve the room compare it.
    """

    __tablename__ = "rooms"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "direct_key", name="uq_rooms_direct_key"),
        CheckConstraint("kind IN ('public', 'private', 'direct')", name="kind"),
        Index(
            PUBLIC_NAME_KEYS[0],
            "tenant_id",
            text("lower(name)"),
            unique=True,
            postgresql_where=text("kind = 'public'"),
        ),
        Index(
            PUBLIC_NAME_KEYS[1],
            "tenant_id",
            "name_key",
            unique=True,
            postgresql_where=text("kind = 'public'"),
        ),
        Index("ix_rooms_created_at", "tenant_id", "created_at", "id"),
    )

    id: Mapped[UUID]
    kind: Mapped[str]
    name: Mapped[str | None]
    name_key: Mapped[str | None]
    direct_key: Mapped[str | None]
    created_by: Mapped[UUID]
    epoch: Mapped[str]
    first_seq: Mapped[int] = mapped_column(server_default=text("1"))
    last_seq: Mapped[int] = mapped_column(server_default=text("0"))
    members_version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class RoomMember(Tenanted):
    """A person in a room; `read_seq` is how far they have read."""

    __tablename__ = "room_members"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "room_id", "user_id"),
        ForeignKeyConstraint(["tenant_id", "room_id"], ["rooms.tenant_id", "rooms.id"], name="fk_room_members_room"),
        Index("ix_room_members_user", "tenant_id", "user_id"),
        Index("ix_room_members_created_at", "tenant_id", "room_id", "created_at", "user_id"),
    )

    room_id: Mapped[UUID]
    user_id: Mapped[UUID]
    username: Mapped[str]
    read_seq: Mapped[int] = mapped_column(server_default=text("0"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def visible_to(tenant_id: UUID, user_id: UUID) -> Select[Room]:
    """The rooms that the person may know of: the tenant's public ones and those that they are a member of."""
    own = select(RoomMember.room_id).where(RoomMember.tenant_id == tenant_id, RoomMember.user_id == user_id)
    return select(Room).where(Room.tenant_id == tenant_id, or_(Room.kind == RoomKind.PUBLIC, Room.id.in_(own)))


async def fill_name_keys(db: AsyncSession, tenant_id: UUID) -> None:
    """Give public rooms without a `name_key` their form; a room whose form another has stays without.

    The release before this one writes none, and makes rooms beside this one during a rolling update.
    """
    public = (Room.tenant_id == tenant_id, Room.kind == RoomKind.PUBLIC)
    without = select(Room.id, Room.name).where(*public, Room.name_key.is_(None)).order_by(Room.created_at, Room.id)
    keys = {room_id: folded(name or "") for room_id, name in (await db.execute(without)).all()}
    if not keys:
        return
    taken = set(await db.scalars(select(Room.name_key).where(*public, Room.name_key.in_(keys.values()))))
    for room_id, key in keys.items():
        if key in taken:
            continue
        taken.add(key)
        try:
            async with db.begin_nested():
                await db.execute(update(Room).where(*public, Room.id == room_id).values(name_key=key))
        except IntegrityError as error:  # another transaction has just made a room of this form
            if not violates(error, PUBLIC_NAME_KEYS[1]):
                raise


async def find_visible(
    db: AsyncSession, tenant_id: UUID, user_id: UUID, room_id: UUID, *, for_update: bool = False
) -> Room | None:
    found = visible_to(tenant_id, user_id).where(Room.id == room_id)
    if for_update:
        found = found.with_for_update(key_share=True).execution_options(populate_existing=True)
    return (await db.scalars(found)).one_or_none()


async def find_member(db: AsyncSession, tenant_id: UUID, room_id: UUID, user_id: UUID) -> RoomMember | None:
    return await db.get(RoomMember, (tenant_id, room_id, user_id))


async def put_member(db: AsyncSession, tenant_id: UUID, room_id: UUID, user_id: UUID, username: str) -> bool:
    """Make the person a member; whether that is new."""
    row = insert(RoomMember).values(tenant_id=tenant_id, room_id=room_id, user_id=user_id, username=username)
    added = await db.scalar(row.on_conflict_do_nothing().returning(RoomMember.user_id))
    return added is not None


async def drop_member(db: AsyncSession, tenant_id: UUID, room_id: UUID, user_id: UUID) -> bool:
    """Take the person out; whether they were in."""
    gone = delete(RoomMember).where(
        RoomMember.tenant_id == tenant_id, RoomMember.room_id == room_id, RoomMember.user_id == user_id
    )
    if await db.scalar(gone.returning(RoomMember.user_id)) is None:
        return False
    await _count_members_version(db, tenant_id, [room_id])
    return True


async def drop_everywhere(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> None:
    """Take the person out of every room of the tenant."""
    gone = delete(RoomMember).where(RoomMember.tenant_id == tenant_id, RoomMember.user_id == user_id)
    left = (await db.scalars(gone.returning(RoomMember.room_id))).all()
    await _count_members_version(db, tenant_id, left)


async def _count_members_version(db: AsyncSession, tenant_id: UUID, room_ids: Collection[UUID]) -> None:
    if room_ids:
        rooms = update(Room).where(Room.tenant_id == tenant_id, Room.id.in_(room_ids))
        await db.execute(rooms.values(members_version=Room.members_version + 1))
