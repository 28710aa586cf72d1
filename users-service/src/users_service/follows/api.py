"""Following people, and the lists of who follows whom."""

from typing import Annotated

from fastapi import Depends, Query

from shared.deps import CurrentUser, Db, UserId, require_scopes
from shared.problems import InvalidInput, NoTenant, raises
from shared.web.paging import CursorPage
from shared.web.router import Router
from users_service.follows import service
from users_service.follows.schemas import FollowerQuery, FollowingQuery, FollowOut
from users_service.tenants.service import UserNotFound

router = Router(prefix="/api/v1/users/{user_id}", tags=["users"])

READ, WRITE = [Depends(require_scopes("user:read"))], [Depends(require_scopes("profile:write"))]


@router.put("/follow", status_code=204, dependencies=WRITE)
@raises(UserNotFound, NoTenant, InvalidInput)
async def follow_user(user_id: UserId, user: CurrentUser, db: Db) -> None:
    """Follow an active member of the caller's tenant; again changes nothing. Followers are notified of posts."""
    await service.follow(db, user, user_id)


@router.delete("/follow", status_code=204, dependencies=WRITE)
@raises(UserNotFound, NoTenant)
async def unfollow_user(user_id: UserId, user: CurrentUser, db: Db) -> None:
    """End following an active member; nothing changes where the caller does not follow them."""
    await service.unfollow(db, user, user_id)


@router.get("/followers", dependencies=READ)
@raises(UserNotFound)
async def list_followers(
    user_id: UserId, user: CurrentUser, db: Db, query: Annotated[FollowerQuery, Query()]
) -> CursorPage[FollowOut]:
    """The members who follow this one."""
    found, further = await service.followers(db, user, user_id, query)
    return CursorPage(items=[FollowOut.of(*one) for one in found], next_cursor=further)


@router.get("/following", dependencies=READ)
@raises(UserNotFound)
async def list_following(
    user_id: UserId, user: CurrentUser, db: Db, query: Annotated[FollowingQuery, Query()]
) -> CursorPage[FollowOut]:
    """The members whom this one follows."""
    found, further = await service.following(db, user, user_id, query)
    return CursorPage(items=[FollowOut.of(*one) for one in found], next_cursor=further)
