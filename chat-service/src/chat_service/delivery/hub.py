"""The hub: every connection of this process, what each follows, and what is sent to them.

Numbered frames (messages, notifications) go through forwarding, which loses nothing; typing, presence and removals
from a room are sent from here.
"""

from collections.abc import Sequence
from uuid import UUID

from prometheus_client import Gauge

from chat_service.delivery import hints, history
from chat_service.delivery.fanout import Fanout
from chat_service.delivery.forwarding import Forwarding
from chat_service.delivery.hints import Hint
from chat_service.delivery.history import StreamHead
from chat_service.delivery.outgoing import Close, encoded
from chat_service.delivery.streams import Follower, NumberedStream, RoomStream
from chat_service.delivery.subscription import Peer, Subscription
from chat_service.presence.register import Presence, RoomKey
from chat_service.presence.room import Changed
from chat_service.push import Stored, StreamKey, StreamKind
from chat_service.rooms.models import Room
from shared.data.database import Database
from shared.identity.revocation_entries import Entry, MembershipState, TenantState

CONNECTIONS = Gauge("flotilla_chat_connections", "Open WebSocket connections.")


class Hub:
    """Listens to the fan-out, to presence, to this process's commits and to the revocation feeds."""

    def __init__(self, database: Database, fanout: Fanout, presence: Presence, poll_s: float) -> None:
        self._database, self._fanout, self._presence = database, fanout, presence
        self._forwarding = Forwarding(database, poll_s, self._room_compared)
        self._connections: dict[Peer, dict[UUID, Subscription]] = {}
        self.comparing = self._forwarding.comparing
        """Background work: finds what no hint brought."""
        fanout.listen(self)
        presence.listen(self._on_presence)

    # connections

    @property
    def size(self) -> int:
        """How many connections this process has."""
        return len(self._connections)

    async def add(self, connection: Peer) -> None:
        """Add a connection; it receives the person's notifications from now on."""
        self._connections[connection] = {}
        CONNECTIONS.inc()
        stream = self._forwarding.stream(connection.person) or NumberedStream(connection.person)
        self._follow(stream, connection)
        if stream.head is None:
            await self._forwarding.begin(stream)

    def remove(self, connection: Peer, *, unresponsive: bool = False) -> None:
        """The connection is gone. An unresponsive person has had the time to answer: no grace period is added."""
        for subscription in tuple(self._connections[connection].values()):
            self._drop(subscription, at_once=unresponsive)
        del self._connections[connection]
        CONNECTIONS.dec()
        if (stream := self._forwarding.stream(connection.person)) is not None:
            self._unfollow(stream, connection)
        connection.end()

    def on_revoked(self, entries: Sequence[Entry]) -> None:
        """Close the connections whose token has ended, with the code that says whether a new token helps."""
        for entry in entries:
            for connection in tuple(self._connections):
                if entry.ends(connection.principal):
                    connection.outgoing.close(_code_for(entry))

    # rooms

    def subscribe(self, connection: Peer, room: Room, position: int) -> Subscription:
        """Follow the room from `position` on; send `subscribed` before this."""
        if (old := self._connections[connection].get(room.id)) is not None:
            self._drop(old, at_once=True)
        key = StreamKey(StreamKind.ROOM, room.tenant_id, room.id)
        stream = self._forwarding.stream(key)
        if not isinstance(stream, RoomStream):
            stream = RoomStream(key, room.last_seq, room.epoch, room.members_version)
        subscription = Subscription(connection, stream, position, self._forwarding.catch_up)
        self._follow(stream, subscription)
        self._connections[connection][room.id] = subscription
        self._presence.join((room.tenant_id, room.id), connection.user_id, connection.principal.username)
        if not subscription.live:
            self._forwarding.catch_up(subscription)
        return subscription

    def unsubscribe(self, connection: Peer, room_id: UUID) -> bool:
        """Stop following the room; returns whether it was followed."""
        subscription = self._connections[connection].get(room_id)
        if subscription is not None:
            self._drop(subscription, at_once=True)
        return subscription is not None

    def follows(self, connection: Peer, room_id: UUID) -> bool:
        return room_id in self._connections[connection]

    async def _room_compared(self, stream: RoomStream, last: StreamHead) -> bool:
        """Unsubscribe removed members, and all if the numbering began again (a restore): clients subscribe again and
        see the new epoch."""
        following = {subscription.connection.user_id for subscription in _subscriptions(stream)}
        if stream.epoch != last.epoch:
            self._unsubscribe_all(stream, following, "restarted")
            return False
        if stream.members_version != last.members_version:
            members = await history.members_among(self._database, stream.key, following)
            self._unsubscribe_all(stream, following - members, "removed")
            stream.members_version = last.members_version
        return True

    def _unsubscribe_all(self, stream: RoomStream, user_ids: set[UUID], reason: str) -> None:
        for subscription in _subscriptions(stream):
            if subscription.connection.user_id in user_ids:
                self._drop(subscription, at_once=True)
                subscription.connection.say("unsubscribed", {"room_id": str(stream.key.id), "reason": reason})

    # sent here and to the other replicas

    def push(self, stored: Stored) -> None:
        """This process committed a row: encode it once, for all followers here and elsewhere."""
        frame = encoded(stored.frame)
        self._forwarding.offer(stored.key, stored.seq, frame)
        self._fanout.publish(stored.key, hints.numbered(stored.seq, frame))

    def typing(self, connection: Peer, room_id: UUID, is_typing: bool) -> None:
        """Send it to the others in the room; nothing is stored."""
        key = StreamKey(StreamKind.ROOM, connection.tenant_id, room_id)
        frame = encoded({"type": "typing", "room_id": str(room_id), "user": connection.user, "is_typing": is_typing})
        self._send_to_room(key, frame, but=connection.user_id)
        self._fanout.publish(key, hints.typing(connection.user_id, frame))

    def _on_presence(self, room: RoomKey, changed: Changed) -> None:
        """A person came or left: report it to the others in the room."""
        user = {"id": str(changed.user_id), "username": changed.username}
        kind = "user_joined" if changed.joined else "user_left"
        frame = encoded({"type": kind, "room_id": str(room[1]), "user": user})
        self._send_to_room(StreamKey(StreamKind.ROOM, *room), frame, but=changed.user_id)

    def on_gap(self) -> None:
        """Hints may have been missed (HintListener)."""
        self._forwarding.compare_soon()

    def on_hint(self, key: StreamKey, hint: Hint) -> None:
        """Another replica reports something about a stream that is followed here (HintListener)."""
        match hint:
            case hints.Numbered(seq, frame):
                self._forwarding.offer(key, seq, frame)
            case hints.Typing(user_id, frame):
                self._send_to_room(key, frame, but=user_id)
            case hints.PresenceChanged():
                self._presence.refresh((key.tenant_id, key.id))

    def _send_to_room(self, key: StreamKey, frame: bytes, *, but: UUID) -> None:
        stream = self._forwarding.stream(key)
        for subscription in _subscriptions(stream) if stream else ():
            if subscription.connection.user_id != but:
                subscription.connection.outgoing.put(frame)

    # following

    def _follow(self, stream: NumberedStream, follower: Follower) -> None:
        self._forwarding.follow(stream, follower)
        self._fanout.follow(stream.key)

    def _unfollow(self, stream: NumberedStream, follower: Follower) -> None:
        if self._forwarding.unfollow(stream, follower):
            self._fanout.unfollow(stream.key)

    def _drop(self, subscription: Subscription, *, at_once: bool) -> None:
        subscription.ended = True
        key, connection = subscription.stream.key, subscription.connection
        del self._connections[connection][key.id]
        self._unfollow(subscription.stream, subscription)
        self._presence.leave((key.tenant_id, key.id), connection.user_id, at_once=at_once)


def _subscriptions(stream: NumberedStream) -> list[Subscription]:
    return [follower for follower in stream.followers if isinstance(follower, Subscription)]


def _code_for(entry: Entry) -> Close:
    """4003 tells the client not to reconnect as it is: the membership has ended, or the tenant is suspended."""
    if isinstance(entry, TenantState) or (isinstance(entry, MembershipState) and entry.roles is None):
        return Close.FORBIDDEN
    return Close.TOKEN_ENDED
