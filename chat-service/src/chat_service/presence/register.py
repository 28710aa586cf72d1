"""Who is present: every replica writes its people into the cache with an expiry, renews them, and reads the others'.

The entries of a replica that died expire. While the cache is unavailable, each replica shows its own people and those
that it read last.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

from chat_service.presence.room import Changed, RoomPresence
from chat_service.settings import PresenceSettings
from shared.background import PollingLoop
from shared.ids import new_id

RoomKey = tuple[UUID, UUID]
"""Tenant and room."""

Departure = tuple[str, float]
"""A person's name, and the seconds for which they stay present."""

Listener = Callable[[RoomKey, Changed], None]
"""Receives who came or left; neither waits nor raises."""

TICK_S: Final = 1.0
_DUE_S: Final = 0.8 * TICK_S  # a poll comes up to a tenth early; it must not wait for the next one
_COALESCE_S: Final = 0.03
_BATCH: Final = 50

# Entries "user|replica|name", each with the time at which it ends; times are the cache's own. ARGV: life of an entry in
# ms, then pairs of an entry's life (0: it goes now) and the entry. Answers with all entries.
_SYNC: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 2, #ARGV, 2 do
  local life = tonumber(ARGV[i])
  if life > 0 then redis.call('ZADD', KEYS[1], now + life, ARGV[i + 1])
  else redis.call('ZREM', KEYS[1], ARGV[i + 1]) end
end
if #ARGV > 1 then redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[1]) * 2) end
return redis.call('ZRANGE', KEYS[1], 0, -1)
"""


class Presence:
    """Who is in which room; `publish_change` tells the other replicas that a room changed."""

    def __init__(
        self,
        cache: Redis,
        settings: PresenceSettings,
        *,
        publish_change: Callable[[RoomKey], None],
    ) -> None:
        self._cache, self._settings, self._publish_change = cache, settings, publish_change
        self._listeners: list[Listener] = []
        self._replica = new_id().hex
        self._rooms: dict[RoomKey, RoomPresence] = {}
        self._stale: set[RoomKey] = set()
        self._unpublished: set[RoomKey] = set()
        self._departing: dict[RoomKey, dict[UUID, Departure]] = {}
        self._due = 0.0
        self._written: asyncio.Future[list[Any]] | None = None
        self.syncing = PollingLoop("presence", self._step, every_s=TICK_S)
        """Background work: keeps the register and this replica's view of it true."""

    def listen(self, listener: Listener) -> None:
        """Report who came and left, in rooms where a person is connected here."""
        self._listeners.append(listener)

    def join(self, key: RoomKey, user_id: UUID, username: str) -> None:
        self._rooms.setdefault(key, RoomPresence()).join(user_id, username)
        self._departing.get(key, {}).pop(user_id, None)
        self._changed(key)

    def leave(self, key: RoomKey, user_id: UUID, *, at_once: bool) -> None:
        """A subscription ended: at once if the client asked for it, after a grace period if the connection closed."""
        room = self._rooms.get(key)
        if room is None:
            return
        grace_s = 0.0 if at_once else self._settings.grace_s
        if room.leave(user_id, time.monotonic() + grace_s):
            self._departing.setdefault(key, {})[user_id] = (room.names[user_id], grace_s)
            self._changed(key)

    def refresh(self, key: RoomKey) -> None:
        """Another replica reports that the room changed."""
        if key in self._rooms:
            self._stale.add(key)
            self._wake_soon()

    async def users(self, key: RoomKey) -> dict[UUID, str]:
        """The people in the room now: names by id."""
        people: dict[UUID, str] = {}
        with suppress(RedisError, OSError):  # then only this replica's own view is known
            people = await self._read(key)
        room = self._rooms.get(key)
        if room is None:
            return people
        here = {user_id: room.names[user_id] for user_id in (*room.here, *room.leaving)}
        return (people or {user_id: room.names[user_id] for user_id in room.elsewhere}) | here

    async def _step(self) -> None:
        """Sync every room once a second, and those that changed at once."""
        now = time.monotonic()
        is_due = now >= self._due
        keys = set(self._rooms) if is_due else self._stale & self._rooms.keys()
        if is_due:
            self._due = now + _DUE_S
        self._stale -= keys
        await self._sync(keys)

    async def close(self) -> None:
        """The process ends: its people have their grace period to reconnect elsewhere, and then disappear."""
        for key, room in self._rooms.items():
            leaving = self._departing.setdefault(key, {})
            for user_id in room.here:
                leaving.setdefault(user_id, (room.names[user_id], self._settings.grace_s))
            room.here.clear()
        if self._written is not None:  # an exchange that was cancelled could otherwise arrive after the last one
            await asyncio.gather(self._written, return_exceptions=True)
        await self._sync(set(self._departing))

    def _changed(self, key: RoomKey) -> None:
        self._stale.add(key)
        self._unpublished.add(key)
        self._wake_soon()

    def _wake_soon(self) -> None:
        """A crowd that arrives together is one round trip."""
        asyncio.get_running_loop().call_later(_COALESCE_S, self.syncing.wake)

    async def _sync(self, keys: Collection[RoomKey]) -> None:
        ordered = list(keys)
        for start in range(0, len(ordered), _BATCH):
            batch = ordered[start : start + _BATCH]
            with suppress(RedisError, OSError):  # as above
                await self._exchange(batch)
            for key in batch:
                self._show(key)
        for key in self._unpublished & set(ordered):
            self._publish_change(key)
        self._unpublished -= set(ordered)

    async def _exchange(self, keys: list[RoomKey]) -> None:
        """Write this replica's people and read all. A departure that cannot be written expires by itself."""
        departures = {key: dict(self._departing.get(key, {})) for key in keys}
        pipeline = self._cache.pipeline(transaction=False)
        for key in keys:
            pipeline.eval(_SYNC, 1, _name(key), *self._arguments(key, departures[key]))
        try:
            self._written = asyncio.ensure_future(pipeline.execute())
            replies = await asyncio.shield(self._written)
        except (RedisError, OSError):
            self._forget(departures)
            raise
        self._forget(departures)  # not if cancelled: then `close` writes them
        for key, entries in zip(keys, replies, strict=True):
            if (room := self._rooms.get(key)) is not None:
                room.seen_elsewhere(self._others(entries))

    def _forget(self, departures: Mapping[RoomKey, Mapping[UUID, Departure]]) -> None:
        for key, people in departures.items():
            remaining = self._departing.get(key, {})
            for user_id, departure in people.items():
                if remaining.get(user_id) == departure:
                    del remaining[user_id]
            if not remaining:
                self._departing.pop(key, None)

    def _arguments(self, key: RoomKey, departures: Mapping[UUID, Departure]) -> list[str]:
        life_ms = _ms(self._settings.expires_s)
        arguments = [life_ms]
        if (room := self._rooms.get(key)) is not None:
            for user_id in room.here:
                arguments += [life_ms, self._entry(user_id, room.names[user_id])]
        for user_id, (name, grace_s) in departures.items():
            arguments += [_ms(grace_s), self._entry(user_id, name)]
        return arguments

    def _show(self, key: RoomKey) -> None:
        if (room := self._rooms.get(key)) is None:
            return
        for changed in room.changes(time.monotonic()):
            for listener in self._listeners:
                listener(key, changed)
        if room.empty:
            del self._rooms[key]

    async def _read(self, key: RoomKey) -> dict[UUID, str]:
        entries = await self._cache.eval(_SYNC, 1, _name(key), _ms(self._settings.expires_s))
        return {user_id: name for user_id, _, name in map(_parsed, entries)}

    def _others(self, entries: Collection[bytes]) -> dict[UUID, str]:
        return {user_id: name for user_id, replica, name in map(_parsed, entries) if replica != self._replica}

    def _entry(self, user_id: UUID, name: str) -> str:
        return f"{user_id}|{self._replica}|{name}"


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))


def _name(key: RoomKey) -> str:
    return f"chat:present:{key[0]}:{key[1]}"


def _parsed(entry: bytes) -> tuple[UUID, str, str]:
    user_id, replica, name = entry.decode().split("|", 2)
    return UUID(user_id), replica, name
