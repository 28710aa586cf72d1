"""One connection following one room: history first, flow-controlled, then live, without a seam."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

from chat_service.delivery.outgoing import Outgoing
from chat_service.delivery.streams import Follower, RoomStream
from chat_service.push import StreamKey
from shared.identity.principal import Principal

_MAX_HELD: Final = 500  # live frames kept while history is read; more are left to the next page

Rows = Sequence[tuple[int, bytes]]


class Peer(Follower, Protocol):
    """A connection as the delivery sees it: a person, and what is sent to them. It follows their notifications."""

    outgoing: Outgoing
    catching_up: asyncio.Lock
    """Held while one room's history is sent: one at a time, so that what is written ahead stays bounded."""
    tasks: set[asyncio.Task[None]]
    """Ended with the connection."""
    principal: Principal
    tenant_id: UUID

    @property
    def user_id(self) -> UUID: ...
    @property
    def user(self) -> dict[str, str]: ...
    @property
    def person(self) -> StreamKey: ...
    def say(self, kind: str, body: Mapping[str, Any]) -> None: ...
    def end(self) -> None: ...


class Subscription:
    """`position` is the last number that the client was given: nothing is skipped, nothing given twice.

    While history is read, live frames are held aside. Once a page reaches the end and the held frames join on, the
    subscription is live. One whose reader falls behind goes back to reading history (`on_lag`), as fast as it can.
    """

    def __init__(
        self, connection: Peer, stream: RoomStream, position: int, on_lag: Callable[["Subscription"], None]
    ) -> None:
        self.connection, self.stream, self.position, self._on_lag = connection, stream, position, on_lag
        self.live = stream.head is not None and position >= stream.head
        self.ended = False
        self._held: list[tuple[int, bytes]] = []

    def deliver(self, seq: int, frame: bytes) -> None:
        if self.ended:
            return
        if self.live and self.connection.outgoing.congested:
            self.live = False
            self._on_lag(self)
        elif self.live:
            self._give(seq, frame)
        elif len(self._held) < _MAX_HELD:
            self._held.append((seq, frame))

    def hold_from_here(self) -> None:
        """A page is about to be read: what is delivered from now on may not be in it."""
        self._held.clear()

    async def give_history(self, rows: Rows) -> None:
        """Send a page as fast as the peer reads."""
        for seq, frame in rows:
            if self.connection.outgoing.congested:
                await self.connection.outgoing.drained()
            if self.ended or self.connection.outgoing.ended:
                return
            self._give(seq, frame)

    def go_live(self) -> bool:
        """Join on the held frames and go live; False where something lies between: then read another page."""
        for seq, frame in self._held:
            if self.connection.outgoing.congested:
                return False
            self._give(seq, frame)
        self._held.clear()
        self.live = self.stream.head is not None and self.position >= self.stream.head
        return self.live

    def _give(self, seq: int, frame: bytes) -> None:
        if seq == self.position + 1:
            self.position = seq
            self.connection.outgoing.put(frame)
