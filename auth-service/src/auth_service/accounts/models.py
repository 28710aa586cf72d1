from collections.abc import Collection
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
DEACTIVATED: Final = "deactivated"
ERASED: Final = "erased"
NO_PASSWORD: Final = ""  # no password has this hash: the account signs in another way until one is set
USERNAME_KEY: Final = "uq_accounts_lower_username"
EMAIL_KEY: Final = "uq_accounts_lower_email"


class Account(Global):
    """A person, under one id everywhere. `pending` until users-service has registered them too.

    `ending` is a registration that was abandoned and never becomes active: the row is deleted once users-service has
    undone its part. `pending_tenant_*` is the tenant that a registration brings. `epoch` grows when all of the
    person's access tokens are ended at once.

    A `deactivated` account signs in nowhere; `deactivated_by` says who may reactivate it: what its "owner" has
    deactivated, the owner, and always an "operator". An `erased` one has nothing left but its id.

    `email` is verified, or trusted as it was typed where the settings say so; it belongs to this account alone. Any
    number of accounts may have the same `unverified_email`.

    Its row is the lock of all that belongs to the person: a transaction that locks a code, a link or a consent beside
    other rows of theirs locks the account before these, and a membership before the account. Sessions are locked last,
    each before those that were opened from it; a transaction that locks nothing else needs no lock of the account. So
    no two transactions wait for each other.
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
    deactivated_by: Mapped[str | None]
    epoch: Mapped[int] = mapped_column(server_default="0")
    pending_tenant_id: Mapped[UUID | None]
    pending_tenant_slug: Mapped[str | None]
    pending_tenant_name: Mapped[str | None]
    last_tenant_id: Mapped[UUID | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


def is_active(account: Account) -> bool:
    return account.status == ACTIVE


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


async def lock_account(db: AsyncSession, account_id: UUID) -> Account | None:
    """The account as it is now, locked until the transaction ends; an instance that was read before is refreshed."""
    return await db.get(Account, account_id, with_for_update=True, populate_existing=True)


async def usernames(db: AsyncSession, ids: Collection[UUID]) -> dict[UUID, str]:
    """The usernames of those accounts that exist and are not erased."""
    if not ids:
        return {}
    rows = await db.execute(select(Account.id, Account.username).where(Account.id.in_(ids), Account.status != ERASED))
    return {row.id: row.username for row in rows}


async def set_password_hash(db: AsyncSession, account_id: UUID, old_hash: str, new_hash: str) -> bool:
    """Store the same password's newer hash; False if the stored one changed meanwhile."""
    unchanged = (Account.id == account_id, Account.password_hash == old_hash)
    renewed = update(Account).where(*unchanged).values(password_hash=new_hash).returning(Account.id)
    return await db.scalar(renewed) is not None
