"""What the slice publishes: that a job was accepted and how it ended, never what went in or came out."""

from typing import ClassVar
from uuid import UUID

from shared.events import Event

_EXAMPLE: dict[str, object] = {"user_id": "01920000-0000-7000-8000-000000000001", "kind": "data_processing"}


class JobAccepted(Event):
    """A job was accepted, or an ended one was retried; a worker will run it."""

    type: ClassVar[str] = "job.accepted.v1"
    example: ClassVar[dict[str, object]] = _EXAMPLE
    external: ClassVar[bool] = True

    user_id: UUID
    kind: str


class JobCompleted(Event):
    """A job ended with a result."""

    type: ClassVar[str] = "job.completed.v1"
    example: ClassVar[dict[str, object]] = _EXAMPLE

    user_id: UUID
    kind: str


class JobFailed(Event):
    """A job ended without a result; `code` names the problem."""

    type: ClassVar[str] = "job.failed.v1"
    example: ClassVar[dict[str, object]] = {**_EXAMPLE, "code": "file_not_found"}

    user_id: UUID
    kind: str
    code: str


class JobCancelled(Event):
    """A job was cancelled before it ended by itself."""

    type: ClassVar[str] = "job.cancelled.v1"
    example: ClassVar[dict[str, object]] = _EXAMPLE
    external: ClassVar[bool] = True

    user_id: UUID
    kind: str
