"""The hub: every connection of this process, what each follows, and what they hear of one another.

What is numbered (messages, notifications) goes through the delivery, which loses nothing; typing, presence and being
taken out of a room are told from here.
"""

from collections.abc import Sequence
from uuid import UUID

from prometheus_client import Gauge

from chat_service.presence.register import Presence, RoomKey
from chat_service.presence.room import Changed
from chat_service.push import Line, LineKey, Stored
from chat_service.rooms.models import Room
from chat_service.socket import hints, stored
from chat_service.socket.connection import Connection
from chat_service.socket.delivery import Delivery
from chat_service.socket.fanout import Fanout
from chat_service.socket.hints import Hint
from chat_service.socket.lines import Follower, NumberedLine, RoomLine
from chat_service.socket.outgoing import Close, encoded
from chat_service.socket.stored import LastNumber
from chat_service.socket.subscription import Subscription
from shared.data.database import Database
from shared.identity.revocation_entries import Entry, MembershipState, TenantState

CONNECTIONS = Gauge("flotilla_chat_connections", "Open WebSocket connections.")


class Hub:
    fanout: Fanout
    presence: Presence

    def __init__(self, database: Database, poll_s: float) -> None:
        self._database = database
        self.delivery = Delivery(database, poll_s, self._room_compared)
        self._connections: dict[Connection, dict[UUID, Subscription]] = {}

    # connections

    @property
    def size(self) -> int:
        """How many connections this process has."""
        return len(self._connections)

    async def add(self, connection: Connection) -> None:
        """Take a connection in; the person's notifications from now on go to it."""
        self._connections[connection] = {}
        CONNECTIONS.inc()
        line = self.delivery.line(connection.person) or NumberedLine(connection.person)
        self._follow(line, connection)
        if line.head is None:
            await self.delivery.begin(line)

    def remove(self, connection: Connection) -> None:
        for subscription in tuple(self._connections[connection].values()):
            self._drop(subscription, at_once=False)
        del self._connections[connection]
        CONNECTIONS.dec()
        if (line := self.delivery.line(connection.person)) is not None:
            self._unfollow(line, connection)
        connection.end()

    def on_revoked(self, entries: Sequence[Entry]) -> None:
        """End the connections whose token has ended: for good where the membership has, else until a fresh token."""
        for entry in entries:
            for connection in tuple(self._connections):
                if entry.ends(connection.principal):
                    connection.outgoing.close(_code_for(entry))

    # rooms

    def subscribe(self, connection: Connection, room: Room, position: int) -> Subscription:
        """Follow the room from `position` on; what the client is told first must be said before this."""
        if (old := self._connections[connection].get(room.id)) is not None:
            self._drop(old, at_once=True)
        key = LineKey(Line.ROOM, room.tenant_id, room.id)
        line = self.delivery.line(key)
        if not isinstance(line, RoomLine):
            line = RoomLine(key, room.last_seq, room.epoch, room.members_version)
        subscription = Subscription(connection, line, position, self.delivery.catch_up)
        self._follow(line, subscription)
        self._connections[connection][room.id] = subscription
        self.presence.join((room.tenant_id, room.id), connection.user_id, connection.principal.username)
        if not subscription.live:
            self.delivery.catch_up(subscription)
        return subscription

    def unsubscribe(self, connection: Connection, room_id: UUID) -> bool:
        """Follow the room no longer; whether it was followed."""
        subscription = self._connections[connection].get(room_id)
        if subscription is not None:
            self._drop(subscription, at_once=True)
        return subscription is not None

    def follows(self, connection: Connection, room_id: UUID) -> bool:
        return room_id in self._connections[connection]

    async def _room_compared(self, line: RoomLine, last: LastNumber) -> bool:
        """Unsubscribe who was taken out, and everybody where the numbering began anew (a restore): clients subscribe
        again and learn it by the epoch."""
        following = {subscription.connection.user_id for subscription in _subscriptions(line)}
        if line.epoch != last.epoch:
            self._unsubscribe_all(line, following, "restarted")
            return False
        if line.members_version != last.members_version:
            members = await stored.members_among(self._database, line.key, following)
            self._unsubscribe_all(line, following - members, "removed")
            line.members_version = last.members_version
        return True

    def _unsubscribe_all(self, line: RoomLine, user_ids: set[UUID], reason: str) -> None:
        for subscription in _subscriptions(line):
            if subscription.connection.user_id in user_ids:
                self._drop(subscription, at_once=True)
                subscription.connection.say("unsubscribed", {"room_id": str(line.key.id), "reason": reason})

    # what is told, here and to the other replicas

    def tell(self, told: Stored) -> None:
        """A row of ours was committed: encoded once, for everybody."""
        frame = encoded(told.frame)
        self.delivery.offer(told.key, told.seq, frame)
        self.fanout.publish(told.key, hints.numbered(told.seq, frame))

    def typing(self, connection: Connection, room_id: UUID, is_typing: bool) -> None:
        """Tell the others in the room; nothing is stored."""
        key = LineKey(Line.ROOM, connection.tenant_id, room_id)
        frame = encoded({"type": "typing", "room_id": str(room_id), "user": connection.user, "is_typing": is_typing})
        self._tell_room(key, frame, but=connection.user_id)
        self.fanout.publish(key, hints.typing(connection.user_id, frame))

    def on_presence(self, room: RoomKey, changed: Changed) -> None:
        """Somebody came or went: tell those who are here, but not themselves."""
        user = {"id": str(changed.user_id), "username": changed.username}
        kind = "user_joined" if changed.joined else "user_left"
        frame = encoded({"type": kind, "room_id": str(room[1]), "user": user})
        self._tell_room(LineKey(Line.ROOM, *room), frame, but=changed.user_id)

    def tell_presence(self, room: RoomKey) -> None:
        self.fanout.publish(LineKey(Line.ROOM, *room), hints.presence_changed())

    def on_hint(self, key: LineKey, hint: Hint) -> None:
        """Another replica says something of a line that is followed here."""
        match hint:
            case hints.Numbered(seq, frame):
                self.delivery.offer(key, seq, frame)
            case hints.Typing(user_id, frame):
                self._tell_room(key, frame, but=user_id)
            case hints.PresenceChanged():
                self.presence.look_again((key.tenant_id, key.id))

    def _tell_room(self, key: LineKey, frame: bytes, *, but: UUID) -> None:
        line = self.delivery.line(key)
        for subscription in _subscriptions(line) if line else ():
            if subscription.connection.user_id != but:
                subscription.connection.outgoing.put(frame)

    # following

    def _follow(self, line: NumberedLine, follower: Follower) -> None:
        self.delivery.follow(line, follower)
        self.fanout.follow(line.key)

    def _unfollow(self, line: NumberedLine, follower: Follower) -> None:
        if self.delivery.unfollow(line, follower):
            self.fanout.unfollow(line.key)

    def _drop(self, subscription: Subscription, *, at_once: bool) -> None:
        subscription.ended = True
        key, connection = subscription.line.key, subscription.connection
        del self._connections[connection][key.id]
        self._unfollow(subscription.line, subscription)
        self.presence.leave((key.tenant_id, key.id), connection.user_id, at_once=at_once)


def _subscriptions(line: NumberedLine) -> list[Subscription]:
    return [follower for follower in line.followers if isinstance(follower, Subscription)]


def _code_for(entry: Entry) -> Close:
    """4003 tells the client not to come back as it is: its membership has ended, or its tenant is suspended."""
    if isinstance(entry, TenantState) or (isinstance(entry, MembershipState) and entry.roles is None):
        return Close.FORBIDDEN
    return Close.TOKEN_ENDED
