"""The directory: the people of the caller's tenant."""

from typing import Annotated, Any

from fastapi import Depends, Query

from shared.deps import Conditions, CurrentUser, Db, UserId, require_scopes
from shared.problems import InsufficientScope, NoTenant, raises
from shared.web.paging import Pagination
from shared.web.router import Router
from users_service.tenants.service import UserNotFound
from users_service.users import service
from users_service.users.schemas import NumberedUserPage, UserDetail, UserOut, UserPage, UserQuery, UserStats
from users_service.users.service import User

router = Router(prefix="/api/v1/users", tags=["users"], dependencies=[Depends(require_scopes("user:read"))])


@router.get("")
@raises(NoTenant, InsufficientScope)
async def list_users(user: CurrentUser, db: Db, query: Annotated[UserQuery, Query()]) -> UserPage | NumberedUserPage:
    """The active members of the caller's tenant; with admin:read or user:write also those of another status."""
    found, following = await service.page(db, user, query)
    shown = [UserOut.model_validate(_listed(one)) for one in found]
    if isinstance(following, Pagination):
        return NumberedUserPage(users=shown, pagination=following)
    return UserPage(users=shown, next_cursor=following)


@router.get("/{user_id}")
@raises(UserNotFound)
async def read_user(user_id: UserId, user: CurrentUser, db: Db, conditions: Conditions) -> UserDetail:
    """One active member of the caller's tenant; with admin:read or user:write also one of another status."""
    membership, profile = await service.read(db, user, user_id)
    conditions.shows(f"{membership.version}.{profile.version if profile else ''}")
    return _shown((membership, profile))


@router.get("/{user_id}/stats")
@raises(UserNotFound)
async def read_user_stats(user_id: UserId, user: CurrentUser, db: Db) -> UserStats:
    """Counts about one active member of the caller's tenant."""
    found, counts = await service.stats(db, user, user_id)
    return UserStats(user=_shown(found), **counts)


def _shown(user: User) -> UserDetail:
    _, profile = user
    public = {"bio": profile and profile.bio, "locale": profile and profile.locale}
    return UserDetail.model_validate(_listed(user) | public)


def _listed(user: User) -> dict[str, Any]:
    membership, profile = user
    return {
        "id": membership.user_id,
        "username": membership.username,
        "name": profile and profile.full_name,
        "roles": membership.roles,
        "status": membership.status,
        "created_at": membership.created_at,
    }
