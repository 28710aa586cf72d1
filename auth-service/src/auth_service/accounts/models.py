from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import DateTime, Index, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global
from shared.ids import new_id

PENDING: Final = "pending"
ACTIVE: Final = "active"
USERNAME_KEY: Final = "uq_accounts_lower_username"
EMAIL_KEY: Final = "uq_accounts_lower_email"


class Account(Global):
    """A person, under one id everywhere. `pending` until users-service knows them too.

    `epoch` grows when all of the person's access tokens are ended at once.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        Index(USERNAME_KEY, func.lower(text("username")), unique=True),
        Index(EMAIL_KEY, func.lower(text("email")), unique=True),
        Index("ix_accounts_created_at_pending", "created_at", postgresql_where=text("status = 'pending'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    username: Mapped[str]
    email: Mapped[str]
    password_hash: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=PENDING)
    epoch: Mapped[int] = mapped_column(server_default="0")
    pending_tenant_id: Mapped[UUID | None]
    last_tenant_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


async def by_identifier(db: AsyncSession, identifier: str) -> Account | None:
    """The account of that username or email, without regard to case; a username holds no @."""
    column = Account.email if "@" in identifier else Account.username
    return (await db.scalars(select(Account).where(func.lower(column) == func.lower(identifier)))).one_or_none()
