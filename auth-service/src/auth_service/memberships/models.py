from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Index, PrimaryKeyConstraint, Text, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global, Tenanted

ENDED: Final = "ended"


class Tenant(Global):
    """A tenant as users-service last reported it."""

    __tablename__ = "tenants"
    __table_args__ = (Index(None, "slug"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str]  # not unique: two renames may arrive in the other order
    name: Mapped[str]
    tier: Mapped[str]
    status: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="0")


class Membership(Tenanted):
    """A person in a tenant as users-service last reported it.

    `checked_at` is when users-service was last asked; events do not change it, because they report the past.
    """

    __tablename__ = "memberships"
    __table_args__ = (
        PrimaryKeyConstraint("tenant_id", "user_id"),
        Index(None, "user_id"),  # a sign-in looks across tenants by person
    )

    user_id: Mapped[UUID]
    id: Mapped[UUID]
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    status: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    checked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True, slots=True)
class TenantMembership:
    """A membership with its tenant; `age_s` is the time since users-service was asked about it (None: never)."""

    membership: Membership
    tenant: Tenant
    age_s: float | None

    @property
    def active(self) -> bool:
        return self.membership.status == "active" and self.tenant.status == "active"

    @property
    def not_joined(self) -> bool:
        """Whether the person is no longer a member, or was invited again and has not accepted."""
        return self.membership.status in (ENDED, "invited")

    def is_named(self, name: str) -> bool:
        """Whether `name` is the tenant's slug or id, in whatever case."""
        return name.lower() in (self.tenant.slug, str(self.tenant.id))


_MEMBERSHIPS = select(Membership, Tenant, func.extract("epoch", func.clock_timestamp() - Membership.checked_at)).join(
    Tenant, Tenant.id == Membership.tenant_id
)


async def memberships_of_person(fleet: AsyncSession, user_id: UUID) -> Sequence[TenantMembership]:
    """Every membership of the person, ended ones too, the oldest first. Needs the `fleet` role."""
    rows = await fleet.execute(
        _MEMBERSHIPS.where(Membership.user_id == user_id).order_by(Membership.created_at, Membership.id)
    )
    return [TenantMembership(membership, tenant, _seconds(age)) for membership, tenant, age in rows]


async def find_membership(db: AsyncSession, tenant_id: UUID, user_id: UUID) -> TenantMembership | None:
    """The person's membership in the tenant of `db`; None if the projection has none."""
    rows = await db.execute(_MEMBERSHIPS.where(Membership.tenant_id == tenant_id, Membership.user_id == user_id))
    row = rows.one_or_none()
    return TenantMembership(row[0], row[1], _seconds(row[2])) if row else None


async def tenants_by_id(db: AsyncSession, ids: set[UUID]) -> dict[UUID, Tenant]:
    """The tenants of these ids that are known here."""
    return {tenant.id: tenant for tenant in await db.scalars(select(Tenant).where(Tenant.id.in_(ids)))}


async def is_slug(db: AsyncSession, slug: str) -> bool:
    """Whether a tenant that is known here has this slug."""
    return bool(await db.scalar(select(exists().where(Tenant.slug == slug))))


def _seconds(age: object) -> float | None:
    return None if age is None else float(str(age))
