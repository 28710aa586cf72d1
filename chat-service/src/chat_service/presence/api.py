from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from chat_service.deps import CurrentUser, Db, require_scopes
from chat_service.presence.register import Presence
from chat_service.presence.schemas import PresenceOut, PresentUser
from chat_service.rooms import service as rooms
from shared.web.router import Router

router = Router(prefix="/api/v1/presence", tags=["presence"])


class PresenceQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    room_id: UUID = Field(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])


def register(request: Request) -> Presence:
    held: Presence = request.app.state.presence
    return held


@router.get("", dependencies=[Depends(require_scopes("chat:read"))])
async def read_presence(
    user: CurrentUser,
    db: Db,
    query: Annotated[PresenceQuery, Query()],
    presence: Annotated[Presence, Depends(register)],
) -> PresenceOut:
    """Who is in a room now."""
    room = await rooms.read(db, user, query.room_id)
    return shown(room.id, await presence.users((room.tenant_id, room.id)))


def shown(room_id: UUID, users: dict[UUID, str]) -> PresenceOut:
    by_name = sorted(users.items(), key=lambda user: (user[1], user[0]))
    return PresenceOut(room_id=room_id, users=[PresentUser(id=id_, username=name) for id_, name in by_name])
