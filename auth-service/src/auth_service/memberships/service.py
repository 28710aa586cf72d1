"""Keeping the projection: the one place where a fact has two roads.

users-service is the authority on tenants and memberships. Its events bring every change here; that is the first road,
and it may be late. So what the projection lacks is asked for, and whoever signs a token by a membership asks again for
what is older than 60 s or what the revocation feed contradicts; that is the second. Where both meet, the higher version
stands. While users-service is away the projection as it is goes on serving: its feed ends at the gateways what it must.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.memberships.authority import MembershipReply, TenantReply
from auth_service.memberships.events import MembershipEvent, TenantEvent
from auth_service.memberships.models import ENDED, Membership, Place, Tenant
from shared.data.database import enter_tenant
from shared.identity.revocation_entries import PROJECTION_LAG_S


def is_fresh(place: Place) -> bool:
    """Whether users-service was asked about it within the last minute."""
    return place.age_s is not None and place.age_s <= PROJECTION_LAG_S


async def store_replies(db: AsyncSession, replies: Sequence[MembershipReply], known: Sequence[Place]) -> None:
    """Take in all memberships of a person; one that is known here and was not told of has ended."""
    for reply in replies:
        await store_reply(db, reply)
    told = {reply.tenant.id for reply in replies}
    for place in known:
        if place.tenant.id not in told and place.membership.status != ENDED:
            await store_end(db, place)


async def store_reply(db: AsyncSession, reply: MembershipReply) -> None:
    """Take in what users-service says now. Goes on as that tenant."""
    await enter_tenant(db, reply.tenant.id)
    await _put_tenant(db, reply.tenant.id, reply.tenant, version=None)
    await _put_membership(
        db,
        tenant_id=reply.tenant.id,
        user_id=reply.user_id,
        id=reply.id,
        roles=reply.roles,
        status=reply.status,
        version=reply.version,
        created_at=reply.created_at,
        checked_at=func.clock_timestamp(),
    )


async def store_end(db: AsyncSession, place: Place) -> None:
    """users-service says there is no such membership any more. Goes on as that tenant.

    A change that came in by an event since `place` was read is newer than that answer, and stands.
    """
    held = place.membership
    await enter_tenant(db, held.tenant_id)
    unchanged = (
        Membership.tenant_id == held.tenant_id,
        Membership.user_id == held.user_id,
        Membership.version == held.version,
    )
    ended = {"status": ENDED, "roles": [], "checked_at": func.clock_timestamp()}
    await db.execute(update(Membership).where(*unchanged).values(ended))


async def apply_membership(db: AsyncSession, tenant_id: UUID, event: MembershipEvent, *, revoked: bool) -> bool:
    """Take in an event, and whether it was news; one that is older than what is held changes nothing."""
    return await _put_membership(
        db,
        tenant_id=tenant_id,
        user_id=event.user_id,
        id=event.subject,
        roles=[] if revoked else event.roles,
        status=ENDED if revoked else event.status,
        version=event.subject_version,
        created_at=event.time,
        checked_at=None,
    )


async def apply_tenant(db: AsyncSession, event: TenantEvent) -> None:
    await _put_tenant(db, event.subject, event, version=event.subject_version)


async def forget_tenant(db: AsyncSession, tenant_id: UUID) -> None:
    """Let go of a tenant that is no more, and of who was in it."""
    await enter_tenant(db, tenant_id)
    await db.execute(delete(Membership).where(Membership.tenant_id == tenant_id))
    await db.execute(delete(Tenant).where(Tenant.id == tenant_id))


async def _put_tenant(
    db: AsyncSession, tenant_id: UUID, told: TenantReply | TenantEvent, *, version: int | None
) -> None:
    """A reply carries no version and is how things are now; an event counts when it is not older than the last one."""
    values = {"slug": told.slug, "name": told.name, "tier": told.tier, "status": told.status}
    row = insert(Tenant).values(id=tenant_id, version=version or 0, **values)
    changes: dict[str, Any] = values if version is None else {**values, "version": version}
    not_older = None if version is None else Tenant.version <= version
    await db.execute(row.on_conflict_do_update(index_elements=["id"], set_=changes, where=not_older))


async def _put_membership(db: AsyncSession, *, created_at: datetime, checked_at: Any, **values: Any) -> bool:
    row = insert(Membership).values(**values, created_at=created_at, checked_at=checked_at)
    new = row.excluded
    changes = {name: new[name] for name in ("id", "roles", "status", "version")}
    newer = Membership.version < new.version
    if checked_at is not None:  # a reply, which also says that the version held is the current one
        changes |= {"checked_at": new.checked_at, "created_at": new.created_at}
        newer = Membership.version <= new.version
    put = row.on_conflict_do_update(index_elements=["tenant_id", "user_id"], set_=changes, where=newer)
    return await db.scalar(put.returning(Membership.version)) is not None
