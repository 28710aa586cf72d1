"""Following people of the caller's tenant, and notifying their followers."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from shared.field_errors import FieldRule
from shared.identity.principal import Principal, tenant_of
from shared.problems import InvalidInput
from shared.web.paging import ListQuery, by_cursor
from users_service.follows import models
from users_service.follows.models import Follow
from users_service.notifications import service as notifications
from users_service.posts import models as posts
from users_service.profiles import models as profiles
from users_service.profiles.models import Profile
from users_service.tenants.models import hold_tenant, lock_membership
from users_service.tenants.service import UserNotFound, authorize_write, read_active

OWN_ID = FieldRule("own_id", "Must be another person's id.")

_SORTABLE = {"created_at": Follow.created_at}

Shown = tuple[Profile, datetime]
"""A person, and since when they follow or are followed."""


async def follow(db: AsyncSession, user: Principal, user_id: UUID) -> None:
    """Follow an active member of the caller's tenant. Raises UserNotFound, InvalidInput for oneself.

    Both memberships are held, so that one that ends meanwhile takes this follow with it.
    """
    await authorize_write(db, user, "profile:write")
    if user_id == user.user_id:
        raise InvalidInput(errors=[OWN_ID.at(parameter="user_id")])
    found = await lock_membership(db, tenant_of(user), user_id)
    if found is None or found[0].status != "active":
        raise UserNotFound
    await models.add(db, tenant_of(user), user.user_id, user_id)


async def unfollow(db: AsyncSession, user: Principal, user_id: UUID) -> None:
    """End the caller's follow, if there is one. Raises UserNotFound."""
    await authorize_write(db, user, "profile:write")
    await read_active(db, user, user_id)
    await models.remove(db, tenant_of(user), user.user_id, user_id)


async def followers(
    db: AsyncSession, user: Principal, user_id: UUID, query: ListQuery
) -> tuple[list[Shown], str | None]:
    """Those who follow an active member of the caller's tenant. Raises UserNotFound."""
    return await _page(db, user, user_id, query, of=Follow.followed_id, shown=Follow.follower_id)


async def following(
    db: AsyncSession, user: Principal, user_id: UUID, query: ListQuery
) -> tuple[list[Shown], str | None]:
    """Those whom an active member of the caller's tenant follows. Raises UserNotFound."""
    return await _page(db, user, user_id, query, of=Follow.follower_id, shown=Follow.followed_id)


async def notify_followers(
    db: AsyncSession, tenant_id: UUID, author_id: UUID, post_id: UUID, occasion_id: UUID
) -> None:
    """Have the author's followers notified of a post, unless it is no longer there to be read."""
    if not await hold_tenant(db, tenant_id):
        return
    post = await posts.find(db, tenant_id, post_id)
    if post is None or post.status != "published":
        return
    notifications.request(
        db,
        tenant_id,
        await models.follower_ids(db, tenant_id, author_id),
        "post.published",
        subject=post_id,
        occasion_id=occasion_id,
        data={"post_id": post_id, "author_id": author_id},
    )


async def _page(
    db: AsyncSession,
    user: Principal,
    user_id: UUID,
    query: ListQuery,
    *,
    of: InstrumentedAttribute[UUID],
    shown: InstrumentedAttribute[UUID],
) -> tuple[list[Shown], str | None]:
    tenant_id = (await read_active(db, user, user_id)).tenant_id
    rows = select(Follow).where(Follow.tenant_id == tenant_id, of == user_id)
    found, further = await by_cursor(db, rows, query, _SORTABLE, shown, within=user_id)
    return await _with_profiles(db, tenant_id, [(getattr(one, shown.key), one.created_at) for one in found]), further


async def _with_profiles(db: AsyncSession, tenant_id: UUID, found: Sequence[tuple[UUID, datetime]]) -> list[Shown]:
    known = await profiles.of_people(db, tenant_id, [user_id for user_id, _ in found])
    return [(known[user_id], since) for user_id, since in found]
