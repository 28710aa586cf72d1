from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Date,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global, Tenanted
from shared.data.placement.models import SHARED_HOME, Placement
from shared.ids import new_id

LIVING = ("invited", "active", "suspended")
"""The states of a membership that has not ended."""


class Person(Global):
    """A person of the fleet, by the id and name of their account; a tenant's admin can add them."""

    __tablename__ = "people"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    username: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    confirmed_at: Mapped[datetime | None]
    """When auth-service reported the account as active; None: the registration may still be undone."""


class Tenant(Tenanted):
    """A tenant's own row. Look-ups across tenants are by slug, by person and for the revocation feed."""

    __tablename__ = "tenants"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id"),
        UniqueConstraint("slug"),
        CheckConstraint("tier IN ('free', 'premium', 'enterprise')", name="tier"),
        CheckConstraint("status IN ('active', 'suspended')", name="status"),
        Index("ix_tenants_changed_at", "changed_at"),
        Index("ix_tenants_erase_at", "erase_at", postgresql_where=text("erase_at IS NOT NULL")),
    )

    slug: Mapped[str]
    name: Mapped[str]
    tier: Mapped[str] = mapped_column(server_default=text("'free'"))
    status: Mapped[str] = mapped_column(server_default=text("'active'"))
    settings: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    """What its admins have set (tenant_settings); the rest is the operator's."""
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    changed_at: Mapped[datetime | None]
    """When it was last suspended or resumed, by the database's clock; None: never, so it is not in the feed."""
    erase_at: Mapped[datetime | None]
    """When it is erased, because an admin has deleted it; until then it is suspended."""

    @property
    def id(self) -> UUID:
        return self.tenant_id

    @property
    def state(self) -> str:
        """Its status as its members see it. To the other services a tenant that is being deleted is suspended."""
        return self.status if self.erase_at is None else "deleting"


class Membership(Tenanted):
    """A person in a tenant. The row stays: an ended membership that is granted again keeps its id and version."""

    __tablename__ = "memberships"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "user_id"),
        UniqueConstraint("id"),
        ForeignKeyConstraint(["tenant_id"], ["tenants.tenant_id"]),
        ForeignKeyConstraint(["user_id"], ["people.user_id"]),
        CheckConstraint("status IN ('invited', 'active', 'suspended', 'ended')", name="status"),
        Index("ix_memberships_tenant_id_created_at_user_id", "tenant_id", "created_at", "user_id"),
        Index("ix_memberships_user_id", "user_id"),
        Index("ix_memberships_changed_at", "changed_at"),
    )

    user_id: Mapped[UUID]
    id: Mapped[UUID] = mapped_column(default=new_id)
    username: Mapped[str]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    status: Mapped[str]
    version: Mapped[int] = mapped_column(server_default=text("1"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    ended_at: Mapped[datetime | None]
    changed_at: Mapped[datetime | None]
    """When its roles or status last changed in a way that ends tokens; None: never, so it is not in the feed."""

    @property
    def living(self) -> bool:
        return self.status in LIVING


async def lock_tenant(db: AsyncSession, tenant_id: UUID) -> Tenant | None:
    """The tenant, its row locked: changes of members are serialized, so that one of two last admins stays."""
    return await db.get(Tenant, tenant_id, with_for_update={"key_share": True})


async def lock_due_tenant(db: AsyncSession, tenant_id: UUID) -> Tenant | None:
    """The tenant if its grace period is over, locked against all that refers to it; None if another process has it."""
    row = select(Tenant).where(Tenant.tenant_id == tenant_id, Tenant.erase_at <= func.now())
    return await db.scalar(row.with_for_update(skip_locked=True))


async def hold_tenant(db: AsyncSession, tenant_id: UUID) -> bool:
    """Whether the tenant exists; it is not erased until the transaction ends."""
    row = select(Tenant.tenant_id).where(Tenant.tenant_id == tenant_id)
    return await db.scalar(row.with_for_update(read=True, key_share=True)) is not None


async def lock_membership(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> tuple[Membership, Tenant] | None:
    """The membership as it is now, with its tenant; nothing changes it until the transaction ends (FOR SHARE)."""
    rows = (
        select(Membership, Tenant)
        .join(Tenant, Tenant.tenant_id == Membership.tenant_id)
        .where(Membership.tenant_id == tenant_id, Membership.user_id == user_id)
        .with_for_update(read=True, of=Membership)
        .execution_options(populate_existing=True)
    )
    row = (await db.execute(rows)).one_or_none()
    return None if row is None else (row[0], row[1])


async def find_membership(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> Membership | None:
    """The person's membership in any state, also ended."""
    return await db.get(Membership, (tenant_id, user_id))


async def account_age_days(db: AsyncSession, user_id: UUID) -> int:
    """The full days since the person's account was made."""
    age = select(func.extract("epoch", func.now() - Person.created_at)).where(Person.user_id == user_id)
    return int(await db.scalar(age) or 0) // 86_400


async def has_other_admin(db: AsyncSession, membership: Membership) -> bool:
    """Whether the tenant has an active admin besides this one; call it with the tenant's row locked."""
    others = select(Membership.user_id).where(
        Membership.tenant_id == membership.tenant_id,
        Membership.user_id != membership.user_id,
        Membership.status == "active",
        Membership.roles.contains(["admin"]),
    )
    return await db.scalar(others.limit(1)) is not None


async def of_person(fleet: AsyncSession, user_id: UUID) -> Sequence[tuple[Membership, Tenant]]:
    """Every membership of a person that has not ended, with its tenant, oldest first. Looks across tenants."""
    rows = (
        select(Membership, Tenant)
        .join(Tenant, Tenant.tenant_id == Membership.tenant_id)
        .where(Membership.user_id == user_id, Membership.status.in_(LIVING))
        .order_by(Membership.created_at, Membership.tenant_id)
    )
    return [(membership, tenant) for membership, tenant in await fleet.execute(rows)]


async def tenants_of_person(fleet: AsyncSession, user_id: UUID) -> Sequence[UUID]:
    """The tenants where the person has a membership in any state, in the order to lock them. Looks across tenants."""
    rows = select(Membership.tenant_id).where(Membership.user_id == user_id).order_by(Membership.tenant_id)
    return (await fleet.scalars(rows)).all()


async def with_role(fleet: AsyncSession, role: str) -> Sequence[tuple[Membership, Tenant]]:
    """Every membership with the role that has not ended, with its tenant, oldest first. Looks across tenants."""
    rows = (
        select(Membership, Tenant)
        .join(Tenant, Tenant.tenant_id == Membership.tenant_id)
        .where(Membership.roles.contains([role]), Membership.status.in_(LIVING))
        .order_by(Membership.created_at, Membership.tenant_id)
    )
    return [(membership, tenant) for membership, tenant in await fleet.execute(rows)]


async def tenant_by_slug(fleet: AsyncSession, slug: str) -> UUID | None:
    """The id of the tenant with this slug. Looks across tenants."""
    return await fleet.scalar(select(Tenant.tenant_id).where(Tenant.slug == slug))


async def home_of(db: AsyncSession, tenant_id: UUID) -> str:
    """The schema that has the tenant's content; `public` is the one that tenants share."""
    return await db.scalar(select(Placement.home).where(Placement.tenant_id == tenant_id)) or SHARED_HOME


async def all_tenants(fleet: AsyncSession) -> Sequence[UUID]:
    """The ids of all tenants. Looks across tenants."""
    return (await fleet.scalars(select(Tenant.tenant_id).order_by(Tenant.tenant_id))).all()


async def is_moving(db: AsyncSession, tenant_id: UUID) -> bool:
    """Whether the tenant's content is being moved to another home, or has old rows left there."""
    row = select(Placement.phase).where(Placement.tenant_id == tenant_id, Placement.phase.is_not(None))
    return await db.scalar(row) is not None


async def count_members(db: AsyncSession, tenant_id: UUID) -> dict[str, int]:
    """How many memberships of the tenant have each of the LIVING states."""
    rows = (
        select(Membership.status, func.count())
        .where(Membership.tenant_id == tenant_id, Membership.status.in_(LIVING))
        .group_by(Membership.status)
    )
    return dict.fromkeys(LIVING, 0) | {row[0]: row[1] for row in await db.execute(rows)}


async def new_members_by_day(db: AsyncSession, tenant_id: UUID, first: date) -> dict[date, int]:
    """How many memberships began on each day (UTC) from `first` on, those that have ended since among them."""
    day = cast(Membership.created_at, Date).label("day")
    rows = (
        select(day, func.count()).where(Membership.tenant_id == tenant_id, Membership.created_at >= first).group_by(day)
    )
    return {row[0]: row[1] for row in await db.execute(rows)}
