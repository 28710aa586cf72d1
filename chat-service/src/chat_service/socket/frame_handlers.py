"""What each frame does. One frame is one transaction; only its own connection waits for it."""

import time
from typing import Final

from prometheus_client import Counter

from chat_service.delivery.hub import Hub
from chat_service.messages import service as messages
from chat_service.messages.rate import MessageRate, RateLimited
from chat_service.presence.register import Presence
from chat_service.presence.schemas import PresenceOut
from chat_service.rooms import service as rooms
from chat_service.rooms.models import Room, RoomKind
from chat_service.socket.connection import Connection
from chat_service.socket.frames import Frame, GetUsers, Read, Renew, Send, Subscribe, Typing, Unsubscribe
from shared.data.database import Database
from shared.identity.access_tokens import AccessTokenVerifier
from shared.identity.revocations import Revocations
from shared.problems import Forbidden, InvalidToken, NotFound

NEWEST: Final = 50  # messages that a newcomer gets

TYPING_DROPPED = Counter("flotilla_chat_typing_dropped_total", "Typing frames that were dropped: above the rate.")


class FrameHandlers:
    def __init__(
        self,
        database: Database,
        hub: Hub,
        presence: Presence,
        rate: MessageRate,
        access_tokens: AccessTokenVerifier,
        revocations: Revocations,
    ) -> None:
        self._database, self._hub, self._presence, self._rate = database, hub, presence, rate
        self._access_tokens, self._revocations = access_tokens, revocations

    def admit(self, connection: Connection, frame: Frame) -> bool:
        """Refuse frames that come too fast, before anything waits for them."""
        person = (connection.tenant_id, connection.user_id)
        if isinstance(frame, Send) and not self._rate.take_here(*person):
            connection.refuse(RateLimited(), frame.ref)
            return False
        if isinstance(frame, Typing) and not self._rate.take_typing(*person):
            TYPING_DROPPED.inc()  # without an answer: the next one says as much
            return False
        return True

    async def handle(self, connection: Connection, frame: Frame) -> None:
        """Raises the Problem that the frame is answered with."""
        match frame:
            case Send():
                await self._send(connection, frame)
            case Subscribe():
                await self._subscribe(connection, frame)
            case Unsubscribe():
                self._unsubscribe(connection, frame)
            case Typing():
                self._typing(connection, frame)
            case GetUsers():
                await self._users(connection, frame)
            case Read():
                await self._read(connection, frame)
            case Renew():
                await self._renew(connection, frame)

    async def _send(self, connection: Connection, frame: Send) -> None:
        _require(connection, "chat:write")
        if not await self._rate.take_everywhere(connection.tenant_id, connection.user_id):
            raise RateLimited
        async with self._database.transaction(connection.tenant_id) as db:
            message, _ = await messages.send(db, connection.principal, frame.room_id, frame.text, frame.client_id)
        answer = {
            "client_id": message.client_id,
            "room_id": str(message.room_id),
            "seq": message.seq,
            "id": str(message.id),
        }
        connection.say("ack", answer, frame.ref)

    async def _subscribe(self, connection: Connection, frame: Subscribe) -> None:
        _require(connection, "chat:read")
        async with self._database.transaction(connection.tenant_id) as db:
            room = await rooms.read(db, connection.principal, frame.room_id)
            if room.kind == RoomKind.PUBLIC:
                await rooms.join(db, connection.principal, room)
        recovered = _recovers(room, frame)
        position = frame.after if recovered and frame.after is not None else max(room.last_seq - NEWEST, 0)
        position = max(position, room.first_seq - 1)
        answer = {
            "room_id": str(room.id),
            "epoch": room.epoch,
            "last_seq": room.last_seq,
            "recovered": recovered,
        }
        connection.say("subscribed", answer, frame.ref)
        self._hub.subscribe(connection, room, position)

    def _unsubscribe(self, connection: Connection, frame: Unsubscribe) -> None:
        if not self._hub.unsubscribe(connection, frame.room_id):
            raise NotFound("You are not subscribed to this room.")
        connection.say("unsubscribed", {"room_id": str(frame.room_id), "reason": "asked"}, frame.ref)

    def _typing(self, connection: Connection, frame: Typing) -> None:
        _require(connection, "chat:write")
        if not self._hub.follows(connection, frame.room_id):
            raise NotFound("You are not subscribed to this room.")
        self._hub.typing(connection, frame.room_id, frame.is_typing)

    async def _users(self, connection: Connection, frame: GetUsers) -> None:
        _require(connection, "chat:read")
        async with self._database.transaction(connection.tenant_id) as db:
            room = await rooms.read(db, connection.principal, frame.room_id)
        users = await self._presence.users((room.tenant_id, room.id))
        connection.say("active_users", PresenceOut.of(room.id, users).model_dump(mode="json"), frame.ref)

    async def _read(self, connection: Connection, frame: Read) -> None:
        _require(connection, "chat:read")
        async with self._database.transaction(connection.tenant_id) as db:
            await messages.mark_read(db, connection.principal, frame.room_id, frame.seq)

    async def _renew(self, connection: Connection, frame: Renew) -> None:
        """Continue with a newer token of the same person and tenant; any other changes nothing.

        An operator who impersonates the person is not the person.
        """
        try:
            principal = await self._access_tokens.verify(frame.token)
        except InvalidToken as problem:
            raise Forbidden(problem.detail) from None
        if (principal.user_id, principal.tenant_id) != (connection.user_id, connection.tenant_id):
            raise Forbidden("The token belongs to another person or tenant.")
        if principal.impersonator != connection.principal.impersonator:
            raise Forbidden("The token belongs to another person: one of the two is an operator's.")
        if self._revocations.ended(principal) is not None:
            raise Forbidden("The token has ended.")
        connection.use_token(principal)
        connection.say("renewed", {"expires_in": max(0, principal.expires_at - int(time.time()))}, frame.ref)


def _recovers(room: Room, frame: Subscribe) -> bool | None:
    """Whether everything after `after` follows; None where the client asked for no recovery."""
    if frame.after is None:
        return None
    same_epoch = frame.epoch is None or frame.epoch == room.epoch
    return same_epoch and room.first_seq - 1 <= frame.after <= room.last_seq


def _require(connection: Connection, scope: str) -> None:
    if scope not in connection.principal.scopes:
        raise Forbidden(f"This needs the scope {scope}.")
