"""One connection following one room: history first, flow-controlled, then live, without a seam."""

from collections.abc import Callable, Sequence
from typing import Final

from chat_service.socket.connection import Connection
from chat_service.socket.lines import RoomLine

_MOST_HELD: Final = 500  # live frames kept while history is read; more are left to the next page

Rows = Sequence[tuple[int, bytes]]


class Subscription:
    """`position` is the last number that the client was given: nothing is skipped, nothing given twice.

    While history is read, live frames are held aside. Once a page reaches the end and the held frames join on, the
    subscription is live. One whose reader falls behind goes back to reading history (`on_lag`), as fast as it can.
    """

    def __init__(
        self, connection: Connection, line: RoomLine, position: int, on_lag: Callable[["Subscription"], None]
    ) -> None:
        self.connection, self.line, self.position, self._on_lag = connection, line, position, on_lag
        self.live = line.head is not None and position >= line.head
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
        elif len(self._held) < _MOST_HELD:
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
        self.live = self.line.head is not None and self.position >= self.line.head
        return self.live

    def _give(self, seq: int, frame: bytes) -> None:
        if seq == self.position + 1:
            self.position = seq
            self.connection.outgoing.put(frame)
