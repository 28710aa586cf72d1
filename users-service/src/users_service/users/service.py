"""The directory of the caller's tenant: active members with the public part of their profiles."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from shared.identity.principal import Principal
from shared.problems import NotFound
from users_service.members import service as members
from users_service.members.schemas import MemberQuery
from users_service.profiles import models as profiles
from users_service.profiles.models import Profile
from users_service.tenants.models import Membership, find_membership
from users_service.users.schemas import UserQuery


class UserNotFound(NotFound):
    """No active member of the caller's tenant has this id."""

    status, title = 404, "No such user"


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
    membership = await find_membership(db, user.tenant_id, user_id) if user.tenant_id else None
    if membership is None or membership.status != "active":
        raise UserNotFound
    return (await _with_profiles(db, membership.tenant_id, [membership]))[0]


async def _with_profiles(db: AsyncSession, tenant_id: UUID, found: Sequence[Membership]) -> list[User]:
    known = await profiles.of_people(db, tenant_id, [one.user_id for one in found])
    return [(one, known[one.user_id]) for one in found]
