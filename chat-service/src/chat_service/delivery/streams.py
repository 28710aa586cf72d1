"""A stream is numbered without gaps: a room's messages or a person's notifications, as this process follows it.

Hints arrive early, twice, out of order or never; followers get each frame once and in order. A frame that is missing
between two numbers is already in PostgreSQL, because numbers commit in order.
"""

from typing import Final, Protocol

from chat_service.push import StreamKey

_MAX_EARLY: Final = 500  # frames kept for after a gap; beyond it they are read again with what is missing


class Follower(Protocol):
    def deliver(self, seq: int, frame: bytes) -> None:
        """Take the stream's next frame: called in order, each number once."""


class NumberedStream:
    """`head` is the last number that the followers received; None until it was read once."""

    def __init__(self, key: StreamKey, head: int | None = None) -> None:
        self.key = key
        self.head = head
        self.followers: set[Follower] = set()
        self.filling = False
        self._early: dict[int, bytes] = {}

    @property
    def has_gap(self) -> bool:
        """Whether frames wait for one that has not come."""
        return bool(self._early)

    def begin_at(self, head: int) -> None:
        """Set where the stream begins for this process, unless it has begun; frames that arrived meanwhile follow.

        `head` may have been read after a frame arrived; that frame is not skipped.
        """
        if self.head is None:
            self.head = min((head, *(seq - 1 for seq in self._early)))
            self._release()

    def offer(self, seq: int, frame: bytes) -> None:
        """Accept a frame from any source."""
        head = self.head
        if head is not None and seq <= head:
            return
        is_next = head is not None and seq == head + 1  # never left out: all that is early waits for it
        if is_next or len(self._early) < _MAX_EARLY:
            self._early[seq] = frame
        self._release()

    def is_behind(self, last_seq: int) -> bool:
        return self.head is not None and last_seq > self.head

    def _release(self) -> None:
        """Deliver what has become next in order."""
        if self.head is None:
            return
        while (frame := self._early.pop(self.head + 1, None)) is not None:
            self.head += 1
            for follower in tuple(self.followers):
                follower.deliver(self.head, frame)
        if self._early and min(self._early) <= self.head:
            self._early = {seq: frame for seq, frame in self._early.items() if seq > self.head}


class RoomStream(NumberedStream):
    """A room's messages. `epoch` changes when numbering restarts after a restore, `members_version` with members."""

    def __init__(self, key: StreamKey, head: int, epoch: str, members_version: int) -> None:
        super().__init__(key, head)
        self.epoch = epoch
        self.members_version = members_version
