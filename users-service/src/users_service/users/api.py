from typing import Annotated

from fastapi import Depends, Query

from shared.deps import Conditions, CurrentUser, Db, UserId, require_scopes
from shared.problems import raises
from shared.web.paging import CursorPage
from shared.web.router import Router
from users_service.tenants.service import UserNotFound
from users_service.users import service
from users_service.users.schemas import UserOut, UserQuery, UserStats
from users_service.users.service import User

router = Router(prefix="/api/v1/users", tags=["users"], dependencies=[Depends(require_scopes("user:read"))])


@router.get("")
async def list_users(user: CurrentUser, db: Db, query: Annotated[UserQuery, Query()]) -> CursorPage[UserOut]:
    """The active members of the caller's tenant."""
    found, following = await service.page(db, user, query)
    return CursorPage(items=[_shown(one) for one in found], next_cursor=following)


@router.get("/{user_id}")
@raises(UserNotFound)
async def read_user(user_id: UserId, user: CurrentUser, db: Db, conditions: Conditions) -> UserOut:
    """One active member of the caller's tenant."""
    membership, profile = await service.read(db, user, user_id)
    conditions.shows(f"{membership.version}.{profile.version}")
    return _shown((membership, profile))


@router.get("/{user_id}/stats")
@raises(UserNotFound)
async def read_user_stats(user_id: UserId, user: CurrentUser, db: Db) -> UserStats:
    """Counts about one active member of the caller's tenant."""
    found, counts = await service.stats(db, user, user_id)
    return UserStats(user=_shown(found), **counts)


def _shown(user: User) -> UserOut:
    membership, profile = user
    return UserOut(
        id=membership.user_id,
        username=membership.username,
        full_name=profile.full_name,
        bio=profile.bio,
        locale=profile.locale,
        roles=membership.roles,
        created_at=membership.created_at,
    )
