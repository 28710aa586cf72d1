from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, DateTime, Index, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from auth_service.accounts.spelling import username
from shared.data.models import Global
from shared.email_addresses import canonical
from shared.ids import new_id

PENDING: Final = "pending"
ACTIVE: Final = "active"
ENDING: Final = "ending"
USERNAME_KEY: Final = "uq_accounts_lower_username"
EMAIL_KEY: Final = "uq_accounts_lower_email"


class Account(Global):
    """A person, under one id everywhere. `pending` until users-service has registered them too.

    `ending` is a registration that was abandoned and never becomes active: the row is deleted once users-service has
    undone its part. `pending_tenant_*` is the tenant that a registration brings. `epoch` grows when all of the
    person's access tokens are ended at once.

    `email` is verified, or trusted as it was typed where the settings say so; it belongs to this account alone. Any
    number of accounts may have the same `unverified_email`.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        Index(USERNAME_KEY, func.lower(text("username")), unique=True),
        Index(EMAIL_KEY, func.lower(text("email")), unique=True),
        Index("ix_accounts_lower_unverified_email", func.lower(text("unverified_email"))),
        Index(
            "ix_accounts_created_at_unfinished",
            "created_at",
            postgresql_where=text("status IN ('pending', 'ending')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    username: Mapped[str]
    email: Mapped[str | None]
    unverified_email: Mapped[str | None]
    password_hash: Mapped[str]
    status: Mapped[str] = mapped_column(server_default=PENDING)
    epoch: Mapped[int] = mapped_column(server_default="0")
    pending_tenant_id: Mapped[UUID | None]
    pending_tenant_slug: Mapped[str | None]
    pending_tenant_name: Mapped[str | None]
    last_tenant_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


async def by_identifier(db: AsyncSession, identifier: str) -> Account | None:
    """The account with that username or verified email, case-insensitive; a username contains no @.

    None if there is none.
    """
    if "@" not in identifier:
        return await _one(db, func.lower(Account.username) == func.lower(username(identifier)))
    try:
        email = canonical(identifier)
    except ValueError:
        return None
    return await by_email(db, email)


async def by_email(db: AsyncSession, email: str) -> Account | None:
    """The account that has verified the address, in its canonical form; None if there is none."""
    return await _one(db, func.lower(Account.email) == func.lower(email))


async def _one(db: AsyncSession, condition: ColumnElement[bool]) -> Account | None:
    return (await db.scalars(select(Account).where(condition))).one_or_none()


async def find_account(db: AsyncSession, account_id: UUID) -> Account | None:
    return await db.get(Account, account_id)


async def set_password_hash(db: AsyncSession, account_id: UUID, old_hash: str, new_hash: str) -> None:
    """Store the same password's newer hash, unless the password was changed meanwhile."""
    unchanged = (Account.id == account_id, Account.password_hash == old_hash)
    await db.execute(update(Account).where(*unchanged).values(password_hash=new_hash))
