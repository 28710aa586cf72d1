"""The projection of tenants and memberships: the one fact that reaches this service by two paths.

users-service is the authority. Its events bring every change; that path may be late. So before a token is signed, a
membership that is missing, older than 60 s, or contradicted by the revocation feed is read from users-service; that is
the second path. The higher version wins. While users-service is unavailable the projection is used as it is, and the
feed ends tokens at the gateways.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from auth_service.memberships import reported_settings
from auth_service.memberships.events import MembershipEvent, TenantEvent
from auth_service.memberships.models import ENDED, Membership, Tenant, TenantMembership
from auth_service.memberships.users_api import MembershipReply, TenantReply
from shared.data.database import enter_tenant
from shared.identity.revocation_entries import PROJECTION_LAG_S


def is_fresh(member: TenantMembership) -> bool:
    """Whether users-service confirmed it within the last minute."""
    return member.age_s is not None and member.age_s <= PROJECTION_LAG_S


async def store_replies(
    db: AsyncSession, replies: Sequence[MembershipReply], known: Sequence[TenantMembership]
) -> None:
    """Store all memberships of a person; a known one that is missing from the replies has ended."""
    for reply in replies:
        await store_reply(db, reply)
    received = {reply.tenant.id for reply in replies}
    for member in known:
        if member.tenant.id not in received and member.membership.status != ENDED:
            await store_end(db, member)


async def store_reply(db: AsyncSession, reply: MembershipReply) -> None:
    """Store users-service's answer. The transaction continues as that tenant."""
    await enter_tenant(db, reply.tenant.id)
    await _put_tenant(db, reply.tenant.id, reply.tenant, version=reply.tenant.version)
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


async def store_end(db: AsyncSession, member: TenantMembership) -> None:
    """Store that the membership has ended. The transaction continues as that tenant.

    A change that an event brought since `member` was read is newer than that answer, and stays.
    """
    held = member.membership
    await enter_tenant(db, held.tenant_id)
    unchanged = (
        Membership.tenant_id == held.tenant_id,
        Membership.user_id == held.user_id,
        Membership.version == held.version,
    )
    ended = {"status": ENDED, "roles": [], "checked_at": func.clock_timestamp()}
    await db.execute(update(Membership).where(*unchanged).values(ended))


async def apply_membership(db: AsyncSession, tenant_id: UUID, event: MembershipEvent, *, revoked: bool) -> bool:
    """Store an event; returns whether it was newer than the stored version."""
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
    """Delete an erased tenant and its memberships."""
    await enter_tenant(db, tenant_id)
    await db.execute(delete(Membership).where(Membership.tenant_id == tenant_id))
    await db.execute(delete(Tenant).where(Tenant.id == tenant_id))


async def _put_tenant(
    db: AsyncSession, tenant_id: UUID, source: TenantReply | TenantEvent, *, version: int | None
) -> None:
    """Store it unless it is older than the stored one; without a version it is taken as current."""
    values: dict[str, Any] = {"slug": source.slug, "name": source.name, "tier": source.tier, "status": source.status}
    if source.settings is not None:
        values["settings"] = reported_settings.stored(source.settings)
    row = insert(Tenant).values(id=tenant_id, version=version or 0, **values)
    changes = values if version is None else {**values, "version": version}
    not_older = None if version is None else Tenant.version <= version
    await db.execute(row.on_conflict_do_update(index_elements=["id"], set_=changes, where=not_older))


async def _put_membership(db: AsyncSession, *, created_at: datetime, checked_at: Any, **values: Any) -> bool:
    row = insert(Membership).values(**values, created_at=created_at, checked_at=checked_at)
    new = row.excluded
    changes = {name: new[name] for name in ("id", "roles", "status", "version")}
    newer = Membership.version < new.version
    if checked_at is not None:  # a reply, which also confirms that the stored version is current
        changes |= {"checked_at": new.checked_at, "created_at": new.created_at}
        newer = Membership.version <= new.version
    put = row.on_conflict_do_update(index_elements=["tenant_id", "user_id"], set_=changes, where=newer)
    return await db.scalar(put.returning(Membership.version)) is not None
