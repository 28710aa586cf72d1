"""Making rooms, seeing them, and being a member of them."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.people import service as people
from chat_service.people.service import AskName
from chat_service.rooms import models
from chat_service.rooms.models import Room, RoomKind, RoomMember
from chat_service.rooms.schemas import RoomQuery
from shared.data.errors import violates
from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import Conflict, FieldError, Forbidden, InvalidInput, NotFound
from shared.web.paging import ListQuery, by_cursor


class RoomNameTaken(Conflict):
    """Another public room of the tenant has this name, without regard to case."""

    status, title = 409, "The room's name is taken"
    remedy = "Choose another name, or join the room that has it."


class DirectRoomFixed(Conflict):
    """A direct room is between its two people: nobody is added and nobody leaves."""

    status, title = 409, "A direct room's members are fixed"
    remedy = "Make a private room for more people."


async def make_named(db: AsyncSession, user: Principal, kind: RoomKind, name: str) -> Room:
    """A new public or private room, with its maker as the first member. Raises RoomNameTaken."""
    tenant_id = tenant_of(user)
    room = Room(tenant_id=tenant_id, id=new_id(), kind=kind, name=name, created_by=user.user_id, epoch=new_id().hex)
    db.add(room)
    try:
        await db.flush()
    except IntegrityError as error:
        if violates(error, "uq_rooms_public_name"):
            raise RoomNameTaken from None
        raise
    await join(db, user, room)
    await db.refresh(room)
    return room


async def make_direct(db: AsyncSession, user: Principal, other_id: UUID, ask: AskName) -> tuple[Room, bool]:
    """The room of these two people, and whether it is new. Raises NotFound where the other is not in the tenant."""
    tenant_id = tenant_of(user)
    if other_id == user.user_id:
        raise InvalidInput(errors=[FieldError("A direct room needs somebody else.", "own_id", "#/user_id")])
    other = await people.username_of(db, tenant_id, other_id, ask)
    key = ":".join(sorted((str(user.user_id), str(other_id))))
    row = insert(Room).values(
        tenant_id=tenant_id,
        id=new_id(),
        kind=RoomKind.DIRECT,
        direct_key=key,
        created_by=user.user_id,
        epoch=new_id().hex,
    )
    made = await db.scalar(row.on_conflict_do_nothing(constraint="uq_rooms_direct_key").returning(Room.id))
    found = select(Room).where(Room.tenant_id == tenant_id, Room.direct_key == key)
    room = (await db.scalars(found.with_for_update(key_share=True))).one()  # both at once would wait for each other
    await join(db, user, room)  # also into an old room: a membership that ended took both out of it
    await models.put_member(db, tenant_id, room.id, other_id, other)
    return room, made is not None


async def read(db: AsyncSession, user: Principal, room_id: UUID) -> Room:
    """Raises NotFound for a room that is not there or that the person may not know of."""
    found = await models.find_visible(db, tenant_of(user), user.user_id, room_id)
    if found is None:
        raise NotFound("There is no such room for you.")
    return found


async def page(db: AsyncSession, user: Principal, query: RoomQuery) -> tuple[Sequence[Room], str | None]:
    rows = models.visible_to(tenant_of(user), user.user_id)
    if query.kind:
        rows = rows.where(Room.kind.in_(query.kind))
    return await by_cursor(db, rows, query, {"created_at": Room.created_at}, Room.id)


async def members(
    db: AsyncSession, user: Principal, room_id: UUID, query: ListQuery
) -> tuple[Sequence[RoomMember], str | None]:
    room = await read(db, user, room_id)
    rows = select(RoomMember).where(RoomMember.tenant_id == room.tenant_id, RoomMember.room_id == room.id)
    sortable = {"created_at": RoomMember.created_at, "username": RoomMember.username}
    return await by_cursor(db, rows, query, sortable, RoomMember.user_id)


async def join(db: AsyncSession, user: Principal, room: Room) -> bool:
    """Make the caller a member of a room that they see; whether that is new. Raises InvalidToken."""
    await people.authorize_write(db, user)
    return await models.put_member(db, room.tenant_id, room.id, user.user_id, user.username)


async def require_member(db: AsyncSession, user: Principal, room_id: UUID) -> RoomMember:
    """Raises NotFound for who is no member, also of a public room: subscribing makes one."""
    found = await models.find_member(db, tenant_of(user), room_id, user.user_id)
    if found is None:
        raise NotFound("You are no member of such a room.")
    return found


async def add_member(
    db: AsyncSession, user: Principal, room_id: UUID, user_id: UUID, ask: AskName
) -> tuple[RoomMember, bool]:
    """Make a person of the tenant a member, and whether that is new. A member adds others; into a public room anyone
    of the tenant goes alone. Raises InvalidToken."""
    await people.authorize_write(db, user)
    room = await read(db, user, room_id)
    if user_id == user.user_id:
        added = await join(db, user, room)
    else:
        if await models.find_member(db, room.tenant_id, room.id, user.user_id) is None:
            raise Forbidden("Only a member of the room adds others to it.")
        if room.kind == RoomKind.DIRECT and await models.find_member(db, room.tenant_id, room.id, user_id) is None:
            raise DirectRoomFixed
        username = await people.username_of(db, room.tenant_id, user_id, ask)
        added = await models.put_member(db, room.tenant_id, room.id, user_id, username)
    member = await models.find_member(db, room.tenant_id, room.id, user_id)
    if member is None:
        raise NotFound("The person was taken out of the room at the same moment.")
    return member, added


async def remove_member(db: AsyncSession, user: Principal, room_id: UUID, user_id: UUID) -> None:
    """Take a person out: oneself, or anyone by the room's maker and by who may moderate. Raises InvalidToken."""
    await people.authorize_write(db, user)
    room = await read(db, user, room_id)
    if user_id != user.user_id and room.created_by != user.user_id and "chat:moderate" not in user.scopes:
        raise Forbidden("Only the room's maker and moderators take others out.")
    if await models.find_member(db, room.tenant_id, room.id, user_id) is None:
        raise NotFound("Nobody by this id is a member of the room.")
    if room.kind == RoomKind.DIRECT:
        raise DirectRoomFixed
    await models.drop_member(db, room.tenant_id, room.id, user_id)
