from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Index,
    PrimaryKeyConstraint,
    Text,
    cast,
    exists,
    func,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.data.models import Global, Tenanted
from shared.identity.revocation_entries import PROJECTION_LAG_S

ACTIVE: Final = "active"
ENDED: Final = "ended"
OPERATOR: Final = "system"
"""The role of the fleet's operators."""


class Tenant(Global):
    """A tenant as users-service last reported it; `settings` are a ReportedSettings, None if none were reported."""

    __tablename__ = "tenants"
    __table_args__ = (Index(None, "slug"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    slug: Mapped[str]  # not unique: two renames may arrive in the other order
    name: Mapped[str]
    tier: Mapped[str]
    status: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="0")
    settings: Mapped[dict[str, Any] | None] = mapped_column(JSONB)


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
        return self.membership.status == ACTIVE and self.tenant.status == ACTIVE

    @property
    def operates(self) -> bool:
        """Whether the person is an operator of the fleet by this membership now."""
        return self.active and OPERATOR in self.membership.roles

    @property
    def not_joined(self) -> bool:
        """Whether the person is no longer a member, or was invited again and has not accepted."""
        return self.membership.status in (ENDED, "invited")

    def is_named(self, name: str) -> bool:
        """Whether `name` is the tenant's slug or id, in whatever case."""
        return name.lower() in (self.tenant.slug, str(self.tenant.id))


AGE_S: Final = func.extract("epoch", func.clock_timestamp() - Membership.checked_at)

_MEMBERSHIPS = select(Membership, Tenant, AGE_S).join(Tenant, Tenant.id == Membership.tenant_id)


def usable(named: ColumnElement[str | None]) -> tuple[ColumnElement[bool], ...]:
    """As conditions: active, and users-service confirmed it within the last minute; of the tenant `named`, if any is.

    `named` is lower-case.
    """
    return (
        Membership.status == ACTIVE,
        Tenant.status == ACTIVE,
        Membership.checked_at >= func.clock_timestamp() - timedelta(seconds=PROJECTION_LAG_S),
        or_(named.is_(None), Tenant.slug == named, cast(Tenant.id, Text) == named),
    )


async def memberships_of_person(fleet: AsyncSession, user_id: UUID) -> Sequence[TenantMembership]:
    """Every membership of the person, ended ones too, the oldest first. Needs the `fleet` role."""
    rows = await fleet.execute(
        _MEMBERSHIPS.where(Membership.user_id == user_id).order_by(Membership.created_at, Membership.id)
    )
    return [TenantMembership(membership, tenant, _seconds(age)) for membership, tenant, age in rows]


async def find_membership(
    db: AsyncSession, tenant_id: UUID, user_id: UUID, *, unchanged: bool = False
) -> TenantMembership | None:
    """The person's membership in the tenant of `db`; None if the projection has none.

    With `unchanged` it and its tenant do not change until the transaction ends: the rows are locked FOR SHARE.
    """
    found = _MEMBERSHIPS.where(Membership.tenant_id == tenant_id, Membership.user_id == user_id)
    if unchanged:
        found = found.with_for_update(read=True, of=(Tenant, Membership)).execution_options(populate_existing=True)
    row = (await db.execute(found)).one_or_none()
    return TenantMembership(row[0], row[1], _seconds(row[2])) if row else None


async def tenants_by_id(db: AsyncSession, ids: set[UUID]) -> dict[UUID, Tenant]:
    """The tenants of these ids that are known here."""
    return {tenant.id: tenant for tenant in await db.scalars(select(Tenant).where(Tenant.id.in_(ids)))}


async def is_slug(db: AsyncSession, slug: str) -> bool:
    """Whether a tenant that is known here has this slug."""
    return bool(await db.scalar(select(exists().where(Tenant.slug == slug))))


async def tenant_named(db: AsyncSession, name: str) -> Tenant | None:
    """The tenant that is known here by this slug or id; None if there is none."""
    row = select(Tenant).where(or_(Tenant.slug == name.lower(), cast(Tenant.id, Text) == name.lower()))
    return (await db.scalars(row.limit(1))).first()


def _seconds(age: object) -> float | None:
    return None if age is None else float(str(age))
