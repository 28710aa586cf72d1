"""Tenants: reading and changing them; and the check that every lasting write makes first."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.data.database import enter_tenant
from shared.events import outbox
from shared.identity.principal import Principal, tenant_of
from shared.identity.scopes import scopes_of
from shared.problems import AllowWrite, Conflict, InsufficientScope, InvalidToken, NotFound
from shared.web.paging import ListQuery, by_cursor
from users_service.tenants import models
from users_service.tenants.events import TenantEvent, TenantResumed, TenantSuspended, TenantUpdated
from users_service.tenants.models import LIVING, Membership, Tenant


class TenantNotFound(NotFound):
    """No such tenant, or the caller is not a member of it."""

    status, title = 404, "No such tenant"


class TenantErasing(Conflict):
    """The tenant was deleted, and its grace period is over: its data is being erased."""

    status, title = 409, "The tenant is being erased"
    remedy = "Create another tenant; its slug is free once the erasure is finished."


class UserNotFound(NotFound):
    """No member of the caller's tenant whom the caller may see has this id."""

    status, title = 404, "No such user"


_SORTABLE = {"created_at": Tenant.created_at, "name": Tenant.name, "slug": Tenant.slug}


async def authorize_write(db: AsyncSession, user: Principal, *scopes: str) -> Principal:
    """The caller with their current roles and scopes, which decide about a lasting write.

    A token's roles are as old as the token, and the revocation feed may take 2 s to end it; a role granted in that time
    would last. So the transaction of the write reads the caller's membership, and keeps it from changing before the
    commit. The refusals are the same as after the feed and a refresh: InvalidToken (401) if the membership is not
    active or the tenant is suspended, InsufficientScope (403) if the current roles lack one of `scopes`.
    """
    found = await models.lock_membership(db, tenant_of(user), user.user_id)
    if found is None or found[0].status != "active":
        raise InvalidToken("The token has ended: the caller is not an active member of its tenant.")
    membership, tenant = found
    if tenant.status != "active":
        raise InvalidToken("The token has ended: its tenant is suspended.")
    caller = replace(user, roles=frozenset(membership.roles), scopes=user.scopes & scopes_of(membership.roles))
    require(caller, scopes)
    return caller


async def authorize_tenant_write(db: AsyncSession, user: Principal, tenant_id: UUID, *scopes: str) -> Principal:
    """`authorize_write` for a change of a tenant or its members, whose row is locked when this returns.

    Every change of a membership locks its tenant's row first, so writers in one tenant are serialized. An operator may
    write in another tenant: then both rows are locked, in the order of their ids, so that operators who end each
    other's memberships wait for each other and never deadlock. Raises TenantNotFound.
    """
    beyond_home = () if tenant_of(user) == tenant_id else ("system:write",)
    return await authorize_beside(db, user, tenant_id, *scopes, *beyond_home)


async def authorize_beside(db: AsyncSession, user: Principal, tenant_id: UUID, *scopes: str) -> Principal:
    """`authorize_write` in the caller's own tenant, for a change in `tenant_id` that something else permits.

    Both tenants' rows are locked, in the order of their ids, and the transaction goes on as `tenant_id`. Raises
    TenantNotFound.
    """
    home = tenant_of(user)
    for locked in sorted({home, tenant_id}):
        await enter_tenant(db, locked)
        if await models.lock_tenant(db, locked) is None and locked == tenant_id:
            raise TenantNotFound
    await enter_tenant(db, home)
    caller = await authorize_write(db, user, *scopes)
    await enter_tenant(db, tenant_id)
    return caller


async def read_active(db: AsyncSession, user: Principal, user_id: UUID) -> Membership:
    """An active member of the caller's tenant. Raises UserNotFound."""
    membership = await models.find_membership(db, user.tenant_id, user_id) if user.tenant_id else None
    if membership is None or membership.status != "active":
        raise UserNotFound
    return membership


def require(caller: Principal, scopes: Iterable[str]) -> None:
    """Raises InsufficientScope unless the caller has all of `scopes`."""
    if missing := sorted(set(scopes) - caller.scopes):
        raise InsufficientScope(scopes=missing)


async def read(db: AsyncSession, tenant_id: UUID) -> Tenant:
    if (tenant := await db.get(Tenant, tenant_id)) is None:
        raise TenantNotFound
    return tenant


async def page(fleet: AsyncSession, user: Principal, query: ListQuery) -> tuple[Sequence[Tenant], str | None]:
    """The tenants that the person is a member of or invited to; all of them for an operator. Looks across tenants."""
    rows = select(Tenant)
    if "system:read" not in user.scopes:
        mine = select(Membership.tenant_id).where(Membership.user_id == user.user_id, Membership.status.in_(LIVING))
        rows = rows.where(Tenant.tenant_id.in_(mine))
    return await by_cursor(fleet, rows, query, _SORTABLE, Tenant.tenant_id)


def scopes_for(changes: Iterable[str]) -> set[str]:
    """The scopes that a change of these fields needs: the tenant's admins change the name, operators the rest."""
    return {"tenant:write" if name == "name" else "system:write" for name in changes}


async def change(
    db: AsyncSession, user: Principal, tenant_id: UUID, changes: dict[str, Any], allow: AllowWrite
) -> Tenant:
    """`apply` the changes for a caller whose current roles permit each of them."""
    await authorize_tenant_write(db, user, tenant_id, *scopes_for(changes))
    return await apply(db, tenant_id, changes, allow)


async def apply(db: AsyncSession, tenant_id: UUID, changes: dict[str, Any], allow: AllowWrite) -> Tenant:
    """Set the fields in `changes`; the tenant that results. An unchanged value makes no version and no event.

    A tenant that becomes active is no longer to be erased. Raises TenantNotFound, TenantErasing.
    """
    tenant = await models.lock_tenant(db, tenant_id)
    if tenant is None:
        raise TenantNotFound
    allow(tenant.version)
    news = {name: value for name, value in changes.items() if getattr(tenant, name) != value}
    status = news.pop("status", None)
    if news:
        for name, value in news.items():
            setattr(tenant, name, value)
        _publish(db, tenant, TenantUpdated)
    if status == "active":
        if await db.scalar(select(Tenant.erase_at <= func.now()).where(Tenant.tenant_id == tenant_id)):
            raise TenantErasing
        tenant.erase_at = None
    if status is not None:
        tenant.status, tenant.changed_at = status, func.clock_timestamp()
        _publish(db, tenant, TenantSuspended if status == "suspended" else TenantResumed)
    await db.flush()
    await db.refresh(tenant)
    return tenant


def _publish(db: AsyncSession, tenant: Tenant, event: type[TenantEvent]) -> None:
    tenant.version += 1
    outbox.add(db, event.of(tenant))
