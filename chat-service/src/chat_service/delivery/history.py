"""Reading what a hint missed: the frames after a number, and the last numbers of all that is followed."""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, select, text

from chat_service.delivery.outgoing import encoded
from chat_service.delivery.subscription import Rows
from chat_service.messages import models as messages
from chat_service.messages.service import frame_of as message_frame
from chat_service.notifications import models as notifications
from chat_service.notifications.service import frame_of as notification_frame
from chat_service.push import StreamKey, StreamKind
from chat_service.rooms.models import RoomMember
from shared.data.database import Database

PAGE: Final = 100

_UUIDS: Final = ARRAY(Uuid())
_LAST_NUMBERS: Final = text("""
    SELECT 'room' AS stream, r.tenant_id, r.id, r.last_seq, r.epoch, r.members_version
    FROM rooms r JOIN unnest(:room_tenants, :rooms) AS wanted(tenant_id, id) USING (tenant_id, id)
    UNION ALL
    SELECT 'person', p.tenant_id, p.user_id, p.last_seq, '', 0
    FROM recipients p JOIN unnest(:person_tenants, :persons) AS wanted(tenant_id, user_id) USING (tenant_id, user_id)
""").bindparams(*(bindparam(name, type_=_UUIDS) for name in ("room_tenants", "rooms", "person_tenants", "persons")))


class StreamHead:
    """Where a stream is in the database. `epoch` and `members_version` are a room's."""

    __slots__ = ("epoch", "key", "last_seq", "members_version")

    def __init__(self, row: Any) -> None:
        self.key = StreamKey(StreamKind(row.stream), row.tenant_id, row.id)
        self.last_seq: int = row.last_seq
        self.epoch: str = row.epoch
        self.members_version: int = row.members_version


async def frames_after(database: Database, key: StreamKey, seq: int) -> Rows:
    """At most PAGE frames that follow `seq`, in order. Raises DatabaseUnavailable."""
    async with database.transaction(key.tenant_id) as db:
        if key.kind is StreamKind.ROOM:
            found = await messages.after(db, key.tenant_id, key.id, seq, PAGE)
            return [(one.seq, encoded(message_frame(one))) for one in found]
        stored = await notifications.after(db, key.tenant_id, key.id, seq, PAGE)
        return [(one.seq, encoded(notification_frame(one))) for one in stored]


async def last_numbers(database: Database, keys: Collection[StreamKey]) -> Sequence[StreamHead]:
    """Where each of the streams is, in one query across tenants; a stream without a row is left out."""
    rooms = [key for key in keys if key.kind is StreamKind.ROOM]
    persons = [key for key in keys if key.kind is StreamKind.PERSON]
    wanted = {
        "room_tenants": [key.tenant_id for key in rooms],
        "rooms": [key.id for key in rooms],
        "person_tenants": [key.tenant_id for key in persons],
        "persons": [key.id for key in persons],
    }
    async with database.transaction(role="fleet") as db:
        return [StreamHead(row) for row in await db.execute(_LAST_NUMBERS, wanted)]


async def last_notification(database: Database, key: StreamKey) -> int:
    async with database.transaction(key.tenant_id) as db:
        return await notifications.last_seq(db, key.tenant_id, key.id)


async def members_among(database: Database, key: StreamKey, user_ids: Collection[UUID]) -> set[UUID]:
    """Which of the people are members of the room now."""
    rows = select(RoomMember.user_id).where(
        RoomMember.tenant_id == key.tenant_id, RoomMember.room_id == key.id, RoomMember.user_id.in_(user_ids)
    )
    async with database.transaction(key.tenant_id) as db:
        return set((await db.scalars(rows)).all())
