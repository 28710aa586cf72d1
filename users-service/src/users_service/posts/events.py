"""What the slice publishes: that a post appeared or was removed, never what it says."""

from typing import ClassVar
from uuid import UUID

from shared.events import Event


class PostPublished(Event):
    """A post can be read by the people of its tenant; sent once for each post."""

    type: ClassVar[str] = "post.published.v1"
    example: ClassVar[dict[str, object]] = {"author_id": UUID("01890a5d-ac96-774b-bcce-b302099a8057")}

    author_id: UUID


class PostRemoved(Event):
    """Someone else than its author removed a post."""

    type: ClassVar[str] = "post.removed.v1"
    example: ClassVar[dict[str, object]] = {
        "author_id": UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
        "removed_by": UUID("01890a5d-ac96-774b-bcce-b302099a8058"),
    }

    author_id: UUID
    removed_by: UUID
