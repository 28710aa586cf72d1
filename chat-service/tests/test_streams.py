"""A numbered line over hints that come early, doubled or never."""

from uuid import UUID

from chat_service.delivery.streams import NumberedStream
from chat_service.push import StreamKey, StreamKind

KEY = StreamKey(StreamKind.ROOM, UUID(int=1), UUID(int=2))


class Heard:
    def __init__(self) -> None:
        self.numbers: list[int] = []

    def deliver(self, seq: int, frame: bytes) -> None:
        self.numbers.append(seq)


def test_a_missing_frame_is_taken_however_many_wait_for_it() -> None:
    line, heard = NumberedStream(KEY, head=0), Heard()
    line.followers.add(heard)
    for seq in range(2, 1000):
        line.offer(seq, b"early")
    assert heard.numbers == []
    for seq in range(1, 1000):  # what the database is read for
        line.offer(seq, b"read")
    assert heard.numbers == list(range(1, 1000))


def test_what_came_before_the_beginning_was_read_is_not_skipped() -> None:
    line, heard = NumberedStream(KEY), Heard()
    line.followers.add(heard)
    line.offer(7, b"told here")
    line.begin_at(7)  # read after 7 was stored
    assert (heard.numbers, line.head) == ([7], 7)
