"""The hub: every connection of this process, the lines that they follow, and what brings the lines forward.

A stored row comes by the commit that made it here, by a hint from another replica, or by the comparison once a second,
which asks PostgreSQL for all last numbers in one query. Whichever comes first: followers get it once and in order.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge

from chat_service.presence.register import Presence, RoomKey
from chat_service.presence.room import Changed
from chat_service.push import Line, LineKey, Stored
from chat_service.rooms.models import Room
from chat_service.socket import hints, stored
from chat_service.socket.connection import Connection
from chat_service.socket.fanout import Fanout
from chat_service.socket.lines import NumberedLine, RoomLine
from chat_service.socket.outgoing import Close, encoded
from chat_service.socket.stored import LastNumber
from chat_service.socket.subscription import Subscription
from shared.data.database import Database
from shared.identity.revocation_entries import Entry, MembershipState, TenantState
from shared.identity.revocations import Ended
from shared.problems import ServiceUnavailable

log = structlog.get_logger(__name__)

CONNECTIONS = Gauge("flotilla_chat_connections", "Open WebSocket connections.")
FILLED = Counter("flotilla_chat_filled_total", "Frames that no hint brought, read from PostgreSQL.")

_READERS: Final = 4  # history is read by so many at once, so that a crowd coming back leaves the pool to senders
_GAP_S: Final = 0.05  # how long a missing number may still be on its way
_AGAIN_S: Final = 0.5
_WELCOME_S: Final = 1.0  # a database that hangs does not keep anybody waiting at the door
_COMPARE_PAUSE_S: Final = 0.1


class Hub:
    fanout: Fanout
    presence: Presence

    def __init__(self, database: Database, poll_s: float) -> None:
        self._database, self._poll_s = database, poll_s
        self._connections: dict[Connection, dict[UUID, Subscription]] = {}
        self._lines: dict[LineKey, NumberedLine] = {}
        self._channels: dict[str, LineKey] = {}
        self._readers = asyncio.Semaphore(_READERS)
        self._compare_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._compare_failed = False

    # connections

    @property
    def size(self) -> int:
        """How many connections this process has."""
        return len(self._connections)

    async def add(self, connection: Connection) -> None:
        """Take a connection in; the person's notifications from now on go to it."""
        self._connections[connection] = {}
        CONNECTIONS.inc()
        line = self._lines.get(connection.person) or self._follow(NumberedLine(connection.person))
        line.followers.add(connection)
        if line.head is None:
            with suppress(ServiceUnavailable, TimeoutError):  # then the comparison finds where the line begins
                async with asyncio.timeout(_WELCOME_S):
                    line.begin_at(await stored.last_notification(self._database, connection.person))

    def remove(self, connection: Connection) -> None:
        for subscription in tuple(self._connections[connection].values()):
            self._drop(subscription, at_once=False)
        del self._connections[connection]
        CONNECTIONS.dec()
        if (line := self._lines.get(connection.person)) is not None:
            self._unfollow(line, connection)
        connection.end()

    def on_revoked(self, entries: Sequence[Entry]) -> None:
        """End the connections whose token has ended: for good where the membership has, else until a fresh token."""
        for entry in entries:
            for connection in tuple(self._connections):
                if entry.ends(connection.principal):
                    connection.outgoing.close(_code_for(entry))

    def end(self, connection: Connection, ended: Ended) -> None:
        """End one connection whose token has ended."""
        gone = ended.reason in ("membership", "tenant")
        connection.outgoing.close(Close.FORBIDDEN if gone else Close.TOKEN_ENDED)

    # rooms

    def subscribe(self, connection: Connection, room: Room, position: int) -> Subscription:
        """Follow the room from `position` on; what the client is told first must be said before this."""
        key = LineKey(Line.ROOM, room.tenant_id, room.id)
        if (old := self._connections[connection].get(room.id)) is not None:
            self._drop(old, at_once=True)
        line = self._lines.get(key)
        if not isinstance(line, RoomLine):
            line = RoomLine(key, room.last_seq, room.epoch, room.members_version)
            self._follow(line)
        subscription = Subscription(connection, line, position, self._begin_catching_up)
        line.followers.add(subscription)
        self._connections[connection][room.id] = subscription
        self.presence.join((room.tenant_id, room.id), connection.user_id, connection.principal.username)
        if not subscription.live:
            self._begin_catching_up(subscription)
        return subscription

    def unsubscribe(self, connection: Connection, room_id: UUID) -> bool:
        """Follow the room no longer; whether it was followed."""
        subscription = self._connections[connection].get(room_id)
        if subscription is not None:
            self._drop(subscription, at_once=True)
        return subscription is not None

    def follows(self, connection: Connection, room_id: UUID) -> bool:
        return room_id in self._connections[connection]

    def typing(self, connection: Connection, room_id: UUID, is_typing: bool) -> None:
        """Tell the others in the room; nothing is stored."""
        key = LineKey(Line.ROOM, connection.tenant_id, room_id)
        frame = encoded({"type": "typing", "room_id": str(room_id), "user": connection.user, "is_typing": is_typing})
        self._tell_room(key, frame, but=connection.user_id)
        self.fanout.publish(hints.channel(key), hints.typing(connection.user_id, frame))

    # what brings the lines forward

    def tell(self, told: Stored) -> None:
        """A row of ours was committed."""
        frame = encoded(told.frame)
        self._offer(told.key, told.seq, frame)
        self.fanout.publish(hints.channel(told.key), hints.numbered(told.seq, frame))

    def on_hint(self, channel: str, payload: bytes) -> None:
        """Another replica says something."""
        key, hint = self._channels.get(channel), hints.parse(payload)
        if key is None or hint is None:
            return
        match hint:
            case hints.Numbered(seq, frame):
                self._offer(key, seq, frame)
            case hints.Typing(user_id, frame):
                self._tell_room(key, frame, but=user_id)
            case hints.PresenceChanged():
                self.presence.look_again((key.tenant_id, key.id))

    def look_now(self) -> None:
        """Compare at once: hints may have been missed."""
        self._compare_now.set()

    async def compare(self) -> None:
        """Every second, ask where all lines are and fill what is behind; for ever."""
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._compare_now.wait()
                await asyncio.sleep(_COMPARE_PAUSE_S)
            except TimeoutError:
                pass
            self._compare_now.clear()
            try:
                await self.compare_once()
            except ServiceUnavailable:
                if not self._compare_failed:
                    log.warning("compare_failed")
                self._compare_failed = True
            else:
                self._compare_failed = False

    async def compare_once(self) -> None:
        if not self._lines:
            return
        keys = tuple(self._lines)
        found = {last.key: last for last in await stored.last_numbers(self._database, keys)}
        for key in keys:
            line = self._lines.get(key)
            if line is None:
                continue
            if key in found:
                await self._compare_line(line, found[key])
            else:
                line.begin_at(0)  # a person who was never notified has no row

    async def _compare_line(self, line: NumberedLine, last: LastNumber) -> None:
        line.begin_at(last.last_seq)
        if isinstance(line, RoomLine):
            if line.epoch != last.epoch:
                self._restarted(line)
                return
            if line.members_version != last.members_version:
                await self._take_out(line)
                line.members_version = last.members_version
        if line.is_behind(last.last_seq) or line.has_gap:
            self._fill(line)

    def _offer(self, key: LineKey, seq: int, frame: bytes) -> None:
        line = self._lines.get(key)
        if line is None:
            return
        line.offer(seq, frame)
        if line.has_gap:
            asyncio.get_running_loop().call_later(_GAP_S, self._fill_if_gap, line)

    def _fill_if_gap(self, line: NumberedLine) -> None:
        if line.has_gap:
            self._fill(line)

    def _fill(self, line: NumberedLine) -> None:
        if not line.filling and line.head is not None and line.followers:
            line.filling = True
            self._start(self._read_on(line), self._tasks)

    async def _read_on(self, line: NumberedLine) -> None:
        """Read what follows the line's head until nothing does."""
        try:
            rows: Sequence[tuple[int, bytes]] = [(0, b"")] * stored.PAGE
            while len(rows) == stored.PAGE and line.followers:
                async with self._readers:
                    rows = await stored.frames_after(self._database, line.key, line.head or 0)
                for seq, frame in rows:
                    line.offer(seq, frame)
                FILLED.inc(len(rows))
        except ServiceUnavailable:
            pass  # the next comparison begins again
        finally:
            line.filling = False

    def _begin_catching_up(self, subscription: Subscription) -> None:
        self._start(self._catch_up(subscription), subscription.connection.tasks)

    async def _catch_up(self, subscription: Subscription) -> None:
        """Give a subscription its history until it is live."""
        connection = subscription.connection
        while not subscription.ended and not connection.outgoing.ended:
            await connection.outgoing.drained()
            subscription.hold_from_here()
            try:
                async with self._readers:
                    rows = await stored.frames_after(self._database, subscription.line.key, subscription.position)
            except ServiceUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            async with connection.catching_up:
                await subscription.give_history(rows)
            if len(rows) < stored.PAGE and subscription.go_live():
                return

    # members and presence

    async def _take_out(self, line: RoomLine) -> None:
        """Somebody was taken out of the room: unsubscribe whoever is no member any more."""
        following = {s.connection.user_id for s in line.followers if isinstance(s, Subscription)}
        members = await stored.members_among(self._database, line.key, following)
        self._unsubscribe_all(line, following - members, "removed")

    def _restarted(self, line: RoomLine) -> None:
        """The room's numbering began anew (a restore): clients subscribe again and learn it by the epoch."""
        following = {s.connection.user_id for s in line.followers if isinstance(s, Subscription)}
        self._unsubscribe_all(line, following, "restarted")

    def _unsubscribe_all(self, line: RoomLine, user_ids: set[UUID], reason: str) -> None:
        for subscription in [s for s in line.followers if isinstance(s, Subscription)]:
            if subscription.connection.user_id in user_ids:
                self._drop(subscription, at_once=True)
                subscription.connection.say("unsubscribed", {"room_id": str(line.key.id), "reason": reason})

    def on_presence(self, key: RoomKey, changed: Changed) -> None:
        """Somebody came or went: tell those who are here, but not themselves."""
        user = {"id": str(changed.user_id), "username": changed.username}
        kind = "user_joined" if changed.joined else "user_left"
        frame = encoded({"type": kind, "room_id": str(key[1]), "user": user})
        self._tell_room(LineKey(Line.ROOM, *key), frame, but=changed.user_id)

    def tell_presence(self, key: RoomKey) -> None:
        self.fanout.publish(hints.channel(LineKey(Line.ROOM, *key)), hints.presence_changed())

    def _tell_room(self, key: LineKey, frame: bytes, *, but: UUID) -> None:
        line = self._lines.get(key)
        for follower in tuple(line.followers) if line else ():
            if isinstance(follower, Subscription) and follower.connection.user_id != but:
                follower.connection.outgoing.put(frame)

    # lines

    def _follow(self, line: NumberedLine) -> NumberedLine:
        self._lines[line.key] = line
        channel = hints.channel(line.key)
        self._channels[channel] = line.key
        self.fanout.follow(channel)
        return line

    def _unfollow(self, line: NumberedLine, follower: Connection | Subscription) -> None:
        line.followers.discard(follower)
        if not line.followers and self._lines.get(line.key) is line:
            channel = hints.channel(line.key)
            del self._lines[line.key], self._channels[channel]
            self.fanout.unfollow(channel)

    def _drop(self, subscription: Subscription, *, at_once: bool) -> None:
        subscription.ended = True
        key, connection = subscription.line.key, subscription.connection
        del self._connections[connection][key.id]
        self._unfollow(subscription.line, subscription)
        self.presence.leave((key.tenant_id, key.id), connection.user_id, at_once=at_once)

    def _start(self, work: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        among.add(task)
        task.add_done_callback(among.discard)


def _code_for(entry: Entry) -> Close:
    """4003 tells the client not to come back as it is: its membership has ended, or its tenant is suspended."""
    if isinstance(entry, TenantState) or (isinstance(entry, MembershipState) and entry.roles is None):
        return Close.FORBIDDEN
    return Close.TOKEN_ENDED
