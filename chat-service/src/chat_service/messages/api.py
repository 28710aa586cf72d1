from typing import Annotated

from fastapi import Depends, Query, Response

from chat_service.deps import RoomId
from chat_service.messages import service
from chat_service.messages.rate import MessageRate, RateLimited
from chat_service.messages.schemas import History, HistoryQuery, MessageIn, MessageOut
from shared.deps import CurrentUser, Db, require_scopes, resource
from shared.identity.principal import tenant_of
from shared.problems import NoTenant, NotFound, raises
from shared.web.idempotency import IdempotentJson
from shared.web.router import Router

router = Router(prefix="/api/v1/rooms/{room_id}/messages", tags=["messages"])


@router.get("", dependencies=[Depends(require_scopes("chat:read"))])
@raises(NoTenant, NotFound)
async def list_messages(room_id: RoomId, user: CurrentUser, db: Db, query: Annotated[HistoryQuery, Query()]) -> History:
    """The room's history: the newest, or what comes after or before a number."""
    return await service.history(db, user, room_id, query)


@router.post(
    "",
    status_code=201,
    dependencies=[Depends(require_scopes("chat:write"))],
    responses={200: {"model": MessageOut, "description": "Sent before under this client_id."}},
)
@raises(NoTenant, NotFound, RateLimited)
async def send_message(
    room_id: RoomId,
    body: MessageIn,
    user: CurrentUser,
    db: Db,
    once: IdempotentJson,
    rate: Annotated[MessageRate, resource(MessageRate)],
    response: Response,
) -> MessageOut:
    """Send a message without a WebSocket; again under the same client_id: 200 and the message first stored."""
    await rate.take(tenant_of(user), user.user_id)
    message, is_new = await service.send(db, user, room_id, body.text, body.client_id)
    response.status_code = 201 if is_new else 200
    sent = MessageOut.of(message)
    await once.keep(sent, response.status_code)
    return sent
