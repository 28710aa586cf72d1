"""What a worker and its child processes say to each other over pipes: a letter, a length, that many bytes."""

import struct
from typing import BinaryIO, Final

HEAD: Final = struct.Struct("!cI")

TASK, PROGRESS, RESULT, PROBLEM, CRASH = b"T", b"P", b"R", b"E", b"X"


def encoded(kind: bytes, payload: bytes) -> bytes:
    return HEAD.pack(kind, len(payload)) + payload


def read(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    """The next frame of a blocking stream; None at its end."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    kind, length = HEAD.unpack(head)
    payload = stream.read(length)
    return (kind, payload) if len(payload) == length else None
