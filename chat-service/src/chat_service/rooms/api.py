from typing import Annotated

from fastapi import Body, Depends, Query, Response

from chat_service.deps import RoomId
from chat_service.people.directory import Directory
from chat_service.rooms import service
from chat_service.rooms.models import RoomKind
from chat_service.rooms.schemas import DirectRoomIn, MemberOut, RoomIn, RoomOut, RoomQuery
from chat_service.rooms.service import DirectRoomFixed, RoomNameTaken
from shared.deps import Conditions, CurrentUser, Db, UserId, require_scopes
from shared.problems import Forbidden, NoTenant, NotFound, raises
from shared.web.idempotency import IdempotentJson
from shared.web.paging import CursorPage, ListQuery
from shared.web.router import Router

router = Router(prefix="/api/v1/rooms", tags=["rooms"])

READ, WRITE = [Depends(require_scopes("chat:read"))], [Depends(require_scopes("chat:write"))]
_EXAMPLE = {"kind": "direct", "user_id": "01890a5d-ac96-774b-bcce-b302099a8057"}


@router.post(
    "", status_code=201, dependencies=WRITE, responses={200: {"model": RoomOut, "description": "Already existed."}}
)
@raises(NoTenant, NotFound, RoomNameTaken)
async def make_room(
    body: Annotated[RoomIn, Body(examples=[_EXAMPLE])],
    user: CurrentUser,
    db: Db,
    once: IdempotentJson,
    directory: Directory,
    response: Response,
) -> RoomOut:
    """Make a room, or find the direct room of the same two people (200)."""
    if isinstance(body, DirectRoomIn):
        room, is_new = await service.make_direct(db, user, body.user_id, directory)
        response.status_code = 201 if is_new else 200
    else:
        room = await service.make_named(db, user, RoomKind(body.kind), body.name)
        response.status_code = 201
    made = RoomOut.model_validate(room)
    await once.keep(made, response.status_code)
    return made


@router.get("", dependencies=READ)
@raises(NoTenant)
async def list_rooms(user: CurrentUser, db: Db, query: Annotated[RoomQuery, Query()]) -> CursorPage[RoomOut]:
    """The tenant's public rooms and those that the caller is a member of."""
    found, following = await service.page(db, user, query)
    return CursorPage(items=[RoomOut.model_validate(room) for room in found], next_cursor=following)


@router.get("/{room_id}", dependencies=READ)
@raises(NoTenant, NotFound)
async def read_room(room_id: RoomId, user: CurrentUser, db: Db, conditions: Conditions) -> RoomOut:
    """One room."""
    room = await service.read(db, user, room_id)
    conditions.shows(f"{room.epoch}.{room.last_seq}")
    return RoomOut.model_validate(room)


@router.get("/{room_id}/members", dependencies=READ)
@raises(NoTenant, NotFound)
async def list_members(
    room_id: RoomId, user: CurrentUser, db: Db, query: Annotated[ListQuery, Query()]
) -> CursorPage[MemberOut]:
    """Who is a member of the room."""
    found, following = await service.members(db, user, room_id, query)
    return CursorPage(items=[MemberOut.model_validate(member) for member in found], next_cursor=following)


@router.put("/{room_id}/members/{user_id}", status_code=201, dependencies=WRITE)
@raises(NoTenant, NotFound, Forbidden, DirectRoomFixed)
async def add_member(
    room_id: RoomId, user_id: UserId, user: CurrentUser, db: Db, directory: Directory, response: Response
) -> MemberOut:
    """Make a person of the tenant a member of the room; again: 200."""
    member, is_new = await service.add_member(db, user, room_id, user_id, directory)
    response.status_code = 201 if is_new else 200
    return MemberOut.model_validate(member)


@router.delete("/{room_id}/members/{user_id}", status_code=204, dependencies=WRITE)
@raises(NoTenant, NotFound, Forbidden, DirectRoomFixed)
async def remove_member(room_id: RoomId, user_id: UserId, user: CurrentUser, db: Db) -> None:
    """Leave the room, or remove a member from it."""
    await service.remove_member(db, user, room_id, user_id)
