"""The revocations of this service, read from its tables: ended memberships, changed roles, suspended tenants."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from shared.identity.revocation_entries import (
    KEPT_S,
    Entry,
    FeedPage,
    MembershipState,
    TenantState,
    feed_page,
    read_from,
)
from users_service.tenants.models import Membership, Tenant


async def feed(fleet: AsyncSession, after: str | None) -> FeedPage:
    """The states that changed since the cursor `after`, 30 s of overlap included. Looks across tenants.

    Raises InvalidInput for an unknown cursor.
    """
    since = read_from(after)
    now = (await fleet.execute(select(func.now()))).scalar_one()
    memberships = await fleet.scalars(select(Membership).where(_changed(Membership.changed_at, since)))
    tenants = await fleet.scalars(select(Tenant).where(_changed(Tenant.changed_at, since)))
    entries: list[Entry] = [*(_membership(one) for one in memberships), *(_tenant(one) for one in tenants)]
    return feed_page(entries, now)


def _changed(changed_at: InstrumentedAttribute[datetime | None], since: datetime | None) -> ColumnElement[bool]:
    recent = changed_at > func.now() - timedelta(seconds=KEPT_S)
    return recent if since is None else and_(recent, changed_at >= since)


def _ends(changed_at: datetime | None) -> int:
    assert changed_at is not None  # noqa: S101 - the query asked for rows that have it
    return int(changed_at.timestamp()) + KEPT_S


def _membership(one: Membership) -> MembershipState:
    # A membership that was granted again has not begun again before the person accepts: `ended_at` is kept until then.
    counts = one.status == "active" or (one.status == "invited" and one.ended_at is None)
    return MembershipState(
        tenant_id=one.tenant_id,
        user_id=one.user_id,
        roles=frozenset(one.roles) if counts else None,
        version=one.version,
        expires_at=_ends(one.changed_at),
    )


def _tenant(one: Tenant) -> TenantState:
    return TenantState(
        id=one.tenant_id, suspended=one.status == "suspended", version=one.version, expires_at=_ends(one.changed_at)
    )
