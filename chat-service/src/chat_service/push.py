"""What is pushed to sockets once its transaction has committed: `announce(db, Stored(…))`.

The process's hub listens to its database's announcements. A process without a hub (a command, a migration) pushes
nothing, and the replicas that serve the room find the row by comparing numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID


class StreamKind(StrEnum):
    """What is numbered without gaps: a room's messages, a person's notifications in a tenant."""

    ROOM = "room"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class StreamKey:
    """One numbered stream; `id` is the room's or the person's."""

    kind: StreamKind
    tenant_id: UUID
    id: UUID


@dataclass(frozen=True, slots=True)
class Stored:
    """A row that has its number in its stream, and the frame that followers of the stream receive."""

    key: StreamKey
    seq: int
    frame: Mapping[str, Any]
