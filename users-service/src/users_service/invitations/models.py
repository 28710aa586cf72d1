from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    and_,
    delete,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Tenanted

_DAY: Final = timedelta(days=1)
_SHOWN_EXPIRED: Final = timedelta(days=7)


class Invitation(Tenanted):
    """An invitation to a tenant: open until it is accepted, withdrawn or replaced (`ended_at`), or expires.

    An ended one has no address any more, and is kept for a day, so that it counts towards the tenant's limit.
    """

    __tablename__ = "invitations"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "id"),
        UniqueConstraint("tenant_id", "token_hash"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        Index("ix_invitations_tenant_id_created_at", "tenant_id", "created_at"),
    )

    id: Mapped[UUID]
    email: Mapped[str | None]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the token, which is in the mail and nowhere else."""
    invited_by: Mapped[UUID]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


def is_open() -> ColumnElement[bool]:
    """Whether it can be accepted."""
    return and_(Invitation.ended_at.is_(None), Invitation.expires_at > func.now())


async def count_for_limit(db: AsyncSession, tenant_id: UUID) -> int:
    """The open invitations and all of the last day; call it with the tenant's row locked."""
    counted = or_(Invitation.created_at > func.now() - _DAY, is_open())
    rows = select(func.count()).select_from(Invitation).where(Invitation.tenant_id == tenant_id, counted)
    return await db.scalar(rows) or 0


async def find_open(db: AsyncSession, tenant_id: UUID, token_hash: bytes) -> Invitation | None:
    """The open invitation with this token; call it with the tenant's row locked to accept it."""
    rows = select(Invitation).where(Invitation.tenant_id == tenant_id, Invitation.token_hash == token_hash, is_open())
    return await db.scalar(rows)


async def find(db: AsyncSession, tenant_id: UUID, invitation_id: UUID) -> Invitation | None:
    """The invitation, locked; None if it has ended."""
    rows = select(Invitation).where(
        Invitation.tenant_id == tenant_id, Invitation.id == invitation_id, Invitation.ended_at.is_(None)
    )
    return await db.scalar(rows.with_for_update())


async def prune(fleet: AsyncSession) -> None:
    """Delete what ended a day ago, and what expired a week ago. Looks across tenants."""
    old = or_(
        Invitation.ended_at < func.now() - _DAY,
        and_(Invitation.ended_at.is_(None), Invitation.expires_at < func.now() - _SHOWN_EXPIRED),
    )
    await fleet.execute(delete(Invitation).where(old))
