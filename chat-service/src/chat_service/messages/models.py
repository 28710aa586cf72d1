from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKeyConstraint, PrimaryKeyConstraint, Select, UniqueConstraint, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped

from shared.data.models import Tenanted


class Message(Tenanted):
    """One message. `sender_id` and `sender_username` are null once their person's data was erased; the row stays."""

    __tablename__ = "messages"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "room_id", "seq"),
        UniqueConstraint("tenant_id", "room_id", "sender_id", "client_id", name="uq_messages_client_id"),
        ForeignKeyConstraint(["tenant_id", "room_id"], ["rooms.tenant_id", "rooms.id"], name="fk_messages_room"),
    )

    room_id: Mapped[UUID]
    seq: Mapped[int]
    id: Mapped[UUID]
    client_id: Mapped[str]
    sender_id: Mapped[UUID | None]
    sender_username: Mapped[str | None]
    text: Mapped[str]
    sent_at: Mapped[datetime]


async def store(db: AsyncSession, message: dict[str, object]) -> Message | None:
    """Insert the message; None where this sender's client_id is in the room already. Hold the room row's lock.

    The time is taken under the lock, so times ascend with the numbers.
    """
    row = insert(Message).values(**message, sent_at=func.clock_timestamp())
    new = row.on_conflict_do_nothing(constraint="uq_messages_client_id").returning(Message)
    return (await db.scalars(new)).one_or_none()


async def find_sent(
    db: AsyncSession, tenant_id: UUID, room_id: UUID, sender_id: UUID, client_id: str
) -> Message | None:
    """The message that the sender stored under this client_id."""
    sent = select(Message).where(
        Message.tenant_id == tenant_id,
        Message.room_id == room_id,
        Message.sender_id == sender_id,
        Message.client_id == client_id,
    )
    return (await db.scalars(sent)).one_or_none()


async def after(db: AsyncSession, tenant_id: UUID, room_id: UUID, seq: int, limit: int) -> Sequence[Message]:
    """The messages that follow `seq`, oldest first."""
    rows = _of(tenant_id, room_id).where(Message.seq > seq).order_by(Message.seq).limit(limit)
    return (await db.scalars(rows)).all()


async def before(db: AsyncSession, tenant_id: UUID, room_id: UUID, seq: int | None, limit: int) -> Sequence[Message]:
    """The newest messages, or the newest of those below `seq`; oldest first all the same."""
    rows = _of(tenant_id, room_id)
    if seq is not None:
        rows = rows.where(Message.seq < seq)
    found = (await db.scalars(rows.order_by(Message.seq.desc()).limit(limit))).all()
    return found[::-1]


def _of(tenant_id: UUID, room_id: UUID) -> Select[Message]:
    return select(Message).where(Message.tenant_id == tenant_id, Message.room_id == room_id)
