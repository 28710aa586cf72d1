"""The directory of the caller's tenant: its members with the public part of their profiles."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.principal import Principal, tenant_of
from shared.problems import InsufficientScope
from shared.web.paging import Pagination, by_query
from users_service.files import models as files
from users_service.follows import models as follows
from users_service.members import service as members
from users_service.posts import models as posts
from users_service.profiles import models as profiles
from users_service.profiles.models import Profile
from users_service.tenants.models import Membership, account_age_days, find_membership
from users_service.tenants.service import UserNotFound, read_active
from users_service.users.schemas import UserQuery

User = tuple[Membership, Profile | None]
"""A member and what they show; None while they have not accepted the invitation."""


async def page(db: AsyncSession, user: Principal, query: UserQuery) -> tuple[list[User], str | Pagination | None]:
    """Members by the list grammar, active ones unless asked. Raises InsufficientScope for another status."""
    statuses = query.status or ["active"]
    if statuses != ["active"] and not _sees_everyone(user):
        raise InsufficientScope(scopes=["admin:read"])
    tenant_id = tenant_of(user)
    rows = members.matching(tenant_id, statuses, query.role, query.username)
    if query.ids:
        rows = rows.where(Membership.user_id.in_(query.ids))
    found, following = await by_query(db, rows, query, members.SORTABLE, Membership.user_id)
    return await _with_profiles(db, tenant_id, found), following


async def read(db: AsyncSession, user: Principal, user_id: UUID) -> User:
    """One member whom the caller may see. Raises UserNotFound."""
    membership = await find_membership(db, user.tenant_id, user_id) if user.tenant_id else None
    if membership is None or not membership.living or not (membership.status == "active" or _sees_everyone(user)):
        raise UserNotFound
    return (await _with_profiles(db, membership.tenant_id, [membership]))[0]


async def stats(db: AsyncSession, user: Principal, user_id: UUID) -> tuple[User, dict[str, int]]:
    """One active member, and the counts of UserStats. Raises UserNotFound."""
    membership = await read_active(db, user, user_id)
    tenant_id = membership.tenant_id
    followers, following = await follows.count(db, tenant_id, user_id)
    [found] = await _with_profiles(db, tenant_id, [membership])
    return found, {
        "posts_count": await posts.count_published(db, tenant_id, [user_id]),
        "files_count": await files.count(db, tenant_id, user_id),
        "followers_count": followers,
        "following_count": following,
        "account_age_days": await account_age_days(db, user_id),
    }


def _sees_everyone(user: Principal) -> bool:
    return not user.scopes.isdisjoint({"admin:read", "user:write"})


async def _with_profiles(db: AsyncSession, tenant_id: UUID, found: Sequence[Membership]) -> list[User]:
    accepted = [one.user_id for one in found if one.status != "invited"]
    known = await profiles.of_people(db, tenant_id, accepted)
    return [(one, known.get(one.user_id)) for one in found]
