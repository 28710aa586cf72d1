"""Sending a message and reading history."""

from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from chat_service.messages import models
from chat_service.messages.models import Message
from chat_service.messages.schemas import History, HistoryQuery, MessageOut
from chat_service.push import Stored, StreamKey, StreamKind
from chat_service.rooms import models as room_models
from chat_service.rooms import service as rooms
from chat_service.rooms.models import Room, RoomMember
from shared.data.after_commit import announce
from shared.identity.principal import Principal, tenant_of
from shared.ids import new_id
from shared.problems import NotFound


async def send(db: AsyncSession, user: Principal, room_id: UUID, text: str, client_id: str) -> tuple[Message, bool]:
    """Store the message under the room's next number; returns whether it is new. Raises NotFound for non-members.

    The room row's lock makes numbers commit in order, so a reader who sees number n can read all below it. Sent again
    with the same client_id, the first message is returned.
    """
    tenant_id = tenant_of(user)
    room = await room_models.find_visible(db, tenant_id, user.user_id, room_id, for_update=True)
    if room is None or await room_models.find_member(db, tenant_id, room_id, user.user_id) is None:
        raise NotFound("No such room, or you are not a member of it.")
    new = {
        "tenant_id": tenant_id,
        "room_id": room_id,
        "seq": room.last_seq + 1,
        "id": new_id(),
        "client_id": client_id,
        "sender_id": user.user_id,
        "sender_username": user.username,
        "text": text,
    }
    stored = await models.store(db, new)
    if stored is None:
        sent = await models.find_sent(db, tenant_id, room_id, user.user_id, client_id)
        if sent is None:
            raise NotFound("The message was erased.")
        return sent, False
    await db.execute(update(Room).where(Room.tenant_id == tenant_id, Room.id == room_id).values(last_seq=stored.seq))
    announce(db, Stored(StreamKey(StreamKind.ROOM, tenant_id, room_id), stored.seq, frame_of(stored)))
    return stored, True


def frame_of(message: Message) -> dict[str, Any]:
    """The message as it is pushed."""
    return {"type": "message", **MessageOut.of(message).model_dump(mode="json")}


async def history(db: AsyncSession, user: Principal, room_id: UUID, query: HistoryQuery) -> History:
    """One page of a room that the person may see, oldest first."""
    room = await rooms.read(db, user, room_id)
    wanted = query.limit + 1  # one more shows whether there are more
    if query.after is not None:
        found = await models.after(db, room.tenant_id, room.id, query.after, wanted)
        shown = found[: query.limit]
    else:
        found = await models.before(db, room.tenant_id, room.id, query.before, wanted)
        shown = found[-query.limit :]
    return History(items=[MessageOut.of(message) for message in shown], has_more=len(found) > query.limit)


async def mark_read(db: AsyncSession, user: Principal, room_id: UUID, seq: int) -> None:
    """Store that the person has read up to `seq`; it never moves back, nor past the newest message."""
    member = await rooms.require_member(db, user, room_id)
    room = await rooms.read(db, user, room_id)
    reached = max(member.read_seq, min(seq, room.last_seq))
    mine = (
        RoomMember.tenant_id == room.tenant_id,
        RoomMember.room_id == room.id,
        RoomMember.user_id == user.user_id,
        RoomMember.read_seq < reached,
    )
    await db.execute(update(RoomMember).where(*mine).values(read_seq=reached))
