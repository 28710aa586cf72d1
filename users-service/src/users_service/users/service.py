"""The directory of the caller's tenant: active members with the public part of their profiles."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.principal import Principal
from users_service.files import models as files
from users_service.follows import models as follows
from users_service.members import service as members
from users_service.members.schemas import MemberQuery
from users_service.posts import models as posts
from users_service.profiles import models as profiles
from users_service.profiles.models import Profile
from users_service.tenants.models import Membership, account_age_days
from users_service.tenants.service import read_active
from users_service.users.schemas import UserQuery

User = tuple[Membership, Profile]


async def page(db: AsyncSession, user: Principal, query: UserQuery) -> tuple[Sequence[User], str | None]:
    """Active members by the list grammar; none if the caller's session has no tenant."""
    if user.tenant_id is None:
        return [], None
    asked = MemberQuery.model_validate({**query.model_dump(), "status": ["active"]})
    found, following = await members.page(db, user.tenant_id, asked)
    return await _with_profiles(db, user.tenant_id, found), following


async def read(db: AsyncSession, user: Principal, user_id: UUID) -> User:
    """One active member. Raises UserNotFound."""
    membership = await read_active(db, user, user_id)
    return (await _with_profiles(db, membership.tenant_id, [membership]))[0]


async def stats(db: AsyncSession, user: Principal, user_id: UUID) -> tuple[User, dict[str, int]]:
    """One active member, and the counts of UserStats. Raises UserNotFound."""
    found = await read(db, user, user_id)
    tenant_id = found[0].tenant_id
    followers, following = await follows.count(db, tenant_id, user_id)
    return found, {
        "posts_count": await posts.count_published(db, tenant_id, [user_id]),
        "files_count": await files.count(db, tenant_id, user_id),
        "followers_count": followers,
        "following_count": following,
        "account_age_days": await account_age_days(db, user_id),
    }


async def _with_profiles(db: AsyncSession, tenant_id: UUID, found: Sequence[Membership]) -> list[User]:
    known = await profiles.of_people(db, tenant_id, [one.user_id for one in found])
    return [(one, known[one.user_id]) for one in found]
