"""The hints that replicas send each other: a channel per stream, a byte for the kind, and the encoded frame."""

from dataclasses import dataclass
from uuid import UUID

from chat_service.push import StreamKey

_NUMBERED, _TYPING, _PRESENCE = b"N", b"T", b"P"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A frame of the stream with its number."""

    seq: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Typing:
    """A frame for all in the room except its author."""

    user_id: UUID
    frame: bytes


@dataclass(frozen=True, slots=True)
class PresenceChanged:
    """A person came or left: read the register."""


Hint = Numbered | Typing | PresenceChanged


def channel(key: StreamKey) -> str:
    return f"chat:{key.kind.value}:{key.tenant_id}:{key.id}"


def numbered(seq: int, frame: bytes) -> bytes:
    return _NUMBERED + seq.to_bytes(8, "big") + frame


def typing(user_id: UUID, frame: bytes) -> bytes:
    return _TYPING + user_id.bytes + frame


def presence_changed() -> bytes:
    return _PRESENCE


def parse(payload: bytes) -> Hint | None:
    """None for a hint that this release does not know; a newer one may send more kinds."""
    kind, rest = payload[:1], payload[1:]
    if kind == _NUMBERED and len(rest) > 8:
        return Numbered(int.from_bytes(rest[:8], "big"), rest[8:])
    if kind == _TYPING and len(rest) > 16:
        return Typing(UUID(bytes=rest[:16]), rest[16:])
    return PresenceChanged() if kind == _PRESENCE else None
