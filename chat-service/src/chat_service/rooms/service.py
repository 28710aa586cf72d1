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
from chat_service.rooms.models import PUBLIC_NAME_KEYS, Room, RoomKind, RoomMember
from chat_service.rooms.schemas import RoomQuery
from shared.data.errors import violates
from shared.field_errors import FieldRule
from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import Conflict, Forbidden, InvalidInput, NotFound
from shared.text import folded
from shared.web.paging import ListQuery, by_cursor

OWN_ID = FieldRule("own_id", "Must be another person's id.")


class RoomNameTaken(Conflict):
    """Another public room of the tenant has this name; case and characters that do not show make no difference."""

    status, title = 409, "The room's name is taken"
    remedy = "Choose another name, or join the room that has it."


class DirectRoomFixed(Conflict):
    """A direct room has exactly two members; members cannot be added or removed."""

    status, title = 409, "A direct room's members are fixed"
    remedy = "Create a private room for more people."


async def make_named(db: AsyncSession, user: Principal, kind: RoomKind, name: str) -> Room:
    """A new public or private room, with its creator as the first member. Raises RoomNameTaken."""
    tenant_id = tenant_of(user)
    room = Room(tenant_id=tenant_id, id=new_id(), kind=kind, name=name, created_by=user.user_id, epoch=new_id().hex)
    room.name_key = folded(name)
    if kind == RoomKind.PUBLIC:
        await models.fill_name_keys(db, tenant_id)
    db.add(room)
    try:
        await db.flush()
    except IntegrityError as error:
        if any(violates(error, index) for index in PUBLIC_NAME_KEYS):
            raise RoomNameTaken from None
        raise
    await join(db, user, room)
    await db.refresh(room)
    return room


async def make_direct(db: AsyncSession, user: Principal, other_id: UUID, ask: AskName) -> tuple[Room, bool]:
    """The room of these two people, and whether it is new. Raises NotFound if the other is not in the tenant."""
    tenant_id = tenant_of(user)
    if other_id == user.user_id:
        raise InvalidInput(errors=[OWN_ID.at("#/user_id")])
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
    """Raises NotFound for a room that does not exist or is not visible to the person."""
    found = await models.find_visible(db, tenant_of(user), user.user_id, room_id)
    if found is None:
        raise NotFound("No such room, or you may not see it.")
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
    return await by_cursor(db, rows, query, sortable, RoomMember.user_id, within=room.id)


async def join(db: AsyncSession, user: Principal, room: Room) -> bool:
    """Make the caller a member of a room that they see; returns whether that is new. Raises InvalidToken."""
    await people.authorize_write(db, user)
    return await models.put_member(db, room.tenant_id, room.id, user.user_id, user.username)


async def require_member(db: AsyncSession, user: Principal, room_id: UUID) -> RoomMember:
    """Raises NotFound for non-members, also of a public room: subscribing makes a member."""
    found = await models.find_member(db, tenant_of(user), room_id, user.user_id)
    if found is None:
        raise NotFound("No such room, or you are not a member of it.")
    return found


async def add_member(
    db: AsyncSession, user: Principal, room_id: UUID, user_id: UUID, ask: AskName
) -> tuple[RoomMember, bool]:
    """Make a person of the tenant a member; returns whether that is new. Members add others; anyone in the tenant can
    join a public room. Raises InvalidToken."""
    await people.authorize_write(db, user)
    room = await read(db, user, room_id)
    if user_id == user.user_id:
        added = await join(db, user, room)
    else:
        if await models.find_member(db, room.tenant_id, room.id, user.user_id) is None:
            raise Forbidden("Only members of the room can add others.")
        if room.kind == RoomKind.DIRECT and await models.find_member(db, room.tenant_id, room.id, user_id) is None:
            raise DirectRoomFixed
        username = await people.username_of(db, room.tenant_id, user_id, ask)
        added = await models.put_member(db, room.tenant_id, room.id, user_id, username)
    member = await models.find_member(db, room.tenant_id, room.id, user_id)
    if member is None:
        raise NotFound("The person was removed from the room at the same time.")
    return member, added


async def remove_member(db: AsyncSession, user: Principal, room_id: UUID, user_id: UUID) -> None:
    """Remove a member: oneself, or anyone by the room's creator and moderators. Raises InvalidToken."""
    await people.authorize_write(db, user)
    room = await read(db, user, room_id)
    if user_id != user.user_id and room.created_by != user.user_id and "chat:moderate" not in user.scopes:
        raise Forbidden("Only the room's creator and moderators can remove others.")
    if await models.find_member(db, room.tenant_id, room.id, user_id) is None:
        raise NotFound("No member of the room has this id.")
    if room.kind == RoomKind.DIRECT:
        raise DirectRoomFixed
    await models.drop_member(db, room.tenant_id, room.id, user_id)
