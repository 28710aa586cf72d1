from typing import Annotated

from fastapi import Depends, Query

from chat_service.presence.register import Presence
from chat_service.presence.schemas import PresenceOut, PresenceQuery
from chat_service.rooms import service as rooms
from shared.deps import CurrentUser, Db, require_scopes, resource
from shared.problems import NoTenant, NotFound, raises
from shared.web.router import Router

router = Router(prefix="/api/v1/presence", tags=["presence"])


@router.get("", dependencies=[Depends(require_scopes("chat:read"))])
@raises(NoTenant, NotFound)
async def read_presence(
    user: CurrentUser,
    db: Db,
    query: Annotated[PresenceQuery, Query()],
    presence: Annotated[Presence, resource(Presence)],
) -> PresenceOut:
    """Who is in a room now."""
    room = await rooms.read(db, user, query.room_id)
    return PresenceOut.of(room.id, await presence.users((room.tenant_id, room.id)))
