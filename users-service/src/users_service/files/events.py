"""What the slice publishes: that a file is there or gone, never its name or words."""

from typing import ClassVar
from uuid import UUID

from shared.events import Event

_OWNER = "01890a5d-ac96-774b-bcce-b302099a8057"


class FileUploaded(Event):
    """A file was stored; `subject` is its id."""

    type: ClassVar[str] = "file.uploaded.v1"
    example: ClassVar[dict[str, object]] = {"owner_id": _OWNER, "content_type": "text/csv", "size_bytes": 2048}
    external: ClassVar[bool] = True

    owner_id: UUID
    content_type: str
    size_bytes: int


class FileDeleted(Event):
    """A file was deleted; its bytes go soon after."""

    type: ClassVar[str] = "file.deleted.v1"
    example: ClassVar[dict[str, object]] = {"owner_id": _OWNER}
    external: ClassVar[bool] = True

    owner_id: UUID
